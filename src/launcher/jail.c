/*
 * jail: builds the jails that need no capability from a file, for rsync and for the web server. It has none, and any account may run it (0755).
 *
 *   receive TREE [LINKROOT...] -- ARG...   becomes rsync that can write into TREE, link from each LINKROOT, and reach nothing else
 *   pump SECONDS                           rsync's remote shell inside `receive` (relay.h)
 *   place DIR TREE -- ARG...               root only: becomes rsync that can read TREE, a snapshot, and change nothing outside DIR,
 *                                          with all of root's capabilities
 *   serve TREE RUN                         becomes rsync as a daemon that can read a part of TREE, a snapshot (serve.h).
 *   adopt RUN                              becomes rsync as a daemon that can read an adopted folder (adopt.h).
 *   fetch DIR... -- ARG...                 becomes rsync that can write below each DIR and reach nothing else (fetch.h)
 *   web LISTEN STORE CONFIG [CACHES] -- ARG...
 *                                          becomes dialback as a web server that can read STORE and CONFIG, and do nothing else (web.h)
 *
 * Its other half is launch.c, with the jail of the rsync that reads. The parts of this file:
 * - RECEIVER_CALLS below, and COMMON_CALLS in seccomp.c: the system calls of the receiver
 * - LINK_FROM and WRITE_INTO: its rights to files
 * - receive_verb(): the order in which its jail comes into force
 *
 * Each failure is one line and exit status 126, or 127 if the program to become does not exist.
 *
 * SELF_PATH, RSYNC_PATH and DIALBACK_PATH are compiled in, and can be read in the file (BUILT_FOR).
 */
#include "adopt.h"
#include "caller.h"
#include "caps.h"
#include "fetch.h"
#include "jail.h"
#include "landlock.h"
#include "paths.h"
#include "relay.h"
#include "root.h"
#include "rsync.h"
#include "serve.h"
#include "trust.h"
#include "web.h"
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>

/* For `tools/launcher.sh --check`, which reads the file and does not run it. A text between two NULs. */
__attribute__((used)) static const char BUILT_FOR[] = "\0dialback-jail built for self=" SELF_PATH " rsync=" RSYNC_PATH " dialback=" DIALBACK_PATH;

/* linkat.c, compiled: a part of this file, so that no caller can give rsync another library. */
__asm__(".pushsection .rodata\n"
	"linkat_library: .incbin \"" LINKAT_LIBRARY "\"\n"
	"linkat_library_end:\n"
	".popsection");
extern const char linkat_library[], linkat_library_end[];

/* 0x80 is CLONE_NEWTIME. It lies in the byte of the exit signal; fork's signal, SIGCHLD, does not have that bit. */
#define NAMESPACE_FLAGS                                                                                             \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | 0x80)

const struct calls RECEIVER_CALLS[] = {
	/* Opens, makes, renames and removes files and folders: Landlock says where. */
	ROW(ANY, 0, 0, NR(openat), NR(pwrite64), NR(ftruncate), NR(fallocate), NR(fsync), NR(mkdirat), NR(unlinkat),
	    NR(renameat), NR(linkat)),
	ROW(NO_BITS, 4, RENAME_WHITEOUT, NR(renameat2)), /* a whiteout is a device */
	/* Sets modes, times and xattrs (owners and devices stand in user.rsync.%stat). Landlock does not cover that. */
	ROW(ANY, 0, 0, NR(fchmod), NR(fchmodat), NR(utimensat), NR(setxattr), NR(lsetxattr), NR(fsetxattr), NR(removexattr),
	    NR(lremovexattr), NR(fremovexattr)),
	ROW(NOT_THERE, 0, 0, NR(fchmodat2)),
	/* It is three processes, generator, receiver and `pump`, and kills them. Landlock says what it may execute. */
	ROW(NO_BITS, 0, NAMESPACE_FLAGS | CLONE_PARENT, NR(clone)), /* children of its own, not of its caller */
	ROW(ANY, 0, 0, NR(execve), NR(wait4), NR(pipe2), NR(close_range)),
	ROW(EQUALS, 0, AF_UNIX, NR(socketpair)), /* between themselves; there is no socket() */
	ROW(AT_MOST, 1, SIGUSR2, NR(kill)),	 /* since ABI 6 of Landlock they can signal only each other */
#ifdef __x86_64__
	/* The same under older names, which arm64 does not have. */
	ROW(ANY, 0, 0, NR(open), NR(mkdir), NR(rmdir), NR(unlink), NR(rename), NR(link), NR(chmod), NR(pipe), NR(fork),
	    NR(vfork), NR(pause)),
#endif
};
const size_t RECEIVER_COUNT = COUNT(RECEIVER_CALLS);

/* link() asks that the old place allows everything to the content of a file that the new place allows. */
#define LINK_FROM (LL_READ | LL_WRITE_FILE | LL_REFER | LL_TRUNCATE)
/* Files and folders; no devices, FIFOs, sockets or symlinks: a fake-super tree has none. */
#define WRITE_INTO (LINK_FROM | LL_REMOVE_DIR | LL_REMOVE_FILE | LL_MAKE_DIR | LL_MAKE_REG)

/* env(1) is the remote shell of a restore (store/restore.ts): it starts the rsync that writes. */
static const char ENV[] = "/usr/bin/env";

int count_folders(const char *verb, int count, char *arguments[])
{
	int end = 0;
	for (; end < count && strcmp(arguments[end], "--") != 0; end++) {
		char *full = is_canonical(arguments[end]) ? realpath(arguments[end], NULL) : NULL;
		if (full == NULL || strcmp(full, arguments[end]) != 0)
			die(REFUSED, "use", arguments[end], "a folder is to be there, and named by its path without links");
		free(full);
	}
	if (end == 0 || end == count)
		die(REFUSED, "run", verb, "it takes %s -- ARGUMENT...", strcmp(verb, "receive") == 0 ? "TREE [LINKROOT...]" : "DIR...");
	return end;
}

