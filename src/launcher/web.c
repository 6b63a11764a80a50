#include "web.h"
#include "attributes.h"
#include "caller.h"
#include "caps.h"
#include "landlock.h"
#include "paths.h"
#include "root.h"
#include "rsync.h"
#include "seccomp.h"
#include "trust.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { LISTENING = 3, ATTRIBUTES = 4 }; /* descriptors */
enum { QUEUED_CONNECTIONS = 128, OPEN_FILES = 1024 };
#define DATA_BYTES (1ULL << 30) /* V8's heap has half of it (HEAP_MB in web/limits.ts); address space that it only reserves does not count */
/* The flags of libc's pthread_create(): a thread, and no process. */
#define THREAD                                                                                                      \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |            \
	 CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

static const char DIALBACK[] = DIALBACK_PATH;

static const struct calls WEB_CALLS[] = {
	/* Opens files to read them. SQLite asks for more first, and goes on without. */
	ROW(NO_BITS, 2, NOT_READING, NR(openat)),
	/* Read locks of SQLite's: a write lock needs a descriptor that can write. They can make the writer of an index wait. */
	ROW(AT_MOST, 1, F_SETLK, NR(fcntl)),
	/* Threads of node's: it starts no process. */
	ROW(EQUALS, 0, THREAD, NR(clone)),
	ROW(ANY, 0, 0, NR(sched_yield), NR(sched_getaffinity), NR(membarrier), NR(sigaltstack), NR(capget), NR(clock_getres)),
	/* The event loop. */
	ROW(ANY, 0, 0, NR(epoll_create1), NR(epoll_ctl), NR(epoll_pwait), NR(eventfd2), NR(pipe2)),
	ROW(EQUALS, 1, FIONBIO, NR(ioctl)),
	/* Connections that it has accepted. There is no socket(), connect() or bind(). */
	ROW(ANY, 0, 0, NR(listen), NR(accept4), NR(shutdown), NR(getsockname), NR(getpeername), NR(setsockopt), NR(getsockopt)),
	ROW(NOT_THERE, 0, 0, NR(io_uring_setup), NR(pkey_alloc)),
	/* The step into dialback: only with this string, whose address it does not learn. */
	ROW(THE_STEP, 0, (uintptr_t)DIALBACK, NR(execve)),
#ifdef __x86_64__
	ROW(NO_BITS, 1, NOT_READING, NR(open)),
	ROW(ANY, 0, 0, NR(epoll_wait)),
#endif
};

static _Noreturn void refuse_listen(const char *text)
{
	die(REFUSED, "listen on", text, "it is none of ADDRESS:PORT, [ADDRESS]:PORT, /PATH, inherited");
}

/* Splits ADDRESS:PORT in place. @return the size of the address for bind() */
static socklen_t read_address(const char *text, struct sockaddr_storage *address)
{
	struct sockaddr_in *four = (struct sockaddr_in *)address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
	char *copy = require_memory(strdup(text)), *colon = strrchr(copy, ':'), *end = NULL;
	if (colon == NULL || colon[1] < '0' || colon[1] > '9')
		refuse_listen(text);
	*colon = '\0';
	unsigned long port = strtoul(colon + 1, &end, 10);
	if (*end != '\0' || port > 65535)
		refuse_listen(text);
	bool is_six = copy[0] == '[' && colon[-1] == ']';
	if (is_six)
		colon[-1] = '\0';
	memset(address, 0, sizeof *address);
	address->ss_family = is_six ? AF_INET6 : AF_INET;
	if (inet_pton(address->ss_family, copy + is_six, is_six ? (void *)&six->sin6_addr : (void *)&four->sin_addr) != 1)
		refuse_listen(text);
	*(is_six ? &six->sin6_port : &four->sin_port) = htons((uint16_t)port);
	free(copy);
	return is_six ? sizeof *six : sizeof *four;
}

static int listen_at(const char *text)
{
	struct sockaddr_storage address;
	struct sockaddr_un *path = (struct sockaddr_un *)&address;
	socklen_t size = sizeof *path;
	if (text[0] == '/') {
		memset(&address, 0, sizeof address);
		path->sun_family = AF_UNIX;
		if (strlen(text) >= sizeof path->sun_path)
			die(REFUSED, "listen on", text, "a socket's path has at most %zu bytes", sizeof path->sun_path - 1);
		strcpy(path->sun_path, text);
	} else
		size = read_address(text, &address);
	int fd = socket(address.ss_family, SOCK_STREAM, 0), on = 1;
	umask(0177); /* the socket gets mode 0600 */
	if (fd < 0 || (text[0] != '/' && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) ||
	    bind(fd, (struct sockaddr *)&address, size) != 0)
		die_errno("listen on", text, "bind");
	umask(077);
	return fd;
}

