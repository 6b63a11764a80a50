/*
 * Fuzzes what both programs of the launcher parse, with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer. Their sources are
 * included unchanged. What they would do to the machine is replaced: they see a file system that is made up, and where they
 * exit with a line, control comes back here, after a check of the line.
 *
 * The first byte of an input says what the rest is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

static jmp_buf end_of_run;

/* ---- What it allocates, to be freed where it does not come so far ------------------------------------------------- */

static void *blocks[1 << 16];
static size_t block_count;

static void *keep(void *block)
{
	if (block == NULL || block_count == sizeof blocks / sizeof *blocks)
		abort();
	return blocks[block_count++] = block;
}

static void let_go(void *block)
{
	for (size_t i = block_count; block != NULL && i-- > 0;)
		if (blocks[i] == block) {
			blocks[i] = blocks[--block_count];
			free(block);
			return;
		}
	if (block != NULL)
		abort(); /* freed twice, or never allocated */
}

static int keep_text(char **made, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = vasprintf(made, format, args);
	va_end(args);
	keep(*made);
	return n;
}

/* ---- A file system that is made up: a name says what it is --------------------------------------------------------- */

/*
 * "link" is root's link to /else/where, "loop" one to itself, "rise" one to "../u"; "mine" is a link of the account's, and
 * "theirs" one of another user's. What begins with 'x' is not there, with 'p' it may not be looked at, with 'd' it is
 * damaged. A folder that begins with 'u' is another user's, with 'a' the account's, with 'w' all can write to it.
 */
enum { SOMEBODY = 4711 };

static bool is_called(const char *name, const char *what)
{
	return strncmp(name, what, strlen(what)) == 0 && (name[strlen(what)] == '\0' || name[strlen(what)] == '/');
}

static const char *leads_to(const char *name)
{
	return is_called(name, "link") || is_called(name, "mine") || is_called(name, "theirs") ? "/else/where"
	       : is_called(name, "loop")						    ? "loop"
	       : is_called(name, "rise")							    ? "../u"
													    : NULL;
}

/* All links followed, as realpath(3) does it; without the loops and what leads up. */
static char *resolve(const char *path, char *unused)
{
	const char *name = path;
	(void)unused;
	while ((name = strchr(name, '/')) != NULL) {
		name++;
		if (*name == 'x' || *name == 'p' || *name == 'd') {
			errno = *name == 'x' ? ENOENT : *name == 'p' ? EACCES : EUCLEAN;
			return NULL;
		}
		if (is_called(name, "link")) {
			char *full = NULL;
			keep_text(&full, "/else/where%s", name + 4);
			return full;
		}
	}
	return keep(strdup(path));
}

/* What has this name; the kernel's answer where a link is on the way. */
static int look_at(const char *path, struct stat *found)
{
	const char *last = strrchr(path, '/') + 1;
	memset(found, 0, sizeof *found);
	for (const char *name = strchr(path, '/'); name != NULL; name = strchr(name, '/')) {
		name++;
		errno = *name == 'x' ? ENOENT : *name == 'p' ? EACCES : *name == 'd' ? EUCLEAN : 0;
		if (errno == 0 && name != last && leads_to(name) != NULL)
			errno = ELOOP;
		if (errno != 0)
			return -1;
	}
	found->st_ino = strlen(path) + 1; /* the same for many: hard links */
	found->st_dev = 1;
	found->st_nlink = 1 + (last[0] == 'h');
	found->st_mode = leads_to(last) != NULL ? S_IFLNK | 0777 : last[0] == 'h' ? S_IFREG | 0644 : S_IFDIR | 0755;
	if (S_ISDIR(found->st_mode) && last[0] == 'w')
		found->st_mode |= S_IWOTH;
	found->st_uid = is_called(last, "theirs") || (last[0] == 'u' && !S_ISLNK(found->st_mode)) ? SOMEBODY
			: is_called(last, "mine") || (last[0] == 'a' && !S_ISLNK(found->st_mode)) ? 1000
											       : 0;
	return 0;
}

