#include "place.h"
#include "mounts.h"
#include "paths.h"
#include <sys/vfs.h>

enum { LINKS_MAX = 40 }; /* path_resolution(7) */

/* Whether an inode keeps its number while no process has it open. On FAT, FUSE and network file systems it may not. */
static bool has_steady_numbers(int fd)
{
	static const long STEADY[] = {0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0xF2F52010,
				      0x794c7630, 0x2fc12fc1}; /* ext4, XFS, Btrfs, tmpfs, F2FS, overlay, ZFS */
	struct statfs found;
	if (fstatfs(fd, &found) != 0)
		return false;
	for (size_t i = 0; i < COUNT(STEADY); i++)
		if ((found.f_type & 0xffffffff) == STEADY[i])
			return true;
	return false;
}

static bool keeps_open; /* whether look() leaves open what has no steady number, so that it keeps the number */

/* lstat() that refuses links on the way, and readlink(). @param target NULL if it is not asked for */
static bool look(const char *path, struct stat *found, char target[PATH_MAX])
{
	const char *name = *path == '\0' ? "/" : path;
	const struct mount *on = mount_of(name);
	if (!is_answering(name)) {
		errno = EHOSTDOWN;
		return false;
	}
	int fd = open_path(AT_FDCWD, name);
	if (fd < 0)
		return false;
	bool is_well = fstat(fd, found) == 0;
	if (is_well && target != NULL && S_ISLNK(found->st_mode)) {
		ssize_t length = readlinkat(fd, "", target, PATH_MAX - 1);
		is_well = length >= 0;
		target[is_well ? length : 0] = '\0';
	}
	int error = errno;
	if (!keeps_open || has_steady_numbers(fd))
		close(fd);
	errno = error;
	if (is_well && on != NULL && on->user != 0)
		found->st_uid = on->user;
	return is_well;
}

void skip(const char *path, const char *call)
{
	struct stat found;
	int error = errno;
	if (look("/", &found, NULL))
		return;
	errno = error;
	die_errno("look at", path, call);
}

/*
 * Whether only root and `owner` can put something else in the place of `entry` in `folder`. In a sticky folder others cannot
 * replace root's entries; but a hard link to a file of root's can be their own.
 */
static bool is_firm(const struct stat *folder, const struct stat *entry, uid_t owner)
{
	bool has_one_name = S_ISDIR(entry->st_mode) || entry->st_nlink == 1;
	if (owner == ANYBODY)
		return true;
	if (folder->st_uid != 0 && folder->st_uid != owner)
		return false;
	if ((folder->st_mode & (S_IWGRP | S_IWOTH)) == 0)
		return true;
	return (folder->st_mode & S_ISVTX) != 0 && (entry->st_uid == 0 || entry->st_uid == owner) && has_one_name;
}

/* Puts the target of a link before the names still to come. @return false if the path would become too long */
static bool put_before(const char *target, char rest[2 * PATH_MAX], const char *folder)
{
	char both[2 * PATH_MAX];
	if (snprintf(both, sizeof both, "%s/%s", target, rest) >= (int)(sizeof both - strlen(folder) - 1))
		return false;
	strcpy(rest, both);
	return true;
}

/* Moves the next name from `rest` to `path`. @return false for "." and "..", which need no look */
static bool take_name(char rest[2 * PATH_MAX], char path[2 * PATH_MAX])
{
	char *name = rest + strspn(rest, "/");
	size_t length = strcspn(name, "/"), end = strlen(path);
	bool is_up = length == 2 && strncmp(name, "..", 2) == 0;
	bool is_name = !is_up && length > 0 && !(length == 1 && *name == '.');
	if (is_up && end > 0)
		*strrchr(path, '/') = '\0';
	if (is_name)
		snprintf(path + end, 2 * PATH_MAX - end, "/%.*s", (int)length, name);
	memmove(rest, name + length, strlen(name + length) + 1);
	return is_name;
}

void find_place(const char *path, uid_t owner, void (*see)(const struct stat *folder), struct place *place)
{
	char rest[2 * PATH_MAX], folder_path[2 * PATH_MAX], target[PATH_MAX];
	struct stat folder, entry;
	bool is_seen = true;
	int links = 0;
	memset(place, 0, sizeof *place);
	keeps_open = owner != ANYBODY;
	snprintf(rest, sizeof rest, "%s", path);
	while (*rest != '\0') {
		strcpy(folder_path, place->path);
		if (!take_name(rest, place->path) || !is_seen)
			continue;
		bool is_there = false;
		memset(&entry, 0, sizeof entry);
		entry.st_uid = (uid_t)-1; /* no owner until it is found */
		if (look(folder_path, &folder, NULL)) {
			if (see != NULL)
				see(&folder);
			is_there = look(place->path, &entry, target);
			if (*place->through == '\0' && !is_firm(&folder, &entry, owner))
				strcpy(place->through, *folder_path == '\0' ? "/" : folder_path);
		}
		if (!is_there) {
			place->error = errno == ENOENT || errno == ENOTDIR ? 0 : errno;
			skip(path, "openat2");
			is_seen = false;
			continue;
		}
		if (!S_ISLNK(entry.st_mode))
			continue;
		bool is_trusted =
			*place->through == '\0' && (owner == ANYBODY || entry.st_uid == 0 || entry.st_uid == owner);
		if (is_trusted && ++links <= LINKS_MAX && put_before(target, rest, folder_path)) {
			strcpy(place->path, *target == '/' ? "" : folder_path);
		} else {
			strcpy(place->link, place->path);
			is_seen = false;
		}
	}
	if (is_seen && !look(place->path, &place->found, NULL)) {
		skip(path, "openat2");
		memset(&place->found, 0, sizeof place->found);
	}
	keeps_open = false;
}
