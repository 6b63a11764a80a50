/*
 * Mount points for the rsync that sends: it sees those that are left out as empty folders, and those that do not answer as an
 * error, and touches neither.
 *
 * rsync looks at every name of a folder before it asks its filter (flist.c, make_file()). At a dead server's mount point that call
 * never returns. rsync also cannot send a folder without listing it. So the dynamic loader puts this library before libc
 * (LD_PRELOAD), and it answers for the paths of a table. It changes what rsync sees of them, not what rsync may do: it runs inside
 * the sender's jail, with the sender's rights.
 *
 * The table is $DIALBACK_MOUNTS/mounts: records with a NUL behind each (client/mount-points.ts writes them).
 *
 *   e PATH                 A folder without entries. stat() shows the true attributes.
 *   s MODE UID GID PATH    A folder without entries. stat() shows this mode (octal) and these owners, and does not touch it.
 *   f PATH                 EHOSTDOWN for it and all paths below it.
 *
 * For the first two it opens $DIALBACK_MOUNTS/empty instead. It uses only old functions of libc, so that it loads with an older
 * libc than the one that it was compiled with.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
enum { MOST_BYTES = 1 << 24 };

struct entry {
	struct entry *next;
	char kind;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	const char *path, *name; /* the name is its last part */
};

static struct entry *entries, *hung;
static uint64_t seen[64]; /* a bit for the hash of each name, since most names have no entry */
static char empty[PATH_MAX];

static unsigned hash_of(const char *name)
{
	uint32_t hash = 2166136261U; /* FNV-1a */
	for (; *name != '\0' && *name != '/'; name++)
		hash = (hash ^ (unsigned char)*name) * 16777619U;
	return hash % 4096;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash == NULL ? path : slash + 1;
}

/* Also takes the blank behind it. Not strtoul(3), which newer headers give another symbol. */
static unsigned take_number(const char **text, unsigned base)
{
	unsigned number = 0;
	for (; **text >= '0' && **text <= '9'; (*text)++)
		number = number * base + (unsigned)(**text - '0');
	*text += **text == ' ';
	return number;
}

static void add(const char *record)
{
	struct entry *entry = calloc(1, sizeof *entry);
	const char *rest = record + 2;
	bool is_known = (record[0] == 'e' || record[0] == 's' || record[0] == 'f') && record[1] == ' ';
	if (entry == NULL || !is_known)
		return;
	entry->kind = record[0];
	if (entry->kind == 's') {
		entry->mode = S_IFDIR | (take_number(&rest, 8) & 07777);
		entry->uid = take_number(&rest, 10);
		entry->gid = take_number(&rest, 10);
	}
	entry->path = rest;
	entry->name = last_part(rest);
	if (*rest != '/' || *entry->name == '\0')
		return;
	unsigned hash = hash_of(entry->name);
	seen[hash / 64] |= 1ULL << (hash % 64);
	struct entry **list = entry->kind == 'f' ? &hung : &entries;
	entry->next = *list;
	*list = entry;
}

/* Without a table that it can read, rsync sees everything as it is. */
__attribute__((constructor)) static void load(void)
{
	char path[PATH_MAX];
	const char *folder = getenv("DIALBACK_MOUNTS");
	if (folder == NULL || snprintf(path, sizeof path, "%s/mounts", folder) >= (int)sizeof path ||
	    snprintf(empty, sizeof empty, "%s/empty", folder) >= (int)sizeof empty)
		return;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	char *text = size <= 0 || size > MOST_BYTES ? NULL : malloc((size_t)size + 1);
	if (text != NULL && pread(fd, text, (size_t)size, 0) == size) {
		text[size] = '\0'; /* kept: the entries are in it */
		for (char *record = text; record < text + size; record += strlen(record) + 1)
			add(record);
	}
	if (fd >= 0)
		close(fd);
}

/* Adds the parts of `path` that are neither empty nor ".". @return false where they do not fit */
static bool append(char full[2 * PATH_MAX], size_t *end, const char *path)
{
	for (path += strspn(path, "/"); *path != '\0'; path += strspn(path, "/")) {
		size_t length = strcspn(path, "/");
		if (*end + length + 2 > 2 * PATH_MAX)
			return false;
		if (length != 1 || *path != '.') {
			full[(*end)++] = '/';
			memcpy(full + *end, path, length);
			*end += length;
		}
		path += length;
	}
	full[*end] = '\0';
	return true;
}

