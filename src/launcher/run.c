#include "run.h"
#include "scope.h"
#include "trust.h"
#include <linux/openat2.h>

#ifdef SERVICE_UID_FILE
enum { UID_BYTES = 10 }; /* the digits of the largest uid */

/* @return 0, root's, unless the text is the number of another user and a line feed */
static uid_t parse_uid(const char *text, ssize_t size)
{
	unsigned long long uid = 0;
	if (size < 2 || size > UID_BYTES + 1 || text[0] == '0' || text[size - 1] != '\n')
		return 0;
	for (const char *at = text; at < text + size - 1; at++) {
		if (*at < '0' || *at > '9')
			return 0;
		uid = uid * 10 + (unsigned)(*at - '0');
	}
	return uid < (uid_t)-2 ? (uid_t)uid : 0; /* the last two have meanings: "unchanged" in chown(2), and ANYBODY */
}

uid_t read_service_uid(void)
{
	static uid_t uid;
	char text[UID_BYTES + 2];
	if (uid != 0)
		return uid;
	int fd = open(SERVICE_UID_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text);
	if (size < 0)
		die_errno("read", SERVICE_UID_FILE, fd < 0 ? "open" : "read");
	close(fd);
	require_roots_own(SERVICE_UID_FILE); /* only root could have put another file there since */
	uid = parse_uid(text, size);
	if (uid == 0)
		die(REFUSED, "use", SERVICE_UID_FILE, "it is not the number of a user other than root, with a line feed");
	return uid;
}
#endif

void require_service(void)
{
	if (getuid() != SERVICE_UID || geteuid() != SERVICE_UID)
		die(REFUSED, "run", SELF_PATH, "it was made for uid %u, and is run by uid %u", (unsigned)SERVICE_UID,
		    (unsigned)getuid());
}

static bool is_run_name(const char *run)
{
	const char *name = strrchr(run, '/');
	return run[0] == '/' && strncmp(name, "/run-", 5) == 0 && strlen(name) == strlen("/run-XXXXXX") &&
	       strspn(name + 5, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == 6;
}

int open_run(const char *run)
{
	struct stat found;
	if (!is_run_name(run))
		die(REFUSED, "use", run, "it is not called /.../run-XXXXXX");
	/* Not through /proc/PID/root and the like: in a mount namespace of the caller's own, RUN/rsyncd can be any folder. */
	const struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS};
	int fd = (int)syscall(__NR_openat2, AT_FDCWD, run, &how, sizeof how);
	if (fd < 0 && errno == ENOSYS) /* before Linux 5.6, which has no Landlock either: for `lend` */
		fd = open(run, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &found) != 0)
		die_errno("use", run, "open");
	if (found.st_uid != SERVICE_UID || (found.st_mode & 07777) != 0700)
		die(REFUSED, "use", run, "it belongs to uid %u with mode %04o, and should be ours with 0700", found.st_uid,
		    found.st_mode & 07777U);
	return fd;
}

char *read_scope(int run, size_t *size)
{
	struct stat found;
	char *text = require_memory(malloc(SCOPE_BYTES + 1));
	int fd = openat(run, "scope", O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &found) != 0)
		die_errno("read", "RUN/scope", "open");
	if (!S_ISREG(found.st_mode) || found.st_uid != SERVICE_UID || (found.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		die(REFUSED, "read", "RUN/scope", "it is not a plain file that only we can write");
	if (found.st_size > SCOPE_BYTES)
		die(REFUSED, "read", "RUN/scope", "it has more than %d bytes", SCOPE_BYTES);
	ssize_t n = 0;
	*size = 0;
	while (*size < SCOPE_BYTES && (n = read(fd, text + *size, SCOPE_BYTES - *size)) > 0)
		*size += (size_t)n;
	if (n < 0)
		die_errno("read", "RUN/scope", "read");
	text[*size] = '\0';
	close(fd);
	return text;
}
