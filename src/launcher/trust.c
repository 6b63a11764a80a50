#include "trust.h"

void require_roots_own(const char *path)
{
	struct stat found;
	char *full = realpath(path, NULL);
	if (full == NULL)
		die(errno == ENOENT ? NO_PROGRAM : REFUSED, "trust", path, "realpath: %s", strerror(errno));
	for (char *end = full + strlen(full); end != NULL; end = strrchr(full, '/')) {
		*end = '\0';
		const char *part = *full == '\0' ? "/" : full;
		if (lstat(part, &found) != 0)
			die_errno("trust", part, "lstat");
		if (found.st_uid != 0)
			die(REFUSED, "trust", path, "\"%s\" belongs to uid %u, not to root", part, found.st_uid);
		/* In a sticky folder other users cannot replace an entry of root's. */
		bool is_sticky = S_ISDIR(found.st_mode) && (found.st_mode & S_ISVTX) != 0;
		if ((found.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !is_sticky)
			die(REFUSED, "trust", path, "\"%s\" can be written by others (mode %04o)", part, found.st_mode & 07777U);
	}
	free(full);
}

void require_own_place(void)
{
	struct stat running, installed;
	require_roots_own(SELF_PATH);
	if (stat("/proc/self/exe", &running) != 0 || stat(SELF_PATH, &installed) != 0)
		die_errno("find", SELF_PATH, "stat");
	if (running.st_dev != installed.st_dev || running.st_ino != installed.st_ino)
		die(REFUSED, "run", SELF_NAME, "it is another file than \"" SELF_PATH "\"");
}
