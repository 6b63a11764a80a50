/*
 * Where the path of a `never` leads. It can lead through a folder of another user, who can put a link or another file there at any
 * time. If such a link were followed, that user could keep back files of a third user, or "/". So a link is followed only if root,
 * or the owner of the list, made it, and no other user can replace it. Otherwise the name itself is kept back.
 * client/never.ts has the same rule.
 */
#pragma once
#include "die.h"
#include <limits.h>

struct place {
	char path[2 * PATH_MAX];    /* "" is "/" */
	char through[2 * PATH_MAX]; /* the first folder on the way in which others can replace the next name */
	char link[2 * PATH_MAX];    /* the link that was not followed */
	int error;		    /* why the way could not be looked at to its end; 0 if only nothing exists there */
	struct stat found;	    /* the attributes of the place; zeros if it does not exist */
};

#define ANYBODY ((uid_t)-2) /* as an owner: every link is followed */

/*
 * @param owner whose links are followed, besides root's
 * @param see gets each folder on the way; NULL for none
 */
void find_place(const char *path, uid_t owner, void (*see)(const struct stat *folder), struct place *place);

/*
 * To be called when looking at `path` failed, with errno: returns if that entry is the reason. A file system can answer with any
 * error, and such an entry is not granted, or kept back by its name. Dies if this process can open nothing at all, which its
 * caller can bring about (RLIMIT_NOFILE): then no `never` would be found.
 */
void skip(const char *path, const char *call);
