#include "serve.h"
#include "caller.h"
#include "caps.h"
#include "jail.h"
#include "landlock.h"
#include "paths.h"
#include "root.h"
#include "rsync.h"
#include "trust.h"
#include <signal.h>

#define RECORDS_BYTES (32 << 20)

/* The daemon only reads. */
static const struct calls SERVE_CALLS[] = {
	ROW(NO_BITS, 2, NOT_READING, NR(openat)),
#ifdef __x86_64__
	ROW(NO_BITS, 1, NOT_READING, NR(open)),
#endif
	/* The step into rsync, as in launch.c: only with this string, whose address rsync does not learn. */
	ROW(THE_STEP, 0, (uintptr_t)RSYNC, NR(execve)),
};

/* @return all bytes of the file with a NUL behind them; `end` is that NUL */
static char *read_records(const char *path, char **end)
{
	struct stat found;
	int fd = open_path(AT_FDCWD, path);
	if (fd >= 0) { /* follows no link; a path descriptor cannot be read */
		close(fd);
		fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	}
	if (fd < 0 || fstat(fd, &found) != 0)
		die_errno("read", path, "open");
	if (!S_ISREG(found.st_mode) || found.st_uid != getuid() || found.st_size > RECORDS_BYTES)
		die(REFUSED, "read", path, "it is not a plain file of ours with at most %d bytes", RECORDS_BYTES);
	size_t size = (size_t)found.st_size, done = 0;
	char *text = require_memory(malloc(size + 1));
	for (ssize_t n = 1; n > 0 && done < size; done += n > 0 ? (size_t)n : 0)
		n = read(fd, text + done, size - done);
	close(fd);
	text[done] = '\0';
	if (done == 0 || done != size || text[size - 1] != '\0')
		die(REFUSED, "read", path, "the last record has no end");
	*end = text + size;
	return text;
}

/* The account owns every folder of the tree, so that no link is followed. */
static void grant_part(int ruleset, const char *tree, const char *path, uint64_t rights)
{
	struct stat found;
	if (!is_canonical(path) || !is_within(tree, path))
		die(REFUSED, "grant", path, "it is not in \"%s\"", tree);
	int fd = open_path(AT_FDCWD, path);
	if (fd < 0 || fstat(fd, &found) != 0)
		die_errno("open", path, "openat2");
	grant(ruleset, fd, &found, rights, path);
	close(fd);
}

_Noreturn void become_daemon(int ruleset, const char *rsyncd, const char *note)
{
	char *config = NULL;
	if (asprintf(&config, "--config=%s/rsyncd.conf", rsyncd) < 0)
		die_errno("use", rsyncd, "malloc");
	grant_path(ruleset, rsyncd, LL_READ, true);
	grant_rsync(ruleset, RSYNC);
	char *const arguments[] = {"rsync", "--server", "--daemon", config, ".", NULL};
	char *const environment[] = {PLAIN_ENVIRONMENT, NULL};
	become_confined(ruleset, SERVE_CALLS, COUNT(SERVE_CALLS), note, arguments, environment);
}

_Noreturn void serve_verb(char *tree, const char *run)
{
	pid_t parent = getppid();
	char *end, *rsyncd = join(run, "rsyncd"), *folders[] = {tree, rsyncd, "--"};
	forget_caller(STDERR_FILENO);
	set_capabilities(0, 0, 0);
	require_own_place();
	require_roots_own(RSYNC_PATH);
	count_folders("serve", COUNT(folders), folders);
	char *records = read_records(join(run, "paths"), &end);
	die_with_parent(SIGKILL, parent);
	bool has_own_root = try_own_root(folders, 1, rsyncd);
	if (has_own_root)
		become_first();
	int ruleset = refuse_everything(2);
	for (const char *record = records; record < end; record += strlen(record) + 1) {
		if (strncmp(record, "path ", 5) == 0)
			grant_part(ruleset, tree, record + 5, LL_READ);
		else if (strncmp(record, "list ", 5) == 0)
			grant_part(ruleset, tree, record + 5, LL_READ_DIR);
		else
			die(REFUSED, "read", record, "it is no record of serve");
	}
	become_daemon(ruleset, rsyncd, has_own_root ? " own_root" : "");
}
