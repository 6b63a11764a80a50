#include "fetch.h"
#include "caller.h"
#include "caps.h"
#include "jail.h"
#include "landlock.h"
#include "paths.h"
#include "root.h"
#include "rsync.h"
#include "trust.h"
#include <signal.h>
#include <sys/prctl.h>

/* For root, to give everything back: owners, modes and times of the files of others, devices, capabilities of files. */
#define RESTORING                                                                                                    \
	(1U << CAP_CHOWN | 1U << CAP_FOWNER | 1U << CAP_DAC_OVERRIDE | 1U << CAP_MKNOD | 1U << CAP_SETFCAP | 1U << CAP_FSETID)

/* A tree of real files needs these more than a fake-super tree: owners, links, FIFOs, sockets, devices. pump drops capabilities. */
static const struct calls FETCH_CALLS[] = {
	ROW(ANY, 0, 0, NR(fchown), NR(fchownat), NR(symlinkat), NR(mknodat), NR(capset)),
#ifdef __x86_64__
	ROW(ANY, 0, 0, NR(chown), NR(lchown), NR(symlink), NR(mknod)),
#endif
};

/* Keeps the bounding set as small, so that no execve() as root brings a capability back. */
static void keep_only(uint32_t capabilities)
{
	for (int each = 0; prctl(PR_CAPBSET_READ, each, 0, 0, 0) >= 0; each++)
		if ((each > 31 || (capabilities & 1U << each) == 0) && prctl(PR_CAPBSET_DROP, each, 0, 0, 0) != 0)
			die_errno("drop", "capabilities", "prctl");
	set_capabilities(capabilities, capabilities, 0);
}

/* The receiver's calls and ours. @return their number */
static size_t take_calls(struct calls *all, size_t room)
{
	if (RECEIVER_COUNT + COUNT(FETCH_CALLS) > room)
		die(REFUSED, "restrict", "system calls", "the table is too small");
	memcpy(all, RECEIVER_CALLS, RECEIVER_COUNT * sizeof *all);
	memcpy(all + RECEIVER_COUNT, FETCH_CALLS, sizeof FETCH_CALLS);
	return RECEIVER_COUNT + COUNT(FETCH_CALLS);
}

_Noreturn void fetch_verb(bool gives_labels, int count, char *arguments[])
{
	pid_t parent = getppid();
	char *const environment[] = {PLAIN_ENVIRONMENT, NULL};
	bool is_root = getuid() == 0 && geteuid() == 0;
	forget_caller(LOCK);
	if (!is_root)
		set_capabilities(0, 0, 0);
	require_own_place();
	require_roots_own(RSYNC_PATH);
	int end = count_folders("fetch", count, arguments);
	for (int i = 0; i < end; i++) /* "/" would be the new root itself, which becomes read-only for the whole machine */
		if (strcmp(arguments[i], "/") == 0)
			die(REFUSED, "use", "/", "it has no folder above it");
	die_with_parent(SIGTERM, parent); /* not SIGKILL: a receiver removes or keeps its half-arrived file before it ends */
	if (is_root) {
		enter_folders(arguments, end);
		become_first();
		mount_own_proc();
		keep_only(gives_labels ? RESTORING | 1U << CAP_SYS_ADMIN : RESTORING);
	}
	arguments[end] = "rsync";
	static struct calls all[64];
	size_t calls = take_calls(all, COUNT(all));
	if (landlock_abi() < 2) { /* files must come back on an older kernel too; root has its own root in any case */
		limit_core();
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
			die_errno("confine", RSYNC_PATH, "prctl");
		allow_calls(all, calls);
		become(RSYNC, arguments + end, environment);
	}
	int ruleset = refuse_everything(2);
	for (int i = 0; i < end; i++)
		grant_path(ruleset, arguments[i], ~(LL_EXECUTE | LL_IOCTL_DEV), true);
	grant_path(ruleset, "/", LL_READ_DIR, true); /* rsync opens each folder on its way; names below them can be listed */
	grant_rsync(ruleset, SELF_PATH);	     /* pump */
	become_confined(ruleset, all, calls, is_root ? " own_root" : "", arguments + end,
			environment);
}
