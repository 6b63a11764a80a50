#include "mounts.h"
#include "paths.h"
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define TABLE "/proc/self/mountinfo"

struct mount mounts[MOUNTS_MAX];
size_t mount_count;

/* Ends a field at its blank, and decodes the blanks in it, which stand there as \040. */
static void decode(char *field)
{
	char *to = field;
	for (const char *from = field; *from != ' '; to++) {
		if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3) {
			*to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* @param type the last fields of a line: " - TYPE SOURCE OPTIONS" */
static uid_t fuse_user(const char *type)
{
	const char *options = strrchr(type, ' ');
	const char *user = strncmp(type, " - fuse", 7) == 0 ? strstr(options, "user_id=") : NULL;
	return user != NULL && (user[-1] == ',' || user[-1] == ' ') ? (uid_t)strtoul(user + 8, NULL, 10) : 0;
}

static bool is_kernels_own(const char *type)
{
	static const char *const TYPES[] = {"devtmpfs", "devpts", "proc",	"sysfs",
					    "debugfs",	"tracefs", "securityfs", "configfs"};
	for (size_t i = 0; i < COUNT(TYPES); i++)
		if (strncmp(type + 3, TYPES[i], strlen(TYPES[i])) == 0 && type[3 + strlen(TYPES[i])] == ' ')
			return true;
	return false;
}

void add_mount(const char *line, void (*keep_back)(const char *path))
{
	char *text = require_memory(strdup(line)); /* the table keeps it */
	char *fields[5] = {text}, *type = strstr(text, " - ");
	for (size_t i = 1; i < COUNT(fields) && fields[i - 1] != NULL; i++)
		fields[i] = (fields[i] = strchr(fields[i - 1], ' ')) == NULL ? NULL : fields[i] + 1;
	char *device = fields[2], *inner = fields[3], *path = fields[4];
	if (type == NULL || path == NULL || path >= type)
		die(REFUSED, "read", TABLE, "a line of it is not understood");
	decode(path);
	decode(inner);
	decode(device);
	if (!is_canonical(path)) { /* "/x//deleted", or longer than a path: not reachable by that name */
		free(text);
	} else if (is_kernels_own(type)) {
		keep_back(path);
		free(text);
	} else {
		if (mount_count == MOUNTS_MAX)
			die(REFUSED, "read", TABLE, "more than %d file systems are mounted", MOUNTS_MAX);
		mounts[mount_count++] = (struct mount){device, inner, path, fuse_user(type), UNKNOWN};
	}
}

void read_mounts(void (*keep_back)(const char *path))
{
	char *line = NULL;
	size_t room = 0;
	FILE *table = fopen(TABLE, "re");
	if (table == NULL)
		die_errno("read", TABLE, "open");
	while ((errno = 0, getline(&line, &room, table)) >= 0)
		add_mount(line, keep_back);
	if (errno != 0 || ferror(table))
		die_errno("read", TABLE, "read");
	free(line);
	fclose(table);
}

const struct mount *mount_of(const char *path)
{
	const struct mount *found = NULL;
	for (const struct mount *each = mounts; each < mounts + mount_count; each++)
		if (is_within(each->path, path) && (found == NULL || strlen(each->path) >= strlen(found->path)))
			found = each;
	return found;
}

/* Has a child look at a mount point. */
static bool answers(const char *place)
{
	static int left_ms = 10000;
	struct stat found;
	struct timespec start, end;
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		_exit(lstat(place, &found) == 0 ? 0 : 1); /* an error is an answer too */
	}
	int ended = child < 0 ? -1 : (int)syscall(__NR_pidfd_open, child, 0);
	if (ended < 0)
		die_errno("look at", place, child < 0 ? "fork" : "pidfd_open");
	struct pollfd each = {.fd = ended, .events = POLLIN};
	clock_gettime(CLOCK_MONOTONIC, &start);
	int ready = poll(&each, 1, left_ms < 1000 ? 1000 : left_ms);
	clock_gettime(CLOCK_MONOTONIC, &end);
	left_ms -= (int)(end.tv_sec - start.tv_sec) * 1000;
	close(ended);
	if (ready == 1)
		return waitpid(child, NULL, 0) == child;
	kill(child, SIGKILL); /* without waitpid(): it can hang in the kernel */
	return false;
}

bool is_answering(const char *path)
{
	for (struct mount *each = mounts; each < mounts + mount_count; each++) {
		if (strcmp(each->path, "/") == 0 || !is_within(each->path, path))
			continue;
		if (each->state == UNKNOWN)
			each->state = answers(each->path) ? ANSWERS : HANGS;
		if (each->state == HANGS)
			return false;
	}
	return true;
}
