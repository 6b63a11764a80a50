#include "rsync.h"
#include "landlock.h"
#include <sys/mman.h>

#ifndef MFD_NOEXEC_SEAL /* since Linux 6.3 */
#define MFD_NOEXEC_SEAL 8U
#endif

const char RSYNC[] = RSYNC_PATH;

void limit(__rlimit_resource_t what, rlim_t most)
{
	struct rlimit now;
	if (getrlimit(what, &now) != 0)
		die_errno("set", "limits", "getrlimit");
	if (now.rlim_max > most)
		now.rlim_max = most;
	now.rlim_cur = now.rlim_max;
	if (setrlimit(what, &now) != 0)
		die_errno("set", "limits", "setrlimit");
}

void limit_core(void)
{
	limit(RLIMIT_CORE, 1);
}

char *make_preload(const char *library, const char *end)
{
	char *preload;
	size_t size = (size_t)(end - library);
	/* rsync maps it and never executes it as a file, so it works where vm.memfd_noexec forbids that. */
	int fd = memfd_create("library", MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("library", MFD_ALLOW_SEALING);
	if (fd < 0 || write(fd, library, size) != (ssize_t)size ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0 ||
	    asprintf(&preload, "LD_PRELOAD=/proc/self/fd/%d", fd) < 0)
		die_errno("give rsync", "its library", "memfd_create");
	return preload;
}

_Noreturn void become(const char *program, char *const arguments[], char *const environment[])
{
	execve(program, arguments, environment);
	die(errno == ENOENT ? NO_PROGRAM : REFUSED, "run", program, "execve: %s", strerror(errno));
}

/* In this order: each step takes away something that the steps before it need. */
_Noreturn void become_confined(int ruleset, const struct calls *calls, size_t count, const char *note,
			       char *const arguments[], char *const environment[])
{
	long abi = landlock_abi();
	limit(RLIMIT_NOFILE, 4096); /* rsync keeps a descriptor for each folder of a path: PATH_MAX has room for 2,047 */
	limit_core();
	enforce(ruleset);
	dprintf(STDERR_FILENO, "dialback-launch: landlock_abi %ld%s\n", abi, note);
	allow_calls(calls, count);
	become(RSYNC, arguments, environment);
}