/* An open descriptor is a path that is remembered: look() has one at a time. */
enum { THE_FD = 99 };
static char opened[1 << 14];

static long call(long number, ...)
{
	struct stat found;
	va_list args;
	va_start(args, number);
	int folder = va_arg(args, int);
	const char *path = va_arg(args, const char *);
	const struct open_how *how = va_arg(args, const struct open_how *);
	va_end(args);
	if (number != __NR_openat2 || folder != AT_FDCWD || how->resolve != RESOLVE_NO_SYMLINKS ||
	    strlen(path) >= sizeof opened)
		abort();
	if (strlen(path) >= 4096)
		errno = ENAMETOOLONG;
	if (strlen(path) >= 4096 || look_at(path, &found) != 0)
		return -1;
	strcpy(opened, path);
	return THE_FD;
}

static int close_fd(int fd)
{
	return fd == THE_FD ? 0 : close(fd);
}

static int look_at_open(int fd, struct stat *found)
{
	if (fd != THE_FD)
		abort();
	return look_at(opened, found);
}

static ssize_t read_link(int fd, const char *name, char *target, size_t size)
{
	const char *text = leads_to(strrchr(opened, '/') + 1);
	if (fd != THE_FD || *name != '\0' || text == NULL || strlen(text) > size)
		abort();
	memcpy(target, text, strlen(text));
	return (ssize_t)strlen(text);
}

/* ---- Its end --------------------------------------------------------------------------------------------------- */

