#include "attributes.h"
#include "landlock.h"
#include "rsync.h"
#include "seccomp.h"
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/xattr.h>

/* The longest path in a request, the most bytes of an answer (one value has up to 64 KiB, as has the list of names). */
enum { REQUEST_BYTES = 16 << 10, ANSWER_BYTES = 4 << 20, PIECE_BYTES = 4000 };

static const struct calls READER_CALLS[] = {
	ROW(NO_BITS, 2, NOT_READING, NR(openat)),
};

static bool read_all(int fd, void *into, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = read(fd, (char *)into + done, size - done);
		if (n == 0 || (n < 0 && errno != EINTR))
			return false;
		done += n > 0 ? (size_t)n : 0;
	}
	return true;
}

static bool write_all(int fd, const void *from, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = write(fd, (const char *)from + done, size - done);
		if (n < 0 && errno != EINTR)
			return false;
		done += n > 0 ? (size_t)n : 0;
	}
	return true;
}

/* Opens a file or folder by a path that can be longer than PATH_MAX, in pieces. Follows no link in the last piece. */
static int open_long(char *path)
{
	int folder = AT_FDCWD;
	while (strlen(path) > PIECE_BYTES) {
		char *end = path + PIECE_BYTES;
		while (end > path && *end != '/')
			end--;
		if (end == path) {
			errno = ENAMETOOLONG;
			break;
		}
		*end = '\0';
		int next = openat(folder, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (folder != AT_FDCWD)
			close(folder);
		if (next < 0)
			return -1;
		folder = next;
		path = end + 1 + strspn(end + 1, "/");
	}
	int fd = strlen(path) > PIECE_BYTES ? -1 : openat(folder, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int error = errno;
	if (folder != AT_FDCWD)
		close(folder);
	errno = error;
	return fd;
}

/* Adds a length and bytes to the answer. @return false if it would become too long */
static bool add(char *answer, uint32_t *used, const void *bytes, size_t size)
{
	uint32_t length = (uint32_t)size;
	if (*used + sizeof length + size > ANSWER_BYTES)
		return false;
	memcpy(answer + *used, &length, sizeof length);
	memcpy(answer + *used + sizeof length, bytes, size);
	*used += (uint32_t)(sizeof length + size);
	return true;
}

/* @return 0, or errno */
static int read_attributes(int fd, char *answer, uint32_t *used)
{
	static char names[1 << 16], value[1 << 16];
	ssize_t size = flistxattr(fd, names, sizeof names);
	if (size < 0)
		return errno == ENOTSUP ? 0 : errno;
	for (char *name = names; name < names + size; name += strlen(name) + 1) {
		if (strncmp(name, "user.", 5) != 0) /* a store has no other names */
			continue;
		ssize_t length = fgetxattr(fd, name, value, sizeof value);
		if (length < 0)
			return errno;
		if (!add(answer, used, name, strlen(name)) || !add(answer, used, value, (size_t)length))
			return E2BIG;
	}
	return 0;
}

static _Noreturn void answer_requests(int connection)
{
	static char path[REQUEST_BYTES + 1], answer[ANSWER_BYTES];
	uint32_t size;
	while (read_all(connection, &size, sizeof size) && size <= REQUEST_BYTES && read_all(connection, path, size)) {
		uint32_t head[2] = {0, 0};
		path[size] = '\0';
		int fd = strlen(path) == size && path[0] == '/' ? open_long(path) : (errno = EINVAL, -1);
		head[0] = (uint32_t)(fd < 0 ? errno : read_attributes(fd, answer, &head[1]));
		if (fd >= 0)
			close(fd);
		if (head[0] != 0)
			head[1] = 0;
		if (!write_all(connection, head, sizeof head) || !write_all(connection, answer, head[1]))
			break;
	}
	_exit(0);
}

int start_attribute_reader(const char *store)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		die_errno("start", "the reader of attributes", "socketpair");
	pid_t child = fork();
	if (child < 0)
		die_errno("start", "the reader of attributes", "fork");
	if (child > 0) {
		close(pair[1]);
		return pair[0];
	}
	dup2(pair[1], 0);
	syscall(__NR_close_range, 1, ~0U, 0); /* the listening socket and the output are not for it */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
		_exit(REFUSED);
	int ruleset = refuse_everything(2);
	grant_path(ruleset, store, LL_READ, true);
	limit_core();
	enforce(ruleset);
	allow_calls(READER_CALLS, COUNT(READER_CALLS));
	answer_requests(0);
}
