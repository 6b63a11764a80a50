/**
 * A library for LD_PRELOAD. Opening a plain file below $FAILS_BELOW ends with the error $FAILS_WITH, or with EINVAL as with rsync's
 * bug 897; where $FAILS_AT is `read`, it is opened and reading it fails. All else is as ever.
 */
export const FAILING_FILES = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(int fd)
{
	struct stat found;
	char link[64], path[4096] = "";
	const char *below = getenv("FAILS_BELOW"), *with = getenv("FAILS_WITH");
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	if (fd < 0 || below == NULL || fstat(fd, &found) != 0 || !S_ISREG(found.st_mode) ||
	    readlink(link, path, sizeof path - 1) < 0 || strncmp(path, below, strlen(below)) != 0)
		return 0;
	if (strstr(path, "rsyncd.conf") != NULL || strstr(path, "/filter") != NULL)
		return 0;
	return with == NULL ? EINVAL : atoi(with);
}

static int is_read(void)
{
	const char *at = getenv("FAILS_AT");
	return at != NULL && strcmp(at, "read") == 0;
}

static int judge(int fd)
{
	int error = is_read() ? 0 : fails(fd);
	if (error == 0)
		return fd;
	close(fd);
	errno = error;
	return -1;
}

ssize_t read(int fd, void *into, size_t most)
{
	ssize_t (*real)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");
	int error = is_read() ? fails(fd) : 0;
	if (error == 0)
		return real(fd, into, most);
	errno = error;
	return -1;
}
ssize_t __read_chk(int fd, void *into, size_t most, size_t room) { return read(fd, into, most); }

static int open_at(int folder, const char *path, int flags, int mode)
{
	int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, "openat");
	return judge(real(folder, path, flags, mode));
}
#define MODE va_list rest; va_start(rest, flags); int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0; va_end(rest)
int open(const char *path, int flags, ...) { MODE; return open_at(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE; return open_at(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...)
{
	MODE;
	int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, "openat64");
	return judge(real(folder, path, flags, mode));
}
int openat64(int folder, const char *path, int flags, ...) { MODE; return open_at(folder, path, flags, mode); }
int __open_2(const char *path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
int __openat_2(int folder, const char *path, int flags) { return open_at(folder, path, flags, 0); }
int __openat64_2(int folder, const char *path, int flags) { return open_at(folder, path, flags, 0); }
long syscall(long number, ...)
{
	va_list rest;
	long a[6];
	long (*real)(long, ...) = dlsym(RTLD_NEXT, "syscall");
	va_start(rest, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(rest, long);
	va_end(rest);
	long result = real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	return number == __NR_openat2 ? judge((int)result) : result;
}
`;
