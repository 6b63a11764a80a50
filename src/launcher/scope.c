#include "scope.h"
#include "landlock.h"
#include "mounts.h"
#include "never.h"
#include "paths.h"
#include "place.h"
#include <dirent.h>

static struct paths roots, libraries;
static bool may_list_all; /* some rsyncs open the folders above the roots for reading (client/trial.ts) */

/* Adds a path with all links followed: the account named it, and it could have named what they lead to. */
static void add_path(struct paths *list, const char *path)
{
	static struct place place;
	require_path(list, path, "RUN/scope");
	if (is_left_out(path)) { /* it is not granted: do not look at it */
		list->at[list->count++] = require_memory(strdup(path));
		return;
	}
	/* A root that is a link itself is backed up as a link. */
	size_t folder = list == &roots ? (size_t)(strrchr(path, '/') - path) : strlen(path);
	char *followed = require_memory(strndup(path, folder));
	find_place(followed, ANYBODY, NULL, &place);
	list->at[list->count++] = join(*place.path == '\0' ? "/" : place.path, path + folder);
	free(followed);
}

void take_scope(const char *text, size_t size)
{
	if (size == 0 || text[size - 1] != '\0')
		die(REFUSED, "use", "RUN/scope", "it does not end with a whole record");
	for (const char *record = text; record < text + size; record += strlen(record) + 1) {
		if (strncmp(record, "root ", 5) == 0)
			add_path(&roots, record + 5);
		else if (strncmp(record, "never ", 6) == 0)
			add_never(record + 6, "RUN/scope", SERVICE_UID);
		else if (strncmp(record, "mount ", 6) == 0)
			add_left_out(record + 6, "RUN/scope");
		else if (strncmp(record, "library ", 8) == 0)
			add_path(&libraries, record + 8);
		else if (strcmp(record, "list /") == 0)
			may_list_all = true; /* gives the account no more than `root /` with a `never` below it does */
		else
			die(REFUSED, "use", "RUN/scope", "it has a record of another kind");
	}
	if (roots.count == 0)
		die(REFUSED, "use", "RUN/scope", "it names no root");
}

/*
 * Reports a file that its file system lets no process read (a server that refuses root, SELinux). No run can read it, so it was not
 * created during a run. Asks the kernel instead of opening the file, which can have effects.
 */
static void tell_refusal(int fd, const char *path)
{
	if (syscall(__NR_faccessat2, fd, "", R_OK, AT_EMPTY_PATH | AT_EACCESS) == 0 || errno == ENOSYS)
		return;
	char *folder = require_memory(strndup(path, (size_t)(strrchr(path, '/') - path)));
	tell("refuses", *folder == '\0' ? "/" : folder, path);
	free(folder);
}

static void grant_reading(int ruleset, int parent, const char *name, const char *path);

/* Grants reading of each entry of an open folder by itself. */
static void grant_entries(int ruleset, int fd, const char *path)
{
	int readable = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = readable < 0 ? NULL : fdopendir(readable);
	if (folder == NULL)
		return skip(path, "opendir");
	for (struct dirent *entry; (errno = 0, entry = readdir(folder)) != NULL;) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		char *child = join(path, entry->d_name);
		grant_reading(ruleset, readable, entry->d_name, child);
		free(child);
	}
	if (errno != 0)
		skip(path, "readdir");
	closedir(folder);
}

/*
 * Grants reading of `name` in the open folder `parent` and of all below it, less every `never`. Landlock only grants: along the way
 * to a `never`, each entry of a folder is granted by itself. A file that comes into such a folder later is not granted. READ_DIR
 * reaches all below, so the names in a `never` can be listed; their contents cannot be read.
 * @param ruleset NO_RULESET: only tells what of it cannot be read
 */
static void grant_reading(int ruleset, int parent, const char *name, const char *path)
{
	struct stat found;
	if (is_never(path) || !is_answering(path))
		return;
	int fd = open_path(parent, name);
	if (fd < 0)
		return skip(path, "openat2");
	bool is_there = fstat(fd, &found) == 0;
	if (!is_there)
		skip(path, "fstat");
	/* Devices, FIFOs and sockets are never opened, and links need no right. */
	if (is_there && !is_never_inode(&found) && (S_ISREG(found.st_mode) || S_ISDIR(found.st_mode))) {
		bool is_split = S_ISDIR(found.st_mode) && leads_to_never(path, &found);
		if (ruleset != NO_RULESET)
			grant(ruleset, fd, &found, is_split ? LL_READ_DIR : LL_READ, path);
		else if (S_ISREG(found.st_mode))
			tell_refusal(fd, path);
		if (is_split)
			grant_entries(ruleset, fd, path);
	}
	close(fd);
}

void grant_scope(int ruleset)
{
	for (size_t i = 0; i < roots.count; i++)
		grant_reading(ruleset, AT_FDCWD, roots.at[i], roots.at[i]);
	for (size_t i = 0; i < libraries.count; i++)
		grant_reading(ruleset, AT_FDCWD, libraries.at[i], libraries.at[i]);
	if (may_list_all)
		grant_path(ruleset, "/", LL_READ_DIR, true);
}

void tell_refusals(void)
{
	for (size_t i = 0; i < roots.count; i++)
		grant_reading(NO_RULESET, AT_FDCWD, roots.at[i], roots.at[i]);
}
