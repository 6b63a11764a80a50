/*
 * linkat() for the rsync that receives: it does not fail in the middle of a group of hard links.
 *
 * A file system can refuse another link of an inode: EMLINK (ext4 takes 65,000, btrfs as many in one folder), EPERM, EDQUOT, EXDEV.
 * rsync handles that for --link-dest (it copies), but not inside a group. There the next name of the group becomes a second leader.
 * The generator mistakes the number of a --link-dest for that of a file, or finds the group finished, and exits with 2 or 13 (3.1.3
 * to 3.5.0; hlink.c, finish_hard_link). Each such group costs a run, and any user of the client can make one.
 *
 * The dynamic loader puts this library before libc (LD_PRELOAD). It acts if link() is refused and the old name is in the tree that
 * rsync writes into. The new name becomes a copy: a new inode with the content, xattrs, mode and times of the old one. Then the OLD
 * name becomes a link of that copy too. rsync links every further name of a group to the same old name, so the next refusal comes
 * when the copy is full as well. A group costs one copy for each inode that it fills, and the library keeps no state. It never
 * touches names outside of the tree (--link-dest): an inode of a finished snapshot can only gain links.
 *
 * The library also reports that the file system has cut a time. A time outside of its range becomes the first or last one in it,
 * and the call succeeds (timestamp_truncate() in Linux, fs/inode.c), so rsync does not notice. Here both times are known.
 *
 * It runs inside the receiver's jail, with the receiver's rights. It uses only old functions of libc, so that it loads with an
 * older libc than the one that it was compiled with.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

/* The tree that rsync writes into: absolute, without links. Without it the library changes nothing. */
#define TREE_VARIABLE "DIALBACK_TREE"
/* Its reports on standard error; os/link-library.ts reads these lines. */
#define COPIED "dialback-linkat: new inode\n"
#define TIME_CUT "dialback-linkat: time cut\n"

#define EXPORT __attribute__((visibility("default")))

/* One name: its open folder, and its last part. */
struct place {
	int folder;
	const char *leaf;
};

static char buffer[1 << 17]; /* rsync's generator has one thread */