/* The path from "/" on. rsync serves "/" by the name /proc/self/root. */
static bool find_full(int from, const char *path, char full[2 * PATH_MAX])
{
	static const char ROOT[] = "/proc/self/root/";
	char link[64], folder[PATH_MAX];
	size_t end = 0;
	if (*path != '/') {
		snprintf(link, sizeof link, from == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", from);
		ssize_t n = readlinkat(AT_FDCWD, link, folder, sizeof folder - 1);
		if (n <= 0)
			return false;
		folder[n] = '\0';
		if (!append(full, &end, folder))
			return false;
	}
	if (strncmp(path, ROOT, sizeof ROOT - 1) == 0)
		path += sizeof ROOT - 2;
	return append(full, &end, path);
}

static const struct entry *find(int from, const char *path)
{
	char full[2 * PATH_MAX];
	int error = errno;
	const struct entry *found = NULL;
	const char *last = last_part(path);
	unsigned hash = hash_of(last);
	bool is_likely = (seen[hash / 64] >> (hash % 64) & 1) != 0 || (entries != NULL && strcmp(last, ".") == 0);
	for (const struct entry *each = hung; each != NULL && !is_likely; each = each->next)
		is_likely = strstr(path, each->name) != NULL;
	if (!is_likely || !find_full(from, path, full))
		return NULL;
	for (const struct entry *each = hung; each != NULL && found == NULL; each = each->next) {
		size_t length = strlen(each->path);
		if (strncmp(full, each->path, length) == 0 && (full[length] == '\0' || full[length] == '/'))
			found = each;
	}
	for (const struct entry *each = entries; each != NULL && found == NULL; each = each->next)
		if (strcmp(full, each->path) == 0)
			found = each;
	errno = error;
	return found;
}

static int refuse(int error)
{
	errno = error;
	return -1;
}

static int stat_at(int from, const char *path, struct stat *found, int flags)
{
	const struct entry *entry = find(from, path);
	if (entry == NULL || entry->kind == 'e')
		return (int)syscall(SYS_newfstatat, from, path, found, flags);
	if (entry->kind == 'f')
		return refuse(EHOSTDOWN);
	memset(found, 0, sizeof *found);
	found->st_mode = entry->mode;
	found->st_uid = entry->uid;
	found->st_gid = entry->gid;
	found->st_nlink = 2;
	return 0;
}

static int open_at(int from, const char *path, int flags, mode_t mode)
{
	const struct entry *entry = find(from, path);
	/* By O_PATH it is only a step on the way to /proc/self/root: rsync lists it by "." in it. */
	if (entry == NULL || (entry->kind == 'e' && (flags & O_PATH) != 0))
		return (int)syscall(SYS_openat, from, path, flags, mode);
	return entry->kind == 'f' ? refuse(EHOSTDOWN) : (int)syscall(SYS_openat, AT_FDCWD, empty, flags, mode);
}

/* Whether a path is one that this library must not touch. */
static bool is_untouched(const char *path)
{
	const struct entry *entry = find(AT_FDCWD, path);
	return entry != NULL && entry->kind != 'e';
}

/* ---- The names of these in all versions of libc ------------------------------------------------------------------- */

EXPORT int stat(const char *path, struct stat *found) { return stat_at(AT_FDCWD, path, found, 0); }
EXPORT int lstat(const char *path, struct stat *found) { return stat_at(AT_FDCWD, path, found, AT_SYMLINK_NOFOLLOW); }
EXPORT int fstatat(int from, const char *path, struct stat *found, int flags) { return stat_at(from, path, found, flags); }
/* Both architectures have one struct stat. */
EXPORT int stat64(const char *path, struct stat64 *found) { return stat(path, (struct stat *)found); }
EXPORT int lstat64(const char *path, struct stat64 *found) { return lstat(path, (struct stat *)found); }
EXPORT int fstatat64(int from, const char *path, struct stat64 *found, int flags)
{
	return stat_at(from, path, (struct stat *)found, flags);
}
/* Before glibc 2.33. */
EXPORT int __xstat(int version, const char *path, struct stat *found) { (void)version; return stat(path, found); }
EXPORT int __lxstat(int version, const char *path, struct stat *found) { (void)version; return lstat(path, found); }
EXPORT int __xstat64(int version, const char *path, struct stat64 *found) { (void)version; return stat64(path, found); }
EXPORT int __lxstat64(int version, const char *path, struct stat64 *found) { (void)version; return lstat64(path, found); }
EXPORT int __fxstatat(int version, int from, const char *path, struct stat *found, int flags)
{
	(void)version;
	return stat_at(from, path, found, flags);
}
EXPORT int __fxstatat64(int version, int from, const char *path, struct stat64 *found, int flags)
{
	(void)version;
	return fstatat64(from, path, found, flags);
}

/*
 * libc has no function for openat2(2): rsync 3.2.3 of Debian 11 calls it by its number. Other calls pass unchanged, and not through
 * libc's syscall(3), which this one replaces.
 */
static long call(long number, const long argument[6])
{
#if defined(__x86_64__)
	long result;
	register long fourth __asm__("r10") = argument[3];
	register long fifth __asm__("r8") = argument[4];
	register long sixth __asm__("r9") = argument[5];
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(argument[0]), "S"(argument[1]), "d"(argument[2]), "r"(fourth), "r"(fifth),
			   "r"(sixth)
			 : "rcx", "r11", "memory");
#elif defined(__aarch64__)
	register long which __asm__("x8") = number;
	register long result __asm__("x0") = argument[0];
	register long second __asm__("x1") = argument[1];
	register long third __asm__("x2") = argument[2];
	register long fourth __asm__("x3") = argument[3];
	register long fifth __asm__("x4") = argument[4];
	register long sixth __asm__("x5") = argument[5];
	__asm__ volatile("svc 0"
			 : "+r"(result)
			 : "r"(which), "r"(second), "r"(third), "r"(fourth), "r"(fifth), "r"(sixth)
			 : "memory");
#else
#error "made for x86-64 and arm64"
#endif
	return result < 0 && result >= -4095 ? refuse((int)-result) : result;
}

