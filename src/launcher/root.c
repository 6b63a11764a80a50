#include "root.h"
#include "caller.h"
#include "caps.h"
#include "paths.h"
#include "rsync.h"
#include <dirent.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

const char *const COMMON_PATHS[] = {"/lib",	      "/lib64",	     "/usr/lib",	   "/usr/lib64",  "/etc/ld.so.cache",
				    "/etc/localtime", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", NULL};

/* Makes a file, a folder with all that is mounted below, or a link visible at the same place below `root`. */
static bool bring(const char *root, const char *path, bool must)
{
	char target[2 * PATH_MAX], leads_to[PATH_MAX] = "";
	struct stat found;
	if (lstat(path, &found) != 0)
		return !must && errno == ENOENT;
	snprintf(target, sizeof target, "%s%s", root, path);
	for (char *at = target + strlen(root) + 1; (at = strchr(at, '/')) != NULL; *at++ = '/') {
		*at = '\0';
		if (mkdir(target, 0755) != 0 && errno != EEXIST)
			return false;
	}
	if (S_ISLNK(found.st_mode)) /* /lib, where it is a part of /usr */
		return readlink(path, leads_to, sizeof leads_to - 1) > 0 && symlink(leads_to, target) == 0;
	if (S_ISDIR(found.st_mode) ? mkdir(target, 0755) != 0 && errno != EEXIST
				   : close(open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0644)) != 0)
		return false;
	return mount(path, target, NULL, MS_BIND | MS_REC, NULL) == 0;
}

/* Covers everything in a folder except these paths and the folders that lead to them: older snapshots, records, journal, lock. */
static bool cover_others(const char *folder, char *const paths[], int count)
{
	bool is_well = true;
	struct stat found;
	DIR *list = opendir(folder);
	for (struct dirent *entry; list != NULL && is_well && (entry = readdir(list)) != NULL;) {
		bool is_one = false, leads = false;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		char *path = join(folder, entry->d_name);
		for (int i = 0; i < count; i++) {
			is_one = is_one || strcmp(path, paths[i]) == 0;
			leads = leads || is_within(path, paths[i]);
		}
		if (!is_one && leads)
			is_well = cover_others(path, paths, count);
		else if (!is_one && lstat(path, &found) == 0 && !S_ISLNK(found.st_mode))
			is_well = mount(S_ISDIR(found.st_mode) ? "/.empty" : "/.nothing", path, NULL, MS_BIND, NULL) == 0 ||
				  errno == ENOENT;
		free(path);
	}
	return list != NULL && closedir(list) == 0 && is_well;
}

/* The one folder that all of these are in: a link across two mounts would be refused. */
static char *common_folder(char *const paths[], int count)
{
	char *common = require_memory(strdup(paths[0]));
	for (int i = 1; i < count; i++)
		while (!is_within(common, paths[i])) {
			char *slash = strrchr(common, '/');
			slash[slash == common ? 1 : 0] = '\0';
		}
	if (strcmp(common, "/") == 0)
		die(REFUSED, "use", paths[0], "the folders have no folder in common");
	return common;
}

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0;
}

static bool enter_namespaces(void)
{
	char uids[64], gids[64];
	snprintf(uids, sizeof uids, "%u %u 1\n", getuid(), getuid());
	snprintf(gids, sizeof gids, "%u %u 1\n", getgid(), getgid());
	return unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID) == 0 && write_text("/proc/self/setgroups", "deny") &&
	       write_text("/proc/self/uid_map", uids) && write_text("/proc/self/gid_map", gids) &&
	       mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0;
}

/* @param folder the visible part of the store, without content except `paths`. @return false with errno */
static bool enter_own_root(const char *folder, char *const paths[], int count)
{
	static const char *const PLACES[] = {"/mnt", "/media", "/tmp"}; /* where to build it: one that it need not show */
	const char *root = NULL;
	for (size_t i = 0; root == NULL && i < COUNT(PLACES); i++)
		if (!is_within(PLACES[i], folder) && !is_within(PLACES[i], SELF_PATH) && access(PLACES[i], F_OK) == 0)
			root = PLACES[i];
	errno = ENOSYS;
	if (root == NULL || !enter_namespaces() ||
	    mount("dialback", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0755") != 0)
		return false;
	for (const char *const *path = COMMON_PATHS; *path != NULL; path++)
		if (!bring(root, *path, false))
			return false;
	/* /proc: rsync changes the modes of open files by /proc/self/fd. */
	return bring(root, RSYNC, true) && bring(root, SELF_PATH, true) && bring(root, "/dev/null", true) &&
	       bring(root, "/proc", true) && bring(root, folder, true) && chdir(root) == 0 &&
	       syscall(__NR_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 && chdir("/") == 0 &&
	       mkdir("/.empty", 0) == 0 && close(open("/.nothing", O_CREAT | O_CLOEXEC, 0)) == 0 &&
	       (strcmp(folder, paths[0]) == 0 || cover_others(folder, paths, count)) &&
	       mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) == 0;
}

bool try_own_root(char *const paths[], int count)
{
	int status;
	char *folder = common_folder(paths, count);
	pid_t child = fork();
	if (child == 0)
		_exit(enter_own_root(folder, paths, count)				   ? 0
		      : errno == EPERM || errno == EACCES || errno == ENOSYS || errno == EINVAL || errno == ENOSPC ? 1
														      : 2);
	if (child < 0 || waitpid(child, &status, 0) != child)
		die_errno("make", "a root of its own", "fork");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
		return false;
	if (status != 0 || !enter_own_root(folder, paths, count))
		die(REFUSED, "make", "a root of its own", "it works only half: \"%s\" could not be brought", folder);
	set_capabilities(0, 0, 0); /* the new namespace has given all of them */
	free(folder);
	return true;
}

static volatile pid_t inner; /* the first process of the new PID namespace */

static void pass_on_signal(int number)
{
	kill(inner, number == SIGALRM ? SIGKILL : number);
	alarm(10); /* for a receiver to keep a half-arrived file */
}

void become_first(void)
{
	int status;
	inner = fork();
	if (inner < 0)
		die_errno("make", "a process of its own", "fork");
	if (inner == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
			die_errno("end with", "the caller", "prctl");
		limit(RLIMIT_NPROC, 16); /* in a user namespace only its own processes count (Linux 5.14), and 4 are needed */
		return;
	}
	close(FROM_SSH);
	close(TO_SSH);
	for (const int *number = (const int[]){SIGTERM, SIGINT, SIGHUP, SIGALRM, 0}; *number != 0; number++)
		signal(*number, pass_on_signal);
	while (waitpid(inner, &status, 0) != inner)
		if (errno != EINTR)
			die_errno("wait for", "rsync", "waitpid");
	if (WIFEXITED(status))
		exit(WEXITSTATUS(status));
	limit_core();
	signal(WTERMSIG(status), SIG_DFL);
	raise(WTERMSIG(status));
	exit(REFUSED);
}
