#include "never.h"
#include "mounts.h"
#include "paths.h"
#include "place.h"
#include "trust.h"

struct paths nevers;
bool tells;
static struct paths above;    /* the folders on the way to each `never`; at[] is not used */
static struct paths left_out; /* the mount points among `nevers` that the account leaves out */
static size_t machines;	      /* how many of `nevers` are the machine's own */

static bool is_one_of(const struct paths *list, const struct stat *found)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->inode[i] == found->st_ino && list->device[i] == found->st_dev && list->inode[i] != 0)
			return true;
	return false;
}

static bool is_below_one_of(const struct paths *list, const char *path)
{
	for (size_t i = 0; i < list->count; i++)
		if (is_within(list->at[i], path))
			return true;
	return false;
}

bool is_never(const char *path)
{
	return is_below_one_of(&nevers, path);
}

bool is_never_inode(const struct stat *found)
{
	return is_one_of(&nevers, found);
}

bool is_left_out(const char *path)
{
	return is_below_one_of(&left_out, path);
}

bool leads_to_never(const char *path, const struct stat *folder)
{
	for (size_t i = 0; i < nevers.count; i++)
		if (is_within(path, nevers.at[i]))
			return true;
	return is_one_of(&above, folder);
}

void require_path(const struct paths *list, const char *path, const char *source)
{
	if (!is_canonical(path))
		die(REFUSED, "use", source,
		    "a path in it is not from \"/\" on, or too long, or has \".\", \"..\" or a slash too many: %.200s", path);
	if (list->count == PATHS_MAX)
		die(REFUSED, "use", source, "it names more than %d paths", PATHS_MAX);
}

void tell(const char *kind, const char *name, const char *path)
{
	if (tells)
		printf("%s%c%s%c%s%c", kind, '\0', name, '\0', path, '\0');
}

static void add_above(const struct stat *folder)
{
	if (is_one_of(&above, folder))
		return;
	if (above.count == PATHS_MAX)
		die(REFUSED, "keep back", "never", "its paths lead through more than %d folders", PATHS_MAX);
	above.device[above.count] = folder->st_dev;
	above.inode[above.count++] = folder->st_ino;
}

void add_never(const char *path, const char *source, uid_t owner)
{
	static struct place place;
	require_path(&nevers, path, source);
	memset(&place, 0, sizeof place);
	if (owner != 0 && is_left_out(path)) /* kept back with all of that file system, and not looked at */
		snprintf(place.path, sizeof place.path, "%s", path);
	else
		find_place(path, owner, owner == ANYBODY ? NULL : add_above, &place);
	const char *at = *place.path == '\0' ? "/" : place.path;
	tell("place", path, at);
	if (*place.through != '\0')
		tell("through", path, place.through);
	if (*place.link != '\0')
		tell("link", path, place.link);
	if (place.error != 0)
		tell("error", path, strerror(place.error));
	if (*place.through == '\0' || S_ISDIR(place.found.st_mode) || place.found.st_nlink <= 1) {
		nevers.device[nevers.count] = place.found.st_dev;
		nevers.inode[nevers.count] = place.found.st_ino;
	} else {
		tell("shared", path, at);
	}
	nevers.at[nevers.count++] = require_memory(strdup(at));
}

void add_left_out(const char *path, const char *source)
{
	require_path(&nevers, path, source);
	left_out.at[left_out.count++] = nevers.at[nevers.count++] = require_memory(strdup(path));
}

static void add_kernels_mount(const char *path)
{
	add_never(path, "/proc/self/mountinfo", 0);
}

void add_machine(void)
{
	add_never("/dev", "launch", 0); /* in a container it can be a tmpfs */
	add_never("/proc", "launch", 0);
	add_never("/sys", "launch", 0);
	read_mounts(add_kernels_mount);
	machines = nevers.count;
}

void add_line(char *line, size_t length)
{
	if (length > 0 && line[length - 1] == '\n')
		line[--length] = '\0';
	while (length > 1 && line[length - 1] == '/')
		line[--length] = '\0';
	if (length == 0 || line[0] == '#')
		return;
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			die(REFUSED, "use", NEVER_PATH, "a line of it has a control character: %.200s", line);
	if (line[length - 1] == ' ') /* to keep such a name back, name its folder */
		die(REFUSED, "use", NEVER_PATH, "a line of it ends with a blank: %.200s", line);
	add_never(line, NEVER_PATH, 0);
}

void add_roots_list(void)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t length;
	require_roots_own(NEVER_PATH);
	FILE *list = fopen(NEVER_PATH, "re");
	if (list == NULL)
		die_errno("read", NEVER_PATH, "open");
	while ((errno = 0, length = getline(&line, &room, list)) >= 0)
		add_line(line, (size_t)length);
	if (errno != 0 || ferror(list))
		die_errno("read", NEVER_PATH, "read");
	free(line);
	fclose(list);
}

static void add_under_other_mounts(const char *path)
{
	const struct mount *own = mount_of(path);
	char *inner = own == NULL ? NULL : join(own->inner, below(own->path, path)); /* its place in the file system */
	for (const struct mount *other = mounts; own != NULL && other < mounts + mount_count; other++) {
		if (other == own || strcmp(other->device, own->device) != 0 || !is_within(other->inner, inner))
			continue;
		char *name = join(other->path, below(other->inner, inner));
		if (mount_of(name) != other || !is_canonical(name) || is_never(name)) {
			free(name);
			continue;
		}
		if (nevers.count == PATHS_MAX)
			die(REFUSED, "keep back", path, "it is mounted at too many places");
		nevers.at[nevers.count++] = name;
	}
	free(inner);
}

void add_other_mounts(void)
{
	/* The machine's own need no search: the mount table names each of their mounts. */
	for (size_t i = machines, end = nevers.count; i < end; i++) {
		bool is_left = false; /* itself, not something below it */
		for (size_t each = 0; each < left_out.count; each++)
			is_left = is_left || left_out.at[each] == nevers.at[i];
		if (!is_left)
			add_under_other_mounts(nevers.at[i]);
	}
}