EXPORT long syscall(long number, ...)
{
	long argument[6];
	va_list rest;
	va_start(rest, number);
	for (int at = 0; at < 6; at++)
		argument[at] = va_arg(rest, long);
	va_end(rest);
	if (number == __NR_openat2) {
		const struct entry *entry = find((int)argument[0], (const char *)argument[1]);
		uint64_t flags = *(const uint64_t *)argument[2]; /* struct open_how begins with them */
		if (entry != NULL && entry->kind == 'f')
			return refuse(EHOSTDOWN);
		if (entry != NULL && (entry->kind != 'e' || (flags & O_PATH) == 0))
			return open_at(AT_FDCWD, empty, (int)flags, 0);
	}
	return call(number, argument);
}

#define TAKE_MODE                                                                                            \
	mode_t mode = 0;                                                                                     \
	if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {                                    \
		va_list rest;                                                                                \
		va_start(rest, flags);                                                                       \
		mode = va_arg(rest, mode_t);                                                                 \
		va_end(rest);                                                                                \
	}
EXPORT int open(const char *path, int flags, ...) { TAKE_MODE return open_at(AT_FDCWD, path, flags, mode); }
EXPORT int open64(const char *path, int flags, ...) { TAKE_MODE return open_at(AT_FDCWD, path, flags, mode); }
EXPORT int openat(int from, const char *path, int flags, ...) { TAKE_MODE return open_at(from, path, flags, mode); }
EXPORT int openat64(int from, const char *path, int flags, ...) { TAKE_MODE return open_at(from, path, flags, mode); }
EXPORT int __open_2(const char *path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
EXPORT int __open64_2(const char *path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
EXPORT int __openat_2(int from, const char *path, int flags) { return open_at(from, path, flags, 0); }
EXPORT int __openat64_2(int from, const char *path, int flags) { return open_at(from, path, flags, 0); }

EXPORT DIR *opendir(const char *path)
{
	int fd = open_at(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	if (folder == NULL && fd >= 0)
		close(fd);
	return folder;
}

EXPORT ssize_t getxattr(const char *path, const char *name, void *value, size_t size)
{
	return is_untouched(path) ? refuse(EOPNOTSUPP) : syscall(SYS_getxattr, path, name, value, size);
}

EXPORT ssize_t lgetxattr(const char *path, const char *name, void *value, size_t size)
{
	return is_untouched(path) ? refuse(EOPNOTSUPP) : syscall(SYS_lgetxattr, path, name, value, size);
}

EXPORT ssize_t listxattr(const char *path, char *list, size_t size)
{
	return is_untouched(path) ? 0 : syscall(SYS_listxattr, path, list, size);
}

EXPORT ssize_t llistxattr(const char *path, char *list, size_t size)
{
	return is_untouched(path) ? 0 : syscall(SYS_llistxattr, path, list, size);
}