/* Moves a descriptor to the number that dialback knows, to stay open there over execve(). */
static void move(int fd, int number)
{
	if (fd == number ? fcntl(fd, F_SETFD, 0) != 0 : dup2(fd, number) != number || close(fd) != 0)
		die_errno("pass on", "a descriptor", "dup2");
}

static void take_socket(const char *text)
{
	int is_listening = 0;
	socklen_t size = sizeof is_listening;
	bool is_inherited = strcmp(text, "inherited") == 0;
	if (!is_inherited) {
		int fd = listen_at(text);
		if (listen(fd, QUEUED_CONNECTIONS) != 0)
			die_errno("listen on", text, "listen");
		move(fd, LISTENING);
	} else if (getsockopt(LISTENING, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) != 0 || is_listening == 0)
		die(REFUSED, "use", "descriptor 3", "it is not a socket that listens");
	else
		move(LISTENING, LISTENING);
}

static void require_place(const char *path)
{
	char *full = is_canonical(path) ? realpath(path, NULL) : NULL;
	if (full == NULL || strcmp(full, path) != 0)
		die(REFUSED, "use", path, "it is to be there, and named by its path without links");
	free(full);
}

_Noreturn void web_verb(int count, char *arguments[])
{
	char *const environment[] = {PLAIN_ENVIRONMENT, NULL};
	char abi[16];
	pid_t parent = getppid();
	/* CACHES is for a store whose SQLite files are elsewhere (`cache_dir` in host.toml). */
	int end = count > 3 && strcmp(arguments[3], "--") != 0 ? 4 : 3;
	if (count < end + 1 || strcmp(arguments[end], "--") != 0)
		die(REFUSED, "run", "web", "it takes LISTEN STORE CONFIG [CACHES] -- ARGUMENT...");
	confine_what = DIALBACK;
	accept_logs();
	forget_caller(strcmp(arguments[0], "inherited") == 0 ? LISTENING : STDERR_FILENO);
	if (getuid() == 0 || geteuid() == 0)
		die(REFUSED, "run", "web", "it is not for root");
	set_capabilities(0, 0, 0);
	require_own_place();
	require_roots_own(DIALBACK);
	require_place(arguments[1]);
	require_place(arguments[2]);
	if (end == 4)
		require_place(arguments[3]);
	die_with_parent(SIGKILL, parent);
	close(refuse_everything(2)); /* before it listens: a kernel without Landlock is refused first */
	take_socket(arguments[0]);
	move(start_attribute_reader(arguments[1]), ATTRIBUTES);
	int ruleset = refuse_everything(2);
	grant_path(ruleset, arguments[1], LL_READ, true);
	grant_path(ruleset, arguments[2], LL_READ_FILE, true);
	if (end == 4)
		grant_path(ruleset, arguments[3], LL_READ, true);
	for (const char *const *path = COMMON_PATHS; *path != NULL; path++)
		grant_path(ruleset, *path, LL_READ_FILE, false);
	grant_path(ruleset, "/etc/ssl/openssl.cnf", LL_READ_FILE, false); /* node does not start where it exists and is refused */
	grant_path(ruleset, "/dev/null", LL_READ_FILE, true);
	grant_path(ruleset, LOADER_PATH, LL_RUN, false);
	grant_path(ruleset, DIALBACK, LL_RUN, true);
	limit(RLIMIT_NOFILE, OPEN_FILES);
	limit(RLIMIT_DATA, DATA_BYTES);
	limit_core();
	snprintf(abi, sizeof abi, "%ld", landlock_abi());
	enforce(ruleset);
	allow_calls(WEB_CALLS, COUNT(WEB_CALLS));
	char **words = require_memory(calloc((size_t)count + 1, sizeof *words));
	words[0] = "dialback", words[1] = "serve-web", words[2] = "--landlock-abi", words[3] = abi;
	memcpy(words + 4, arguments + end + 1, (size_t)(count - end - 1) * sizeof *words);
	become(DIALBACK, words, environment);
}