void grant_rsync(int ruleset, const char *program)
{
	for (const char *const *path = COMMON_PATHS; *path != NULL; path++)
		grant_path(ruleset, *path, LL_READ_FILE, false);
	grant_path(ruleset, "/dev/null", LL_READ_FILE | LL_WRITE_FILE, true);
	grant_path(ruleset, LOADER_PATH, LL_RUN, false);
	grant_path(ruleset, RSYNC, LL_RUN, true);
	grant_path(ruleset, program, LL_RUN, true);
}

static _Noreturn void receive_verb(int count, char *arguments[])
{
	pid_t parent = getppid();
	forget_caller(LOCK);
	set_capabilities(0, 0, 0);
	require_own_place();
	require_roots_own(RSYNC_PATH);
	int end = count_folders("receive", count, arguments);
	die_with_parent(SIGTERM, parent); /* not SIGKILL: a receiver keeps a half-arrived file before it ends */
	bool has_own_root = try_own_root(arguments, end, NULL);
	if (has_own_root)
		become_first();
	int ruleset = refuse_everything(2);
	grant_path(ruleset, arguments[0], WRITE_INTO, true);
	for (int i = 1; i < end; i++)
		grant_path(ruleset, arguments[i], LINK_FROM, true);
	grant_rsync(ruleset, SELF_PATH); /* pump */

	char *tree = NULL;
	if (asprintf(&tree, "DIALBACK_TREE=%s", arguments[0]) < 0)
		die_errno("use", arguments[0], "malloc");
	char *const environment[] = {PLAIN_ENVIRONMENT, make_preload(linkat_library, linkat_library_end), tree, NULL};
	arguments[end] = "rsync";
	become_confined(ruleset, RECEIVER_CALLS, RECEIVER_COUNT, has_own_root ? " own_root" : "", arguments + end, environment);
}

/* Grants reading of a snapshot. The account owns every folder above it, so no link is followed. */
static void grant_snapshot(int ruleset, const char *tree)
{
	struct stat found;
	int fd = open_path(AT_FDCWD, tree);
	if (fd < 0 || fstat(fd, &found) != 0)
		die_errno("open", tree, "openat2");
	grant(ruleset, fd, &found, LL_READ, tree);
	close(fd);
}

/*
 * Root's restore: rsync reads what a client has sent, in a tree that the host's account owns, and writes with root's rights.
 * Wherever that leads it, the kernel lets it open, make, move and remove files below DIR only. Landlock does not cover modes, owners
 * and times. There is no seccomp filter: this rsync needs what root may do, and makes devices.
 */
static _Noreturn void place_verb(int count, char *arguments[])
{
	char *const environment[] = {PLAIN_ENVIRONMENT, NULL};
	pid_t parent = getppid();
	forget_caller(STDERR_FILENO);
	if (getuid() != 0 || geteuid() != 0)
		die(REFUSED, "run", "place", "it is for root only");
	require_own_place();
	require_roots_own(RSYNC_PATH);
	require_roots_own(ENV);
	if (count < 4 || strcmp(arguments[2], "--") != 0)
		die(REFUSED, "run", "place", "it takes DIR TREE -- ARGUMENT...");
	count_folders("place", count, arguments);
	require_roots_own(arguments[0]);
	die_with_parent(SIGKILL, parent);
	arguments[2] = "rsync";
	/* Files must come back on an older kernel too, and root could restore without this program as well. */
	if (landlock_abi() < 2)
		become(RSYNC, arguments + 2, environment);
	int ruleset = refuse_everything(2);
	grant_path(ruleset, arguments[0], ~(LL_EXECUTE | LL_IOCTL_DEV), true);
	grant_snapshot(ruleset, arguments[1]);
	grant_path(ruleset, "/", LL_READ_DIR, true); /* rsync opens each folder on its way; names below them can be listed */
	grant_rsync(ruleset, ENV);
	limit_core();
	enforce(ruleset);
	become(RSYNC, arguments + 2, environment);
}

int main(int count, char *arguments[])
{
	const char *verb = count > 1 ? arguments[1] : "";
	if (strcmp(verb, "receive") == 0)
		receive_verb(count - 2, arguments + 2);
	if (strcmp(verb, "place") == 0)
		place_verb(count - 2, arguments + 2);
	if (strcmp(verb, "serve") == 0 && count == 4)
		serve_verb(arguments[2], arguments[3]);
	if (strcmp(verb, "adopt") == 0 && count == 3)
		adopt_verb(arguments[2]);
	if (strcmp(verb, "fetch") == 0 || strcmp(verb, "fetch-labels") == 0)
		fetch_verb(strcmp(verb, "fetch-labels") == 0, count - 2, arguments + 2);
	if (strcmp(verb, "web") == 0)
		web_verb(count - 2, arguments + 2);
	if (strcmp(verb, "pump") == 0 && count >= 3) /* rsync adds two arguments: host and command */
		return pump(arguments[2]);
	die(REFUSED, "run", "jail", "its arguments are none of: receive TREE [LINKROOT...] -- ARGUMENT...; "
				    "place DIR TREE -- ARGUMENT...; serve TREE RUN; adopt RUN; fetch DIR... -- ARGUMENT...; "
				    "web LISTEN STORE CONFIG [CACHES] -- ARGUMENT...; pump SECONDS");
}
