#include "relay.h"
#include "caller.h"
#include "caps.h"
#include <limits.h>
#include <poll.h>
#include <signal.h>

/* On standard error, for host/relay.ts. */
#define FIRST_BYTE "dialback-relay: first byte\n"
#define IDLE "dialback-relay: idle\n"

/* Inside the jail, where its seccomp filter refuses capset(), no_new_privs has left none to drop. */
static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
	const struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
	if (syscall(__NR_capset, &header, none) != 0 && errno != EPERM)
		die_errno("set", "capabilities", "capset");
}

/* Whether a descriptor is not ready for `idle_ms`, which it reports. Negative: waits without end */
static bool is_idle(int descriptor, short what, int idle_ms)
{
	struct pollfd each = {.fd = descriptor, .events = what};
	int ready;
	do
		ready = poll(&each, 1, idle_ms);
	while (ready < 0 && errno == EINTR);
	if (ready == 0)
		dprintf(STDERR_FILENO, "%s", IDLE);
	return ready == 0;
}

/*
 * Copies until the end of `from`. It does not use splice(). From a socket into a pipe, splice() waits for data with the pipe locked.
 * That would block ssh, which reads that pipe and has one thread.
 * @param announce what to report when the first byte comes; that byte may take as long as it likes, since the host has a timeout
 *     of its own for it
 */
static int copy(int from, int to, const char *announce, int idle_ms)
{
	static char buffer[1 << 16];
	for (;;) {
		if (is_idle(from, POLLIN, announce == NULL ? idle_ms : -1))
			return 1;
		ssize_t n = read(from, buffer, sizeof buffer);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return 1;
		if (n > 0 && announce != NULL)
			dprintf(STDERR_FILENO, "%s", announce);
		if (n > 0)
			announce = NULL;
		for (ssize_t done = 0, more; done < n; done += more) {
			if (is_idle(to, POLLOUT, idle_ms))
				return 1;
			more = write(to, buffer + done, (size_t)(n - done));
			if (more < 0 && errno != EINTR)
				return 1;
			if (more < 0)
				more = 0;
		}
	}
}

/*
 * One process for each direction, so that neither blocks the other. rsync's own --timeout does not replace this: on the receiving
 * side its generator sends keep-alives, and counts it as activity when a pipe accepts them.
 */
int pump(const char *seconds)
{
	char *end;
	long idle = strtol(seconds, &end, 10);
	if (*end != '\0' || idle < 1 || idle > INT_MAX / 1000)
		die(REFUSED, "run", "pump", "its first argument is no number of seconds");
	syscall(__NR_close_range, LOCK, ~0U, 0);
	drop_capabilities();
	require_no_places(TO_SSH);
	signal(SIGPIPE, SIG_IGN);
	/* rsync leaves its remote shell sockets that do not block, and grab the ends of a channel. */
	for (int each = STDIN_FILENO; each <= TO_SSH; each++)
		if (each != STDERR_FILENO)
			fcntl(each, F_SETFL, 0);
	pid_t upward = fork();
	if (upward < 0)
		die_errno("run", "pump", "fork");
	if (upward == 0) { /* ends when rsync or ssh does */
		close(FROM_SSH);
		close(STDOUT_FILENO);
		_exit(copy(STDIN_FILENO, TO_SSH, NULL, -1));
	}
	close(TO_SSH); /* so that ssh sees rsync's end */
	close(STDIN_FILENO);
	/* Ending closes our standard output. Otherwise, when the connection ends, both rsyncs would wait for each other. */
	return copy(FROM_SSH, STDOUT_FILENO, FIRST_BYTE, (int)(idle * 1000));
}
