/* The mount table, and file systems that do not answer. */
#pragma once
#include "die.h"
#include <sys/types.h>

/* A mount at `path` of the part `inner` of the file system on `device` ("8:1"). */
struct mount {
	char *device, *inner, *path;
	uid_t user; /* FUSE: the user that mounted it, who can show any owner; else 0 */
	enum { UNKNOWN, ANSWERS, HANGS } state;
};
enum { MOUNTS_MAX = 100000 /* fs.mount-max */ };
extern struct mount mounts[MOUNTS_MAX]; /* in the kernel's order; without those of the kernel's own */
extern size_t mount_count;

/* Reads /proc/self/mountinfo. @param keep_back gets each place where devices, processes or the kernel's own are mounted */
void read_mounts(void (*keep_back)(const char *path));

/* One line of it (proc_pid_mountinfo(5)). Dies if it is malformed. */
void add_mount(const char *line, void (*keep_back)(const char *path));

/* The mount that a path is on: the innermost, and of two at one place the later one. NULL if there is none */
const struct mount *mount_of(const char *path);

/*
 * Whether all file systems on the way to a path answer. A call that looks at a dead server or a hanging program (FUSE) may never
 * return, so a child looks at each first. All together get 10 s, and each gets a second at least.
 */
bool is_answering(const char *path);
