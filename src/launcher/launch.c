/*
 * launch: lends rsync one capability, and builds the jail that this rsync runs in.
 *
 * The only file of dialback with an effective capability (cap_dac_read_search=ep, 0750 root:dialback). An account that may run it
 * can have every file of this machine read, except those in /etc/dialback/never. It has no other use:
 *
 *   send RUN [KIB]          becomes rsync as a daemon that can read the scope of RUN and do nothing else. At most KIB KiB a second.
 *   never RUN               prints the places of the paths that `send RUN` would keep back, and the links to them that it does not
 *                           follow. Of the files that `send` grants one by one, prints those that no run can read.
 *   lend gate --run RUN     if built with INHERITED=1, for `capability = "inherited"`: hands the capability to dialback's gate. The
 *                           gate hands it to an rsync that has it inheritable from the administrator.
 *
 * Its other half is jail.c, which has no capability. How to read it: CALLS below and COMMON_CALLS in seccomp.c are the system calls
 * of the sender, and send_verb() is the order in which its jail comes into force. Each other file is one check or one mechanism.
 * Everything that is not named is refused. Nothing comes from the environment (lend.c passes two variables of sshd's on, unread).
 * Each failure is one line and exit status 126, or 127 if the program to become does not exist.
 *
 * SERVICE_UID, INHERITED, SELF_PATH, RSYNC_PATH, DIALBACK_PATH and NEVER_PATH are compiled in, and can be read in the file (BUILT_FOR).
 * In a package, SERVICE_UID_FILE takes the place of SERVICE_UID (run.h).
 */
#include "caller.h"
#include "caps.h"
#include "landlock.h"
#include "lend.h"
#include "never.h"
#include "place.h"
#include "rsync.h"
#include "run.h"
#include "scope.h"
#include "trust.h"
#include <signal.h>
#include <sys/prctl.h>

/* For `tools/launcher.sh --check`, which reads the file and does not run it. A text between two NULs. */
#define SHOWN(text) #text
#define SHOW(value) SHOWN(value)
#ifdef SERVICE_UID_FILE
#define SHOWN_UID SERVICE_UID_FILE
#else
#define SHOWN_UID SHOW(SERVICE_UID)
#endif
__attribute__((used)) static const char BUILT_FOR[] =
	"\0dialback-launch built for uid=" SHOWN_UID " inherited=" SHOW(INHERITED) " self=" SELF_PATH " rsync=" RSYNC_PATH
	" dialback=" DIALBACK_PATH " never=" NEVER_PATH;

/* mountpoints.c, compiled: a part of this file, so that no caller can give rsync another library. */
__asm__(".pushsection .rodata\n"
	"mountpoints_library: .incbin \"" MOUNTPOINTS_LIBRARY "\"\n"
	"mountpoints_library_end:\n"
	".popsection");
extern const char mountpoints_library[], mountpoints_library_end[];

/* The sender opens files to read only: everything else that an open file could be used for is refused where it is opened. */
#define WRITING_FLAGS (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))

static const struct calls CALLS[] = {
	ROW(NO_BITS, 2, WRITING_FLAGS, NR(openat)),
#ifdef __x86_64__
	ROW(NO_BITS, 1, WRITING_FLAGS, NR(open)),
#endif
	/* The step into rsync: only with this string. rsync does not learn its address, and a wrong guess kills it. Otherwise it could
	   have the dynamic loader, which must be executable, run any file that it can read. */
	ROW(THE_STEP, 0, (uintptr_t)RSYNC, NR(execve)),
};

static bool is_rate(const char *kib)
{
	return strlen(kib) > 0 && strlen(kib) <= 9 && strspn(kib, "0123456789") == strlen(kib);
}

/* "NAME=VALUE" and the like; the only failure is memory. */
static char *concat(const char *name, const char *value, const char *rest)
{
	char *text = NULL;
	if (asprintf(&text, "%s%s%s", name, value, rest) < 0)
		text = NULL;
	return require_memory(text);
}

