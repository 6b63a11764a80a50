/* Paths that no backup reads: the machine's own, root's list (NEVER_PATH), and those that the account leaves out of its scope. */
#pragma once
#include "die.h"

enum { PATHS_MAX = 10000 };

/* Paths, and the device and inode of each; an inode of 0 does not count. */
struct paths {
	char *at[PATHS_MAX];
	dev_t device[PATHS_MAX];
	ino_t inode[PATHS_MAX];
	size_t count;
};
extern struct paths nevers;

/* Adds /dev, /proc, /sys and all that is mounted of their kind; reads the mount table. The first to be called. */
void add_machine(void);

/* Adds the paths of root's list. Dies if others can change the list, or if a line of it is not understood. */
void add_roots_list(void);

/* One line of that list: an absolute path, or '#' and a comment. Changes the line. */
void add_line(char *line, size_t length);

/*
 * Adds a path. Its name is kept back, and so is its inode, except the inode of a file with another name in a folder that others
 * control. They could have put a hard link to a third user's file there.
 * @param source what names it, for messages
 * @param owner who may decide, besides root, where a link leads (place.h)
 */
void add_never(const char *path, const char *source, uid_t owner);

/* Adds a mount point that the account leaves out, only by its name: another mount of the same can be in the scope. */
void add_left_out(const char *path, const char *source);

/* Keeps back the same places under other mounts of their file systems. The last to be called. */
void add_other_mounts(void);

/* Dies if the path is not canonical, or if the list is full. */
void require_path(const struct paths *list, const char *path, const char *source);

/* Whether a path is kept back by its name, or by the name of a folder above it. */
bool is_never(const char *path);

/*
 * Whether it is kept back by its inode: another mount of it, a hard link to it, or its other name where a file system takes "A" for
 * "a".
 */
bool is_never_inode(const struct stat *found);

/* Whether a `never` is somewhere below this folder, by names or by the folder's inode. */
bool leads_to_never(const char *path, const struct stat *folder);

/* Whether the account leaves out the file system that the path is on. */
bool is_left_out(const char *path);

/* Whether tell() prints, for `launch never`: three texts, a NUL behind each (client/never.ts). */
extern bool tells;
void tell(const char *kind, const char *name, const char *path);
