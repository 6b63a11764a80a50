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

enum { MOUNT_SETATTR = 442 }; /* a system call since Linux 5.12; AT_RECURSIVE is as new */
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

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

/* @param folder the visible part of the store, without content except `paths`; `also` can be NULL. @return false with errno */
static bool enter_own_root(const char *folder, char *const paths[], int count, const char *also)
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
	       bring(root, "/proc", true) && (also == NULL || bring(root, also, true)) && bring(root, folder, true) && chdir(root) == 0 &&
	       syscall(__NR_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 && chdir("/") == 0 &&
	       mkdir("/.empty", 0) == 0 && close(open("/.nothing", O_CREAT | O_CLOEXEC, 0)) == 0 &&
	       (strcmp(folder, paths[0]) == 0 || cover_others(folder, paths, count)) &&
	       mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) == 0;
}

bool try_own_root(char *const paths[], int count, const char *also)
{
	int status;
	char *folder = common_folder(paths, count);
	pid_t child = fork();
	if (child == 0)
		_exit(enter_own_root(folder, paths, count, also)				   ? 0
		      : errno == EPERM || errno == EACCES || errno == ENOSYS || errno == EINVAL || errno == ENOSPC ? 1
														      : 2);
	if (child < 0 || waitpid(child, &status, 0) != child)
		die_errno("make", "a root of its own", "fork");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
		return false;
	if (status != 0 || !enter_own_root(folder, paths, count, also))
		die(REFUSED, "make", "a root of its own", "it works only half: \"%s\" could not be brought", folder);
	set_capabilities(0, 0, 0); /* the new namespace has given all of them */
	free(folder);
	return true;
}

/* Makes what was brought read-only: Landlock does not keep root's rsync from changing its modes, owners and times. */
static bool make_read_only(const char *target)
{
	struct stat found;
	/* struct mount_attr: attr_set with MOUNT_ATTR_RDONLY, attr_clr, propagation, userns_fd */
	const uint64_t read_only[4] = {1, 0, 0, 0};
	if (lstat(target, &found) != 0 || S_ISLNK(found.st_mode)) /* it does not exist here, or is a link */
		return true;
	if (syscall(MOUNT_SETATTR, AT_FDCWD, target, AT_RECURSIVE, read_only, sizeof read_only) == 0)
		return true;
	return errno == ENOSYS && mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0; /* before Linux 5.12 */
}

static bool bring_read_only(const char *root, const char *path, bool must)
{
	char target[2 * PATH_MAX];
	snprintf(target, sizeof target, "%s%s", root, path);
	return bring(root, path, must) && make_read_only(target);
}

/* Here no device below the folder can be opened, and no program run. rsync can make both. */
static bool close_devices(const char *target)
{
	const uint64_t closed[4] = {0x2 | 0x4 | 0x8 /* MOUNT_ATTR_NOSUID, _NODEV, _NOEXEC */, 0, 0, 0};
	if (syscall(MOUNT_SETATTR, AT_FDCWD, target, AT_RECURSIVE, closed, sizeof closed) == 0)
		return true;
	const unsigned long flags = MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC;
	return errno == ENOSYS && mount(NULL, target, NULL, flags, NULL) == 0; /* before Linux 5.12 */
}

/* Shows an open folder at its path below `root`. It can lie in one that is shown already. */
static bool bring_folder(const char *root, const char *path, int fd)
{
	char target[2 * PATH_MAX], source[64];
	snprintf(source, sizeof source, "/proc/self/fd/%d", fd);
	snprintf(target, sizeof target, "%s%s/", root, path);
	for (char *at = target + strlen(root) + 1; (at = strchr(at, '/')) != NULL; *at++ = '/') {
		*at = '\0';
		if (mkdir(target, 0755) != 0 && access(target, F_OK) != 0)
			return false;
	}
	return mount(source, target, NULL, MS_BIND | MS_REC, NULL) == 0 && close_devices(target);
}

static bool enter_with(char *const folders[], int fds[], int count)
{
	static const char *const PLACES[] = {"/mnt", "/media", "/tmp", "/srv"}; /* its content is hidden here, but open */
	const char *root = NULL;
	for (size_t i = 0; root == NULL && i < COUNT(PLACES); i++)
		if (!is_within(PLACES[i], SELF_PATH) && access(PLACES[i], F_OK) == 0)
			root = PLACES[i];
	errno = ENOENT;
	if (root == NULL || unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) != 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return false;
	for (int i = 0; i < count; i++) /* in this mount namespace; follows no link, since others can own folders above it */
		if ((fds[i] = open_path(AT_FDCWD, folders[i])) < 0)
			die_errno("open", folders[i], "openat2");
	if (mount("dialback", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0755") != 0)
		return false;
	for (const char *const *path = COMMON_PATHS; *path != NULL; path++)
		if (!bring_read_only(root, *path, false))
			return false;
	if (!bring_read_only(root, RSYNC, true) || !bring_read_only(root, SELF_PATH, true) ||
	    !bring_read_only(root, "/dev/null", true))
		return false;
	for (int i = 0; i < count; i++)
		if (!bring_folder(root, folders[i], fds[i]))
			return false;
	return chdir(root) == 0 && (mkdir("proc", 0555) == 0 || errno == EEXIST) && syscall(__NR_pivot_root, ".", ".") == 0 &&
	       umount2(".", MNT_DETACH) == 0 && chdir("/") == 0 &&
	       mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) == 0;
}

void enter_folders(char *const folders[], int count)
{
	int *fds = require_memory(calloc((size_t)count, sizeof *fds));
	umask(022); /* for the folders of the new root */
	if (!enter_with(folders, fds, count))
		die_errno("make", "a root of its own", "mount");
	for (int i = 0; i < count; i++)
		close(fds[i]);
	free(fds);
	umask(077);
}

void mount_own_proc(void)
{
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL) != 0)
		die_errno("mount", "/proc", "mount");
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