static int open_rsyncd(int run, struct stat *found)
{
	int rsyncd = openat(run, "rsyncd", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (rsyncd < 0 || fstat(rsyncd, found) != 0)
		die_errno("use", "RUN/rsyncd", "open");
	if (found->st_uid != SERVICE_UID)
		die(REFUSED, "use", "RUN/rsyncd", "it belongs to uid %u, and should be ours", found->st_uid);
	return rsyncd;
}

/* Both lists and the scope. The capability must be in force: paths can lead where the account may not look. */
static void take_paths(const char *scope, size_t size)
{
	add_roots_list();
	take_scope(scope, size);
	add_other_mounts();
}

static _Noreturn void send_verb(const char *run, const char *kib)
{
	pid_t parent = getppid();
	size_t size;
	struct stat found;
	forget_caller(STDERR_FILENO);
	require_service();
	require_own_place();
	require_roots_own(RSYNC_PATH);
	require_capability();
	set_capabilities(THE_ONE, 0, 0); /* open RUN with the account's own rights */
	int run_fd = open_run(run);
	const char *scope = read_scope(run_fd, &size);
	int rsyncd = open_rsyncd(run_fd, &found);
	if (kib != NULL && !is_rate(kib))
		die(REFUSED, "use", kib, "it is no number of KiB a second");
	char *state = require_memory(strndup(run, (size_t)(strrchr(run, '/') - run)));

	set_capabilities(THE_ONE, THE_ONE, THE_ONE);
	int ruleset = refuse_everything(1);
	add_never(state, "launch", ANYBODY); /* keys, tickets and locks; only RUN/rsyncd in it is granted, below */
	add_machine();
	take_paths(scope, size);
	grant_scope(ruleset);
	grant_path(ruleset, "/etc/ld.so.cache", LL_READ_FILE, false);
	grant_path(ruleset, LOADER_PATH, LL_RUN, false);
	grant_path(ruleset, RSYNC, LL_RUN, true);
	grant(ruleset, rsyncd, &found, LL_READ, "RUN/rsyncd");

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0) != 0)
		die_errno("lend", "cap_dac_read_search", "prctl");
	die_with_parent(SIGKILL, parent);
	char *config = concat("--config=", run, "/rsyncd/rsyncd.conf");
	char *rate = kib == NULL ? NULL : concat("--bwlimit=", kib, "");
	char *const arguments[] = {"rsync", "--server", "--daemon", config, rate == NULL ? "." : rate, rate == NULL ? NULL : ".", NULL};
	char *const environment[] = {PLAIN_ENVIRONMENT, make_preload(mountpoints_library, mountpoints_library_end),
				     concat("DIALBACK_MOUNTS=", run, "/rsyncd"), NULL};
	become_confined(ruleset, CALLS, COUNT(CALLS), "", arguments, environment);
}

static _Noreturn void never_verb(const char *run)
{
	size_t size;
	forget_caller(STDERR_FILENO);
	require_service();
	require_own_place();
	require_capability();
	set_capabilities(THE_ONE, 0, 0); /* open RUN with the account's own rights */
	const char *scope = read_scope(open_run(run), &size);
	set_capabilities(THE_ONE, THE_ONE, 0);
	add_machine();
	tells = true;
	take_paths(scope, size);
	tell_refusals();
	exit(fflush(stdout) == 0 ? 0 : REFUSED);
}

int main(int count, char *arguments[])
{
	const char *verb = count > 1 ? arguments[1] : "";
	if (strcmp(verb, "send") == 0 && (count == 3 || count == 4))
		send_verb(arguments[2], arguments[3]);
	if (strcmp(verb, "never") == 0 && count == 3)
		never_verb(arguments[2]);
#if INHERITED
	if (strcmp(verb, "lend") == 0 && count == 5 && strcmp(arguments[2], "gate") == 0 && strcmp(arguments[3], "--run") == 0)
		lend_verb(arguments[4]);
#else
	if (strcmp(verb, "lend") == 0)
		die(REFUSED, "run", "lend", "this launcher was built without it: make install INHERITED=1");
#endif
	if (strcmp(verb, "receive") == 0 || strcmp(verb, "pump") == 0 || strcmp(verb, "place") == 0) /* its verbs until 0.1.1 */
		die(REFUSED, "run", verb, "the program jail does this now; a dialback that was started before the upgrade asked for it");
	die(REFUSED, "run", "launch", "its arguments are none of: send RUN [KIB]; never RUN; lend gate --run RUN");
}
