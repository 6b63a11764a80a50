#include "paths.h"
#include <limits.h>
#include <linux/openat2.h>

bool is_within(const char *folder, const char *path)
{
	size_t length = strlen(folder);
	if (strcmp(folder, "/") == 0)
		return true;
	return strncmp(folder, path, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

bool is_canonical(const char *path)
{
	if (path[0] != '/' || strlen(path) >= PATH_MAX)
		return false;
	for (const char *name = path + 1; path[1] != '\0'; name += strcspn(name, "/") + 1) {
		size_t length = strcspn(name, "/");
		if (length == 0 || strncmp(name, "..", length) == 0) /* empty, "." or ".." */
			return false;
		if (name[length] == '\0')
			return true;
	}
	return true;
}

const char *below(const char *folder, const char *path)
{
	const char *rest = strcmp(folder, "/") == 0 ? path : path + strlen(folder);
	return strcmp(rest, "/") == 0 ? "" : rest;
}

char *join(const char *folder, const char *rest)
{
	char *both = NULL;
	rest += *rest == '/';
	if (*rest == '\0')
		return require_memory(strdup(folder));
	if (asprintf(&both, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, rest) < 0)
		both = NULL;
	return require_memory(both);
}

int open_path(int folder, const char *path)
{
	const struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
	return (int)syscall(__NR_openat2, folder, path, &how, sizeof how);
}
