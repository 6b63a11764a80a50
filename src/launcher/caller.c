#include "caller.h"
#include <signal.h>
#include <sys/prctl.h>

static bool takes_logs;

void accept_logs(void)
{
	takes_logs = true;
}

static bool takes_folder;

void accept_folder(void)
{
	takes_folder = true;
}

/* @return what descriptor `fd` has to be */
static const char *wanted_kind(int fd)
{
	if (fd == LOCK)
		return "a plain file";
	return takes_folder && fd == FOLDER ? "a folder" : "a pipe, a socket or a character device";
}

void require_no_places(int last)
{
	for (int fd = 0; fd <= last; fd++) {
		char name[32];
		struct stat found;
		int flags = fcntl(fd, F_GETFL);
		bool is_folder = takes_folder && fd == FOLDER;
		if (flags < 0 && errno == EBADF && fd > STDERR_FILENO && !is_folder)
			continue; /* doctor tries `receive` without them */
		bool is_open = flags >= 0 && (flags & O_PATH) == 0 && fstat(fd, &found) == 0;
		bool is_file = fd == LOCK || (takes_logs && (fd == STDOUT_FILENO || fd == STDERR_FILENO) && is_open && S_ISREG(found.st_mode));
		bool is_accepted = is_open && (is_file	   ? S_ISREG(found.st_mode)
					       : is_folder ? S_ISDIR(found.st_mode)
							   : S_ISFIFO(found.st_mode) || S_ISSOCK(found.st_mode) ||
								     S_ISCHR(found.st_mode));
		snprintf(name, sizeof name, "descriptor %d", fd);
		if (!is_accepted)
			die(REFUSED, "use", name, "it is not %s", wanted_kind(fd));
	}
}

void forget_caller(unsigned last)
{
	static const char defaults[64]; /* the kernel's struct sigaction, of zeros: SIG_DFL */
	sigset_t none;
	/* signal(3) would not reset libc's own two. The call fails for SIGKILL and SIGSTOP, which is fine. */
	for (int number = 1; number < NSIG; number++)
		syscall(__NR_rt_sigaction, number, defaults, NULL, (size_t)8);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(077);
	if (syscall(__NR_close_range, last + 1, ~0U, 0) != 0)
		for (int fd = (int)last + 1; fd < 65536; fd++) /* before Linux 5.9 */
			close(fd);
	require_no_places((int)last);
	if (chdir("/") != 0)
		die_errno("enter", "/", "chdir");
}

void die_with_parent(int signal_number, pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0)
		die_errno("end with", "the caller", "prctl");
	if (getppid() != parent)
		exit(REFUSED); /* the parent died before the prctl(): there is no reader for a line */
}