/* What it says is one line of printable characters, whatever is in it. */
static int look_at_line(int fd, const char *format, ...)
{
	static char line[1 << 16];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	if (fd != STDERR_FILENO || n <= 0 || (size_t)n >= sizeof line || line[n - 1] != '\n')
		abort();
	for (int i = 0; i < n - 1; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			abort();
	return n;
}

static _Noreturn void come_back(int status)
{
	if (status != 126 && status != 127)
		abort();
	longjmp(end_of_run, 1);
}

#define SERVICE_UID 1000
#define INHERITED 1
#define SELF_NAME "launch"
#define SELF_PATH "/usr/local/libexec/dialback/launch"
#define RSYNC_PATH "/usr/bin/rsync"
#define DIALBACK_PATH "/usr/local/bin/dialback"
#define NEVER_PATH "/etc/dialback/never"
#define LINKAT_LIBRARY "/dev/null"
#define MOUNTPOINTS_LIBRARY "/dev/null"

#define main launcher_main
#define exit come_back
#define dprintf look_at_line
#define strdup(text) keep(strdup(text))
#define strndup(text, n) keep(strndup(text, n))
#define asprintf keep_text
#define free let_go
#define realpath resolve
#define lstat(path, found) look_at(path, found)
#define syscall call
#define fstat(fd, found) look_at_open(fd, found)
#define readlinkat read_link
#define fstatfs(fd, found) ((void)(fd), (found)->f_type = 0xEF53, 0)
#define fork() (errno = EAGAIN, -1) /* what is on another file system is not looked at */
#define close close_fd
#include "../../src/launcher/die.c"
#include "../../src/launcher/caps.c"
#include "../../src/launcher/trust.c"
#include "../../src/launcher/caller.c"
#include "../../src/launcher/landlock.c"
#include "../../src/launcher/seccomp.c"
#include "../../src/launcher/rsync.c"
#include "../../src/launcher/paths.c"
#include "../../src/launcher/mounts.c"
#include "../../src/launcher/place.c"
#include "../../src/launcher/never.c"
#include "../../src/launcher/scope.c"
#include "../../src/launcher/run.c"
#include "../../src/launcher/lend.c"
#include "../../src/launcher/launch.c"
#undef main
#define main jail_main
#define CALLS JAIL_CALLS
#define BUILT_FOR JAIL_BUILT_FOR
#include "../../src/launcher/relay.c"
#include "../../src/launcher/root.c"
#include "../../src/launcher/serve.c"
#include "../../src/launcher/adopt.c"
#include "../../src/launcher/attributes.c"
#include "../../src/launcher/web.c"
#include "../../src/launcher/fetch.c"
#include "../../src/launcher/jail.c"
#undef free
#undef strdup
#undef lstat
#undef fstat
#undef fork
#undef close

/* ---- What must hold ---------------------------------------------------------------------------------------------- */

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* The same as is_canonical() says, thought once more: from "/" on, and no name that is empty, "." or "..". */
static bool is_plain(const char *path)
{
	size_t length = strlen(path);
	if (path[0] != '/' || length >= PATH_MAX || strstr(path, "//") != NULL || strstr(path, "/./") != NULL ||
	    strstr(path, "/../") != NULL)
		return false;
	return length == 1 || (path[length - 1] != '/' && (length < 2 || strcmp(path + length - 2, "/.") != 0) &&
			       (length < 3 || strcmp(path + length - 3, "/..") != 0));
}

static void look_at_list(const struct paths *list)
{
	for (size_t i = 0; i < list->count; i++) {
		require(list->at[i] != NULL && list->at[i][0] == '/');
		require(is_within("/", list->at[i]) && is_within(list->at[i], list->at[i]));
	}
}

/* What is kept back is kept back with all below it, and is found from above. */
static void look_at_nevers(void)
{
	char under[2 * PATH_MAX];
	const struct stat nothing = {0};
	look_at_list(&nevers);
	for (size_t i = 0; i < nevers.count; i++) {
		snprintf(under, sizeof under, "%s/below", nevers.at[i]);
		require(is_never(nevers.at[i]) && is_never(under) && leads_to_never("/", &nothing) && leads_to_never(nevers.at[i], &nothing));
	}
}

static size_t count_records(const char *text, size_t size, const char *kind)
{
	size_t n = 0;
	for (const char *at = text; at < text + size; at += strlen(at) + 1)
		n += strncmp(at, kind, strlen(kind)) == 0;
	return n;
}

static void fuzz_scope(char *text, size_t size)
{
	size_t expected = size == 0 ? 0 : count_records(text, size, "root ");
	take_scope(text, size);
	require(roots.count == expected && roots.count > 0);
	require(nevers.count == count_records(text, size, "never ") + count_records(text, size, "mount "));
	require(libraries.count == count_records(text, size, "library "));
	look_at_list(&roots);
	look_at_list(&libraries);
	look_at_nevers();
}

/* Line by line, as getline() has them: the newline is in it. */
static void each_line(char *text, size_t size, void (*take)(char *line, size_t length))
{
	for (char *at = text; at < text + size;) {
		char *newline = memchr(at, '\n', (size_t)(text + size - at));
		size_t length = newline == NULL ? (size_t)(text + size - at) : (size_t)(newline - at) + 1;
		/* A copy of its own size, so that one byte too far is found out. */
		char *line = keep(malloc(length + 1));
		memcpy(line, at, length);
		line[length] = '\0';
		take(line, length);
		let_go(line);
		at += length;
	}
}

/* A link at or below a folder that others control leads nowhere, and what they can put there does not count. */
static void look_at_followed(const char *line, size_t which)
{
	bool is_theirs = false, has_link = false;
	for (const char *name = strchr(line, '/'); name != NULL && !has_link; name = strchr(name, '/')) {
		name++;
		has_link = leads_to(name) != NULL;
		if (!has_link)
			is_theirs = is_theirs || (strchr(name, '/') != NULL && (*name == 'u' || *name == 'w' || *name == 'a'));
		if (is_called(name, "mine") || is_called(name, "theirs"))
			is_theirs = true;
	}
	if (is_theirs)
		require(strcmp(nevers.at[which], line) == 0);
	if (is_theirs && strrchr(line, '/')[1] == 'h')
		require(nevers.inode[which] == 0);
}

static void never_line(char *line, size_t length)
{
	size_t before = nevers.count;
	/* A line that says nothing is an empty one or a comment, and no other. */
	bool says_nothing = length == 0 || line[0] == '#' || line[0] == '\n';
	add_line(line, length);
	require(nevers.count == before + (says_nothing ? 0 : 1));
	if (!says_nothing)
		look_at_followed(line, before);
	for (const char *at = says_nothing ? "" : nevers.at[before]; *at != '\0'; at++)
		require((unsigned char)*at >= ' ' && *at != 0x7f);
}

/* Its fifth word, and in it bytes in octal: as add_mount() reads it, thought once more. */
static void mount_line(char *line, size_t length)
{
	size_t before = nevers.count, known = mount_count, start = 0, n = 0;
	char *expected = keep(calloc(length + 1, 1));
	for (int word = 1; word < 5 && start < length; start++)
		word += line[start] == ' ';
	for (size_t at = start; at < length && line[at] != ' '; n++) {
		char digits[4] = {0}, *rest = digits;
		if (line[at] == '\\' && at + 3 < length && strspn(memcpy(digits, line + at + 1, 3), "01234567") == 3) {
			expected[n] = (char)strtoul(digits, &rest, 8);
			at += 4;
		} else {
			expected[n] = line[at++];
		}
	}
	add_mount(line, add_kernels_mount);
	if (mount_count > known)
		require(memcmp(mounts[known].path, expected, n + 1) == 0);
	require(nevers.count == before || nevers.count == before + 1);
}

/* Two paths: how they lie to each other, by two ways of asking. */
static void fuzz_paths(char *text, size_t size)
{
	char *second = memchr(text, '\0', size) == NULL ? NULL : text + strlen(text) + 1;
	require(is_canonical(text) == is_plain(text));
	if (second == NULL || second >= text + size || !is_canonical(text) || !is_canonical(second))
		return;
	char *with_slash = NULL, *other = NULL;
	keep_text(&with_slash, "%s/", strcmp(text, "/") == 0 ? "" : text);
	keep_text(&other, "%s/", strcmp(second, "/") == 0 ? "" : second);
	require(is_within(text, second) == (strncmp(with_slash, other, strlen(with_slash)) == 0));
	char *list[] = {text, second};
	char *common = common_folder(list, 2); /* it comes back only where there is one */
	require(is_plain(common) && is_within(common, text) && is_within(common, second));
}

/* The words behind `send` or `receive`, apart from what they would do. */
static void fuzz_arguments(char *text, size_t size)
{
	char *words[64];
	int count = 0;
	for (char *at = text; at < text + size && count < 63; at += strlen(at) + 1)
		words[count++] = at;
	words[count] = NULL;
	if (count == 0)
		return;
	if (is_rate(words[0]))
		require(atol(words[0]) >= 0 && atol(words[0]) <= 999999999);
	if (is_run_name(words[0])) {
		char *state = keep(strdup(words[0]));
		*strrchr(state, '/') = '\0';
		add_never(state, "launch", ANYBODY);
		require(is_plain(state) && nevers.count == 1);
	}
	int end = count_folders("receive", count, words);
	require(end > 0 && end < count && strcmp(words[end], "--") == 0);
	for (int i = 0; i < end; i++)
		require(is_plain(words[i]));
	require(strcmp(common_folder(words, end), "/") != 0);
}

static void forget(struct paths *list)
{
	memset(list->inode, 0, list->count * sizeof *list->inode);
	memset(list->device, 0, list->count * sizeof *list->device);
	list->count = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	/* As read_scope() has it: a NUL behind the last byte. */
	char *text = keep(malloc(size));
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	if (setjmp(end_of_run) == 0) {
		switch (data[0]) {
		case 's': fuzz_scope(text, size - 1); break;
		case 'n': each_line(text, size - 1, never_line); break;
		case 'm': each_line(text, size - 1, mount_line); break;
		case 'p': fuzz_paths(text, size - 1); break;
		case 'a': fuzz_arguments(text, size - 1); break;
		default: break;
		}
	}
	look_at_nevers();
	forget(&roots);
	forget(&nevers);
	forget(&libraries);
	forget(&above);
	left_out.count = 0; /* they are among `nevers` */
	mount_count = 0;
	while (block_count > 0)
		free(blocks[--block_count]);
	return 0;
}