static bool find_place(int from, const char *path, struct place *place)
{
	char folder[PATH_MAX] = ".";
	const char *slash = strrchr(path, '/');
	size_t size = slash == NULL ? 0 : (size_t)(slash - path) + 1;
	if (size >= sizeof folder)
		return false;
	if (size > 0) {
		memcpy(folder, path, size);
		folder[size] = '\0';
	}
	place->leaf = path + size;
	place->folder = openat(from, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return place->folder >= 0 && place->leaf[0] != '\0';
}

/* Whether a folder is the tree that rsync writes into, or below it. */
static bool is_in_tree(int folder)
{
	const char *tree = getenv(TREE_VARIABLE);
	char link[64], path[PATH_MAX];
	snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
	ssize_t size = readlinkat(AT_FDCWD, link, path, sizeof path - 1);
	if (tree == NULL || tree[0] != '/' || size <= 0)
		return false;
	path[size] = '\0';
	size_t length = strlen(tree);
	return strncmp(path, tree, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

static bool write_whole(int to, const char *bytes, size_t size, off_t at)
{
	for (ssize_t n; size > 0; bytes += n, size -= (size_t)n, at += n)
		if ((n = pwrite(to, bytes, size, at)) <= 0)
			return false;
	return true;
}

/* Copies only the data of a sparse file: its holes stay holes. */
static bool copy_content(int from, int to, off_t size)
{
	if (ftruncate(to, size) != 0)
		return false;
	for (off_t at = 0; at < size;) {
		off_t data = lseek(from, at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			return true; /* a hole, without allocated blocks, up to the end */
		at = data > at ? data : at;
		off_t hole = lseek(from, at, SEEK_HOLE);
		off_t end = hole > at ? hole : size;
		while (at < end) {
			size_t most = end - at < (off_t)sizeof buffer ? (size_t)(end - at) : sizeof buffer;
			ssize_t n = pread(from, buffer, most, at);
			if (n <= 0 || !write_whole(to, buffer, (size_t)n, at))
				return false;
			at += n;
		}
	}
	return true;
}

/* Only user.*, which has owner, mode, ACLs and the rest (--fake-super). */
static bool copy_xattrs(int from, int to)
{
	static char names[1 << 16]; /* XATTR_LIST_MAX; XATTR_SIZE_MAX is as much */
	ssize_t size = flistxattr(from, names, sizeof names);
	if (size < 0)
		return errno == EOPNOTSUPP;
	for (const char *name = names; name < names + size; name += strlen(name) + 1) {
		if (strncmp(name, "user.", 5) != 0)
			continue;
		ssize_t n = fgetxattr(from, name, buffer, sizeof buffer);
		if (n < 0 || fsetxattr(to, name, buffer, (size_t)n, 0) != 0)
			return false;
	}
	return true;
}

static void copy_times(int to, const struct statx *found)
{
	const struct timespec times[2] = {{found->stx_atime.tv_sec, found->stx_atime.tv_nsec},
					  {found->stx_mtime.tv_sec, found->stx_mtime.tv_nsec}};
	futimens(to, times);
}

/* Makes `new` a copy of the inode of `old`, by way of a temporary name in the same folder. */
static bool copy_to(const struct place *old, const struct place *new, char *temporary, size_t size)
{
	static unsigned long count;
	struct statx found;
	int to = -1;
	int from = openat(old->folder, old->leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool is_made = from >= 0 && statx(from, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &found) == 0 && S_ISREG(found.stx_mode);
	if (is_made)
		do { /* the client may have a file of that name: take the next number */
			snprintf(temporary, size, ".dialback-linkat-%d-%lu", getpid(), ++count);
			to = openat(new->folder, temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		} while (to < 0 && errno == EEXIST);
	is_made = is_made && to >= 0 && copy_content(from, to, (off_t)found.stx_size) && copy_xattrs(from, to) &&
		  fchmod(to, found.stx_mode & 07777) == 0;
	if (is_made) {
		copy_times(to, &found);
		is_made = renameat(new->folder, temporary, new->folder, new->leaf) == 0;
	}
	if (!is_made && to >= 0)
		unlinkat(new->folder, temporary, 0);
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	return is_made;
}

/*
 * Makes `old` a link of `new`'s inode. If that fails, the next name costs a copy of its own. rsync may have finished the folder
 * of `old`, and would not set its times again.
 */
static void move_leader(const struct place *old, const struct place *new, const char *temporary)
{
	struct statx folder;
	if (statx(old->folder, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &folder) != 0 ||
	    syscall(SYS_linkat, new->folder, new->leaf, new->folder, temporary, 0) != 0)
		return;
	if (renameat(new->folder, temporary, old->folder, old->leaf) != 0)
		unlinkat(new->folder, temporary, 0);
	copy_times(old->folder, &folder);
}

/* Whether another inode can help. It cannot if the name exists, the folder does not, or the disk is full. */
static bool is_refusal(int error)
{
	return error == EMLINK || error == EPERM || error == EDQUOT || error == EXDEV || error == EACCES ||
	       error == EOPNOTSUPP || error == ENOSYS;
}

EXPORT int linkat(int old_from, const char *old_path, int new_from, const char *new_path, int flags)
{
	struct place old = {.folder = -1}, new = {.folder = -1};
	char temporary[64];
	if (syscall(SYS_linkat, old_from, old_path, new_from, new_path, flags) == 0)
		return 0;
	int error = errno;
	bool is_made = is_refusal(error) && flags == 0 && find_place(old_from, old_path, &old) && is_in_tree(old.folder) &&
		       find_place(new_from, new_path, &new) && copy_to(&old, &new, temporary, sizeof temporary);
	if (is_made) {
		move_leader(&old, &new, temporary);
		/* A report that cannot be written is no reason to fail. */
		if (write(STDERR_FILENO, COPIED, strlen(COPIED)) < 0)
			errno = error;
	}
	if (old.folder >= 0)
		close(old.folder);
	if (new.folder >= 0)
		close(new.folder);
	errno = error;
	return is_made ? 0 : -1;
}

EXPORT int link(const char *old_path, const char *new_path)
{
	return linkat(AT_FDCWD, old_path, AT_FDCWD, new_path, 0);
}

/* Every file system that can hold a store holds times of 31 bits: these cost no further call. */
static bool may_be_cut(const struct timespec *wanted)
{
	return wanted != NULL && wanted[1].tv_nsec != UTIME_NOW && wanted[1].tv_nsec != UTIME_OMIT &&
	       (wanted[1].tv_sec < 0 || wanted[1].tv_sec > INT32_MAX);
}

/* @param path NULL: the descriptor's own file */
static int set_times(int from, const char *path, const struct timespec *wanted, int flags)
{
	static bool is_told; /* once for each process */
	struct statx found;
	if (syscall(SYS_utimensat, from, path, wanted, flags) != 0)
		return -1;
	if (is_told || !may_be_cut(wanted))
		return 0;
	int error = errno;
	int how = path == NULL ? AT_EMPTY_PATH : flags & AT_SYMLINK_NOFOLLOW;
	if (statx(from, path == NULL ? "" : path, how, STATX_MTIME, &found) == 0 &&
	    found.stx_mtime.tv_sec != wanted[1].tv_sec)
		is_told = write(STDERR_FILENO, TIME_CUT, strlen(TIME_CUT)) > 0;
	errno = error;
	return 0;
}

EXPORT int utimensat(int from, const char *path, const struct timespec wanted[2], int flags)
{
	return set_times(from, path, wanted, flags);
}

EXPORT int futimens(int file, const struct timespec wanted[2])
{
	return set_times(file, NULL, wanted, 0);
}
