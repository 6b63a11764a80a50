/*
 * launch: lends rsync one capability, or none, and builds the jail that it runs in.
 *
 * The only file of dialback with an effective capability (cap_dac_read_search=ep, 0750 root:dialback). Whoever may run
 * it can have every file of this machine read that /etc/dialback/never leaves. That is all it can be used for:
 *
 *   send RUN [KIB]                    client: becomes rsync as a daemon that can read the scope of RUN, and do nothing
 *                                     else; at most KIB KiB a second
 *   never RUN                         client: says where what `send RUN` would keep back is, which links to it are not
 *                                     followed, and which files that `send` grants one by one nobody can read
 *   receive TREE [LINKROOT...] -- ARG...
 *                                     host: becomes rsync that can write into TREE, link from each LINKROOT, and reach
 *                                     nothing else; without any capability
 *   pump SECONDS                      host: rsync's remote shell inside `receive`: copies between rsync and the ssh
 *                                     that was started outside, whose ends are the descriptors 3 and 4; ends when
 *                                     nothing has come for so long
 *   place DIR TREE -- ARG...          host, root alone: becomes rsync that can read TREE, a snapshot, and change nothing
 *                                     outside DIR; with all of root's capabilities
 *   lend gate --run RUN               client, where the config says "inherited": hands the capability to dialback's
 *                                     gate, which hands it to an rsync that the administrator gave it to
 *
 * How to read it: the two tables are the policy, `send` and `receive` are the order in which it comes into force, and
 * everything before them is one check or one step each. It starts from nothing allowed: what no row names is refused.
 * Nothing is taken from the environment (`lend` passes two of sshd's variables on, unread). Every failure is one line
 * and exit status 126, or 127 where the program to become is not there.
 *
 * SERVICE_UID, SELF_PATH, RSYNC_PATH, DIALBACK_PATH and NEVER_PATH come from make, and can be read in the file (BUILT_FOR).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* Where the kernel's headers are older than the kernel may be: those of Debian 11 are of 5.10, and Landlock came with 5.13. */
#if __has_include(<linux/landlock.h>)
#include <linux/landlock.h>
#else
#define __NR_landlock_create_ruleset 444
#define __NR_landlock_add_rule 445
#define __NR_landlock_restrict_self 446
#define LANDLOCK_CREATE_RULESET_VERSION (1U << 0)
#define LANDLOCK_RULE_PATH_BENEATH 1
#define LANDLOCK_ACCESS_FS_EXECUTE (1ULL << 0)
#define LANDLOCK_ACCESS_FS_WRITE_FILE (1ULL << 1)
#define LANDLOCK_ACCESS_FS_READ_FILE (1ULL << 2)
#define LANDLOCK_ACCESS_FS_READ_DIR (1ULL << 3)
#define LANDLOCK_ACCESS_FS_REMOVE_DIR (1ULL << 4)
#define LANDLOCK_ACCESS_FS_REMOVE_FILE (1ULL << 5)
#define LANDLOCK_ACCESS_FS_MAKE_CHAR (1ULL << 6)
#define LANDLOCK_ACCESS_FS_MAKE_DIR (1ULL << 7)
#define LANDLOCK_ACCESS_FS_MAKE_REG (1ULL << 8)
#define LANDLOCK_ACCESS_FS_MAKE_SOCK (1ULL << 9)
#define LANDLOCK_ACCESS_FS_MAKE_FIFO (1ULL << 10)
#define LANDLOCK_ACCESS_FS_MAKE_BLOCK (1ULL << 11)
#define LANDLOCK_ACCESS_FS_MAKE_SYM (1ULL << 12)
struct landlock_path_beneath_attr {
	uint64_t allowed_access;
	int32_t parent_fd;
} __attribute__((packed));
#endif
#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif
#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#define X32_BIT 0x40000000 /* __X32_SYSCALL_BIT */
#ifndef LOADER_PATH
#define LOADER_PATH "/lib64/ld-linux-x86-64.so.2"
#endif
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#define X32_BIT 0x40000000 /* no call has such a number */
#ifndef LOADER_PATH
#define LOADER_PATH "/lib/ld-linux-aarch64.so.1"
#endif
#else
#error "made for x86-64 and arm64"
#endif

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
/* host/relay.ts says and reads the same */
#define FIRST_BYTE "dialback-relay: first byte\n"
#define IDLE "dialback-relay: idle\n"

enum { REFUSED = 126, NO_PROGRAM = 127 };
enum { FROM_SSH = 3, TO_SSH = 4, LOCK = 5 }; /* host/relay.ts: what rsync and pump are given */
enum { SCOPE_BYTES = 1 << 20, PATHS_MAX = 10000, MOUNTS_MAX = 100000 /* fs.mount-max */ };

/* What is compiled in, for `tools/launcher.sh --check`, which reads the file and does not run it. A text between two NULs. */
#define SHOWN(text) #text
#define SHOW(value) SHOWN(value)
__attribute__((used)) static const char BUILT_FOR[] =
	"\0dialback-launch built for uid=" SHOW(SERVICE_UID) " self=" SELF_PATH " rsync=" RSYNC_PATH
	" dialback=" DIALBACK_PATH " never=" NEVER_PATH;

/* ---- Words ------------------------------------------------------------------------------------------------------ */

/* Ends with one line. `thing` may come from outside: control characters in it are shown as '?'. */
static _Noreturn void die(int status, const char *verb, const char *thing, const char *found, ...)
{
	char line[3 * PATH_MAX];
	va_list args;
	int n = snprintf(line, sizeof line, "dialback-launch: Cannot %s \"%.*s\": ", verb, PATH_MAX, thing);
	va_start(args, found);
	if (n > 0 && (size_t)n < sizeof line)
		n += vsnprintf(line + n, sizeof line - (size_t)n, found, args);
	va_end(args);
	for (char *at = line; *at != '\0'; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
	dprintf(STDERR_FILENO, "%s\n", line);
	exit(status);
}

static _Noreturn void die_errno(const char *verb, const char *thing, const char *call)
{
	die(REFUSED, verb, thing, "%s: %s", call, strerror(errno));
}

/* ---- What may be called: the seccomp table ---------------------------------------------------------------------- */

enum { SEND = 1, RECEIVE = 2, BOTH = SEND | RECEIVE };
enum check {
	ANY,	  /* whatever its arguments are */
	NO_BITS,  /* none of these bits in that argument */
	AT_MOST,  /* that argument is this or less */
	EQUALS,	  /* that argument is exactly this */
	THE_STEP, /* the same, and any other value ends the process */
	NOT_THERE /* refused with ENOSYS, so that libc takes the older call, which is checked */
};

struct calls {
	int verbs;
	enum check check;
	unsigned argument;
	uint64_t value;
	size_t count;
	const long *numbers;
};
#define ROW(verbs, check, argument, value, ...)                                                              \
	{verbs, check, argument, value, sizeof((const long[]){__VA_ARGS__}) / sizeof(long), (const long[]){__VA_ARGS__}}
#define NR(name) __NR_##name

/* Opened for reading only: whatever else an open file could be used for is refused where it is opened. */
#define WRITING_FLAGS (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))
/* 0x80 is CLONE_NEWTIME: it lies in the byte of the exit signal, and fork's, SIGCHLD, does not have it. */
#define NAMESPACE_FLAGS                                                                                      \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | 0x80)

/* Its address is what the sender may execve; see the row. */
static const char RSYNC[] = RSYNC_PATH;

/* A call that is in no row fails with EPERM. A call of another ABI (32 bit, x32) ends the process. */
static const struct calls CALLS[] = {
	/* Memory: no program starts without. */
	ROW(BOTH, ANY, 0, 0, NR(brk), NR(mmap), NR(munmap), NR(mremap), NR(mprotect), NR(madvise)),
	/* libc's own start, its locks and signal handlers: of this process alone. */
	ROW(BOTH, ANY, 0, 0, NR(set_tid_address), NR(set_robust_list), NR(rseq), NR(futex), NR(rt_sigaction),
	    NR(rt_sigprocmask), NR(rt_sigreturn), NR(restart_syscall), NR(getrandom), NR(exit), NR(exit_group)),
	/* Its own limits, not another process's. */
	ROW(BOTH, EQUALS, 0, 0, NR(prlimit64)),
	/* What it is and what time it is; how much memory there is (qsort asks); to sleep (bwlimit). */
	ROW(BOTH, ANY, 0, 0, NR(getpid), NR(getppid), NR(gettid), NR(getuid), NR(geteuid), NR(getgid), NR(getegid),
	    NR(getgroups), NR(uname), NR(sysinfo), NR(clock_gettime), NR(gettimeofday), NR(nanosleep),
	    NR(clock_nanosleep)),
	/* Descriptors that are open: the sender has none that can be written to but the connection. */
	ROW(BOTH, ANY, 0, 0, NR(read), NR(readv), NR(pread64), NR(write), NR(writev), NR(lseek), NR(close), NR(dup),
	    NR(dup3), NR(pselect6), NR(ppoll)),
	/* F_DUPFD, F_[GS]ETFD and F_[GS]ETFL: no locks, leases or signals. */
	ROW(BOTH, AT_MOST, 1, F_SETFL, NR(fcntl)),
	/* To open: Landlock says what; the sender only to read. openat2's flags are in memory, where no filter looks. */
	ROW(SEND, NO_BITS, 2, WRITING_FLAGS, NR(openat)),
	ROW(RECEIVE, ANY, 0, 0, NR(openat)),
	ROW(BOTH, NOT_THERE, 0, 0, NR(openat2), NR(faccessat2), NR(clone3)),
	/* Names and attributes, which Landlock does not cover: stat, readlink, ACLs and xattrs, all of them read. */
	ROW(BOTH, ANY, 0, 0, NR(fstat), NR(newfstatat), NR(statx), NR(statfs), NR(fstatfs), NR(readlinkat), NR(faccessat),
	    NR(getdents64), NR(getcwd), NR(chdir), NR(fchdir), NR(umask), NR(fadvise64), NR(getxattr), NR(lgetxattr),
	    NR(fgetxattr), NR(listxattr), NR(llistxattr), NR(flistxattr)),
	/* The step into rsync: only with this one string, whose address rsync does not learn, and a wrong guess is its last. Else
	   the dynamic loader, which must be executable, could be told to run any file that can be read. (The value, RSYNC's
	   address, is set at run time.) */
	ROW(SEND, THE_STEP, 0, 0, NR(execve)),
	/* The receiver makes files and folders: Landlock says where. */
	ROW(RECEIVE, ANY, 0, 0, NR(pwrite64), NR(ftruncate), NR(fallocate), NR(fsync), NR(mkdirat), NR(unlinkat),
	    NR(renameat), NR(linkat)),
	ROW(RECEIVE, NO_BITS, 4, RENAME_WHITEOUT, NR(renameat2)), /* which makes a device */
	/* It sets modes, times and xattrs (owners and devices stand in user.rsync.%stat): Landlock does not cover that. */
	ROW(RECEIVE, ANY, 0, 0, NR(fchmod), NR(fchmodat), NR(utimensat), NR(setxattr), NR(lsetxattr), NR(fsetxattr),
	    NR(removexattr), NR(lremovexattr), NR(fremovexattr)),
	ROW(RECEIVE, NOT_THERE, 0, 0, NR(fchmodat2)),
	/* It is three processes, generator, receiver and `pump`, and ends them; execve: Landlock says what. */
	ROW(RECEIVE, NO_BITS, 0, NAMESPACE_FLAGS | CLONE_PARENT, NR(clone)), /* its own children, not the caller's */
	ROW(RECEIVE, ANY, 0, 0, NR(execve), NR(wait4), NR(pipe2), NR(close_range)),
	ROW(RECEIVE, EQUALS, 0, AF_UNIX, NR(socketpair)), /* between themselves; there is no socket() */
	ROW(RECEIVE, AT_MOST, 1, SIGUSR2, NR(kill)), /* from ABI 6 on Landlock lets it reach only each other */
#ifdef __x86_64__
	/* The same under older names, which arm64 does not have. */
	ROW(BOTH, ANY, 0, 0, NR(arch_prctl), NR(time), NR(dup2), NR(select), NR(poll), NR(getpgrp), NR(stat), NR(lstat),
	    NR(readlink), NR(access)),
	ROW(SEND, NO_BITS, 1, WRITING_FLAGS, NR(open)),
	ROW(RECEIVE, ANY, 0, 0, NR(open), NR(mkdir), NR(rmdir), NR(unlink), NR(rename), NR(link), NR(chmod), NR(pipe),
	    NR(fork), NR(vfork), NR(pause)),
#endif
};

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(field))
#define ANSWER(what) BPF_STMT(BPF_RET | BPF_K, (uint32_t)(what))
/* If the test holds, go on; else skip so many instructions. */
#define UNLESS(test, value, skip) BPF_JUMP(BPF_JMP | (test) | BPF_K, (uint32_t)(value), 0, (skip))
#define IF(test, value, skip) BPF_JUMP(BPF_JMP | (test) | BPF_K, (uint32_t)(value), (skip), 0)

/* Adds the instructions that judge one call; whatever they do not decide goes on to the next row. */
static size_t judge(struct sock_filter *code, long number, const struct calls *row, uint64_t value)
{
	/* Both architectures are little-endian: an argument's low word comes first. */
	size_t low = offsetof(struct seccomp_data, args) + row->argument * 8;
	const struct sock_filter any[] = {UNLESS(BPF_JEQ, number, 1), ANSWER(SECCOMP_RET_ALLOW)};
	const struct sock_filter not_there[] = {UNLESS(BPF_JEQ, number, 1), ANSWER(SECCOMP_RET_ERRNO | ENOSYS)};
	const struct sock_filter no_bits[] = {UNLESS(BPF_JEQ, number, 4), LOAD(low), IF(BPF_JSET, value, 1),
					      ANSWER(SECCOMP_RET_ALLOW), ANSWER(SECCOMP_RET_ERRNO | EPERM)};
	const struct sock_filter at_most[] = {UNLESS(BPF_JEQ, number, 4), LOAD(low), IF(BPF_JGT, value, 1),
					      ANSWER(SECCOMP_RET_ALLOW), ANSWER(SECCOMP_RET_ERRNO | EPERM)};
	uint32_t otherwise = row->check == THE_STEP ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | EPERM;
	const struct sock_filter equals[] = {
		UNLESS(BPF_JEQ, number, 6),	 LOAD(low),
		UNLESS(BPF_JEQ, value, 3),	 LOAD(low + 4),
		UNLESS(BPF_JEQ, value >> 32, 1), ANSWER(SECCOMP_RET_ALLOW),
		ANSWER(otherwise)};
#define CHECK(name) {name, sizeof name}
	const struct {
		const struct sock_filter *code;
		size_t size;
	} checks[] = {[ANY] = CHECK(any), [NO_BITS] = CHECK(no_bits), [AT_MOST] = CHECK(at_most),
		      [EQUALS] = CHECK(equals), [THE_STEP] = CHECK(equals), [NOT_THERE] = CHECK(not_there)};
	memcpy(code, checks[row->check].code, checks[row->check].size);
	return checks[row->check].size / sizeof *code;
}

/* Puts the rows of one verb into force, for this process and all that it becomes or starts. */
static void allow_calls(int verb)
{
	static struct sock_filter code[BPF_MAXINSNS] = {
		LOAD(offsetof(struct seccomp_data, arch)), IF(BPF_JEQ, OUR_ARCH, 1), ANSWER(SECCOMP_RET_KILL_PROCESS),
		LOAD(offsetof(struct seccomp_data, nr)),
		UNLESS(BPF_JGE, X32_BIT, 1), ANSWER(SECCOMP_RET_KILL_PROCESS)};
	size_t n = 6;
	for (const struct calls *row = CALLS; row < CALLS + COUNT(CALLS); row++) {
		if ((row->verbs & verb) == 0)
			continue;
		for (size_t i = 0; i < row->count; i++) { /* 7 instructions a call at most: far below BPF_MAXINSNS */
			uint64_t value = row->check == THE_STEP ? (uint64_t)(uintptr_t)RSYNC : row->value;
			n += judge(code + n, row->numbers[i], row, value);
		}
	}
	code[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ERRNO | EPERM);
	const struct sock_fprog filter = {.len = (unsigned short)n, .filter = code};
	if (syscall(NR(seccomp), SECCOMP_SET_MODE_FILTER, 0, &filter) != 0)
		die_errno("restrict", "system calls", "seccomp");
}

/* ---- What may be done to files: the Landlock table -------------------------------------------------------------- */

#define READ_FILE LANDLOCK_ACCESS_FS_READ_FILE
#define READ_DIR LANDLOCK_ACCESS_FS_READ_DIR
#define EXECUTE LANDLOCK_ACCESS_FS_EXECUTE

/* All that Landlock can refuse, and since which ABI; every one is refused where no rule grants it. */
static const struct {
	uint64_t right;
	int abi;
	bool of_files; /* whether a rule on a plain file may name it */
} RIGHTS[] = {
	{EXECUTE, 1, true},
	{LANDLOCK_ACCESS_FS_WRITE_FILE, 1, true},
	{READ_FILE, 1, true},
	{READ_DIR, 1, false},
	{LANDLOCK_ACCESS_FS_REMOVE_DIR, 1, false},
	{LANDLOCK_ACCESS_FS_REMOVE_FILE, 1, false},
	{LANDLOCK_ACCESS_FS_MAKE_CHAR, 1, false},
	{LANDLOCK_ACCESS_FS_MAKE_DIR, 1, false},
	{LANDLOCK_ACCESS_FS_MAKE_REG, 1, false},
	{LANDLOCK_ACCESS_FS_MAKE_SOCK, 1, false},
	{LANDLOCK_ACCESS_FS_MAKE_FIFO, 1, false},
	{LANDLOCK_ACCESS_FS_MAKE_BLOCK, 1, false},
	{LANDLOCK_ACCESS_FS_MAKE_SYM, 1, false},
	{LANDLOCK_ACCESS_FS_REFER, 2, false},	 /* links and renames across folders */
	{LANDLOCK_ACCESS_FS_TRUNCATE, 3, true},	 /* before: seccomp has no truncate(), and O_TRUNC only in `receive` */
	{LANDLOCK_ACCESS_FS_IOCTL_DEV, 5, true}, /* before: seccomp has no ioctl() */
};
enum { SINCE_TCP = 4, SINCE_SCOPES = 6 };

/* As the newest kernel has it; older ones take it with zeros where they know nothing. */
struct ruleset {
	uint64_t files, tcp, scoped;
};
enum { TCP_BIND_AND_CONNECT = 3, ABSTRACT_SOCKETS_AND_SIGNALS = 3 };

/* What a rule may grant. READ is what `send` gives; the others are what `receive` needs. */
#define READ (READ_FILE | READ_DIR)
#define RUN_IT (READ_FILE | EXECUTE)
#define LINK_FROM /* link() asks that the old place allows all that the new place does to a file's content */       \
	(READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REFER | LANDLOCK_ACCESS_FS_TRUNCATE)
#define WRITE_INTO /* files and folders; no devices, FIFOs, sockets or symlinks: a fake-super tree has none */       \
	(LINK_FROM | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | \
	 LANDLOCK_ACCESS_FS_MAKE_REG)

static bool has_own_root;     /* see try_own_root */
static int landlock_abi;      /* of this kernel */
static uint64_t known_rights; /* of this kernel */
static uint64_t file_rights;  /* those of them that a rule on a plain file may name */

/* A ruleset that refuses all that this kernel can refuse. */
static int refuse_everything(int least_abi)
{
	long abi = syscall(NR(landlock_create_ruleset), NULL, (size_t)0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 0)
		die(REFUSED, "confine", RSYNC_PATH, "this kernel has no Landlock, or has it switched off (%s)", strerror(errno));
	if (abi < least_abi)
		die(REFUSED, "confine", RSYNC_PATH, "this kernel's Landlock is too old (ABI %ld, and %d is needed)", abi,
		    least_abi);
	for (size_t row = 0; row < COUNT(RIGHTS); row++) {
		if (RIGHTS[row].abi > abi)
			continue;
		known_rights |= RIGHTS[row].right;
		if (RIGHTS[row].of_files)
			file_rights |= RIGHTS[row].right;
	}
	const struct ruleset all = {.files = known_rights,
				    .tcp = abi >= SINCE_TCP ? TCP_BIND_AND_CONNECT : 0,
				    .scoped = abi >= SINCE_SCOPES ? ABSTRACT_SOCKETS_AND_SIGNALS : 0};
	long ruleset = syscall(NR(landlock_create_ruleset), &all, sizeof all, 0);
	if (ruleset < 0)
		die_errno("confine", RSYNC_PATH, "landlock_create_ruleset");
	landlock_abi = (int)abi;
	return (int)ruleset;
}

/* Grants rights on an open file, or on a folder with all below it. */
static void grant(int ruleset, int fd, const struct stat *found, uint64_t rights, const char *path)
{
	struct landlock_path_beneath_attr rule = {.parent_fd = fd};
	rule.allowed_access = rights & known_rights & (S_ISDIR(found->st_mode) ? UINT64_MAX : file_rights);
	if (rule.allowed_access != 0 && ruleset >= 0 &&
	    syscall(NR(landlock_add_rule), ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0 &&
	    errno != EBADFD) /* a file system of the kernel's own (a namespace at /run/netns): not granted */
		die_errno("grant", path, "landlock_add_rule");
}

/* The same by name, links followed. @param must whether it has to be there */
static void grant_path(int ruleset, const char *path, uint64_t rights, bool must)
{
	struct stat found;
	int fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0 && !must && (errno == ENOENT || errno == EACCES))
		return;
	if (fd < 0 || fstat(fd, &found) != 0)
		die_errno("open", path, "open");
	grant(ruleset, fd, &found, rights, path);
	close(fd);
}

/* ---- The scope: roots less `never` ------------------------------------------------------------------------------ */

struct paths {
	char *at[PATHS_MAX];
	dev_t device[PATHS_MAX];
	ino_t inode[PATHS_MAX];
	size_t count;
};
static struct paths roots, nevers, libraries;
static struct paths mounted; /* what is mounted, without "/" and what is never read in any case */
static struct paths above;   /* the folders on the way to each `never`: device and inode */
static struct paths left;    /* the mount points among `nevers` that the account leaves out */

/* Whether `path` is `folder` or below it. */
static bool is_within(const char *folder, const char *path)
{
	size_t length = strlen(folder);
	if (strcmp(folder, "/") == 0)
		return true;
	return strncmp(folder, path, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static bool is_never(const char *path)
{
	for (size_t i = 0; i < nevers.count; i++)
		if (is_within(nevers.at[i], path))
			return true;
	return false;
}

/*
 * The same by what it is: another mount of it, a hard link to it, or its name where a file system takes "A" for "a". There
 * the folders above a `never` can have other names too (`above`).
 */
static bool is_one_of(const struct paths *list, const struct stat *found)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->inode[i] == found->st_ino && list->device[i] == found->st_dev && list->inode[i] != 0)
			return true;
	return false;
}

/* Whether it is on a file system that the account leaves out. */
static bool is_left(const char *path)
{
	for (size_t i = 0; i < left.count; i++)
		if (is_within(left.at[i], path))
			return true;
	return false;
}

static bool has_never_below(const char *path)
{
	for (size_t i = 0; i < nevers.count; i++)
		if (is_within(path, nevers.at[i]))
			return true;
	return false;
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

/* What is mounted where: `inner` of the file system on `device` is seen at `path`. In the order of the kernel. */
static struct mount {
	char *device, *inner, *path;
	uid_t user; /* FUSE: who mounted it */
} mount_table[MOUNTS_MAX];
static size_t mount_count;

/* The mount that a path is on: the innermost, and of two at one place the later one. */
static const struct mount *mount_of(const char *path)
{
	const struct mount *found = NULL;
	for (size_t i = 0; i < mount_count; i++)
		if (is_within(mount_table[i].path, path) &&
		    (found == NULL || strlen(mount_table[i].path) >= strlen(found->path)))
			found = &mount_table[i];
	return found;
}

/*
 * A file system can be a server that is down, or a program that hangs: a call that looks at it may then never return. So
 * each one on a way is looked at by a child first. One that does not answer is left out, and nothing on it is looked at.
 */
enum { ANSWER_MS = 10000 }; /* for all of them together; each gets a second at least */
static bool look_now(const char *path, struct stat *found, char target[PATH_MAX]);

static bool answers(const char *place)
{
	static int left_ms = ANSWER_MS;
	struct stat found;
	struct timespec start, end;
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		look_now(place, &found, NULL); /* whatever it is told is an answer */
		_exit(0);
	}
	int ended = child < 0 ? -1 : (int)syscall(NR(pidfd_open), child, 0);
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
	kill(child, SIGKILL); /* not waited for: it can hang in the kernel */
	return false;
}

static bool is_answering(const char *path)
{
	static enum { UNKNOWN, ANSWERS, HANGS } states[PATHS_MAX];
	for (size_t i = 0; i < mounted.count; i++) {
		if (!is_within(mounted.at[i], path))
			continue;
		if (states[i] == UNKNOWN)
			states[i] = answers(mounted.at[i]) ? ANSWERS : HANGS;
		if (states[i] == HANGS)
			return false;
	}
	return true;
}

/* The path without links, as far as it can be looked at; the rest is taken by its name. */
static char *without_links(const char *path)
{
	char *full = is_answering(path) ? realpath(path, NULL) : NULL;
	if (full != NULL)
		return full;
	char *folder = strdup(path);
	char *name = folder == NULL ? NULL : strrchr(folder, '/');
	if (folder == NULL)
		die_errno("resolve", path, "malloc");
	if (name == NULL || name == folder) /* directly below the root */
		return folder;
	*name++ = '\0';
	char *parent = without_links(folder);
	if (asprintf(&full, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, name) < 0)
		die_errno("resolve", path, "malloc");
	free(parent);
	free(folder);
	return full;
}

/* Whether a path says where it leads, from the first character to the last: comparing two is comparing their text. */
static bool is_shortest(const char *path)
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

static void require_path(const struct paths *list, const char *path, const char *source)
{
	if (!is_shortest(path))
		die(REFUSED, "use", source,
		    "a path in it is not from \"/\" on, or too long, or has \".\", \"..\" or a slash too many: %.200s", path);
	if (list->count == PATHS_MAX)
		die(REFUSED, "use", source, "it names more than %d paths", PATHS_MAX);
}

/* Adds a path whose links are all followed: nobody but the account names one, and it can name what it likes. */
static void add_path(struct paths *list, const char *path, const char *source)
{
	struct stat found;
	char *full = NULL;
	require_path(list, path, source);
	if (is_left(path)) { /* nothing of it is granted: there is nothing to look at */
		if ((full = strdup(path)) == NULL)
			die_errno("resolve", path, "malloc");
		list->at[list->count++] = full;
		return;
	}
	if (list == &roots) { /* a root that is a link is backed up as a link: what it leads to is not meant */
		const char *name = strrchr(path, '/') + 1;
		char *folder = strndup(path, name == path + 1 ? 1 : (size_t)(name - path) - 1);
		char *parent = folder == NULL ? NULL : without_links(folder);
		if (parent == NULL || asprintf(&full, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, name) < 0)
			die_errno("resolve", path, "malloc");
		free(folder);
		free(parent);
	} else {
		full = without_links(path);
	}
	if (is_answering(full) && lstat(full, &found) == 0) { /* 0 and 0, which no file has, where it is not there */
		list->device[list->count] = found.st_dev;
		list->inode[list->count] = found.st_ino;
	}
	list->at[list->count++] = full;
}

/*
 * Where a `never` is. Its way can lead through a folder of another user, who can put a link or another file there at any
 * time. Such a link, if it were followed, would keep back what that user aims it at: files of a third user, or "/".
 * So a link is followed only where root (or, for the account's own list, the account) made it, and nobody else can replace
 * it. Otherwise the `never` is its name, at which there is nothing but a link. client/never.ts has the same rule.
 */
struct place {
	char path[2 * PATH_MAX];    /* "" is "/" */
	char through[2 * PATH_MAX]; /* the first folder on the way in which others can replace the next name */
	char link[2 * PATH_MAX];    /* the link that was not followed */
	int error;		    /* why the way could not be looked at to its end; not where nothing is there */
	struct stat found;	    /* what is there; zeros where nothing is */
};
enum { LINKS_MAX = 40 }; /* path_resolution(7) */

/*
 * Whether inode numbers stay the same when nobody has the file open. Those of FAT, and of programs and servers, need not: they
 * are new whenever the kernel has forgotten the inode.
 */
static bool has_steady_numbers(int fd)
{
	static const long STEADY[] = {0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0xF2F52010,
				      0x794c7630, 0x2fc12fc1}; /* ext4, XFS, Btrfs, tmpfs, F2FS, overlay, ZFS */
	struct statfs found;
	if (fstatfs(fd, &found) != 0)
		return false;
	for (size_t i = 0; i < COUNT(STEADY); i++)
		if ((found.f_type & 0xffffffff) == STEADY[i])
			return true;
	return false;
}

static bool keeps_open; /* whether what is looked at stays open where its number would not be steady: each `never` */

/* Looks at what has this name. The kernel refuses a link on the way, so that it cannot be another thing. */
static bool look_now(const char *path, struct stat *found, char target[PATH_MAX])
{
	const struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
	int fd = (int)syscall(NR(openat2), AT_FDCWD, *path == '\0' ? "/" : path, &how, sizeof how);
	if (fd < 0)
		return false;
	bool is_well = fstat(fd, found) == 0;
	if (is_well && target != NULL && S_ISLNK(found->st_mode)) {
		ssize_t length = readlinkat(fd, "", target, PATH_MAX - 1);
		is_well = length >= 0;
		target[is_well ? length : 0] = '\0';
	}
	int error = errno;
	if (!keeps_open || has_steady_numbers(fd))
		close(fd);
	errno = error;
	return is_well;
}

/* A user's own program (FUSE) can show anybody as an owner: all that it shows is that user's. */
static bool look(const char *path, struct stat *found, char target[PATH_MAX])
{
	const struct mount *on = mount_of(*path == '\0' ? "/" : path);
	if (!is_answering(path)) {
		errno = EHOSTDOWN;
		return false;
	}
	bool is_there = look_now(path, found, target);
	if (is_there && on != NULL && on->user != 0)
		found->st_uid = on->user;
	return is_there;
}

/*
 * An entry that cannot be opened ends nothing: it is not granted, or kept back by its name. A file system, a user's own
 * (FUSE) or a damaged one, can answer with any errno; so "/" tells whether the entry is the reason, or this process can
 * open nothing more, to which its caller may have seen (RLIMIT_NOFILE): then a `never` would be found at no place.
 */
static void skip(const char *path, const char *call)
{
	struct stat found;
	int error = errno;
	if (look("/", &found, NULL))
		return;
	errno = error;
	die_errno("look at", path, call);
}

/*
 * Whether nobody but root and `owner` can put something else in the place of `entry` in `folder`. In a sticky folder others
 * can make entries, but not replace root's; a hard link to a file of root's can be theirs.
 */
static bool is_firm(const struct stat *folder, const struct stat *entry, uid_t owner)
{
	bool is_alone = S_ISDIR(entry->st_mode) || entry->st_nlink == 1;
	if (folder->st_uid != 0 && folder->st_uid != owner)
		return false;
	if ((folder->st_mode & (S_IWGRP | S_IWOTH)) == 0)
		return true;
	return (folder->st_mode & S_ISVTX) != 0 && (entry->st_uid == 0 || entry->st_uid == owner) && is_alone;
}

/* Puts where a link leads before the names that are still to come, if all of them fit behind the folder of the link. */
static bool put_before(const char *target, char rest[2 * PATH_MAX], const char *folder)
{
	char both[2 * PATH_MAX];
	if (snprintf(both, sizeof both, "%s/%s", target, rest) >= (int)(sizeof both - strlen(folder) - 1))
		return false;
	strcpy(rest, both);
	return true;
}

/* Takes the next name off `rest` and adds it to `path`. @return false for one that is not to be looked at: "." and ".." */
static bool take_name(char rest[2 * PATH_MAX], char path[2 * PATH_MAX])
{
	char *name = rest + strspn(rest, "/");
	size_t length = strcspn(name, "/"), end = strlen(path);
	bool is_up = length == 2 && strncmp(name, "..", 2) == 0;
	bool is_name = !is_up && length > 0 && !(length == 1 && *name == '.');
	if (is_up && end > 0)
		*strrchr(path, '/') = '\0';
	if (is_name)
		snprintf(path + end, 2 * PATH_MAX - end, "/%.*s", (int)length, name);
	memmove(rest, name + length, strlen(name + length) + 1);
	return is_name;
}

/* @param owner who may decide besides root where a link leads */
static void find_place(const char *path, uid_t owner, struct place *place)
{
	char rest[2 * PATH_MAX], folder_path[2 * PATH_MAX], target[PATH_MAX];
	struct stat folder, entry;
	bool is_seen = true;
	int links = 0;
	memset(place, 0, sizeof *place);
	snprintf(rest, sizeof rest, "%s", path);
	while (*rest != '\0') {
		strcpy(folder_path, place->path);
		if (!take_name(rest, place->path) || !is_seen)
			continue;
		bool is_there = false;
		memset(&entry, 0, sizeof entry);
		entry.st_uid = (uid_t)-1; /* what is not there is nobody's */
		if (look(folder_path, &folder, NULL)) {
			add_above(&folder);
			is_there = look(place->path, &entry, target);
			if (*place->through == '\0' && !is_firm(&folder, &entry, owner))
				strcpy(place->through, *folder_path == '\0' ? "/" : folder_path);
		}
		if (!is_there) {
			place->error = errno == ENOENT || errno == ENOTDIR ? 0 : errno;
			skip(path, "openat2");
			is_seen = false;
			continue;
		}
		if (!S_ISLNK(entry.st_mode))
			continue;
		bool is_believed = *place->through == '\0' && (entry.st_uid == 0 || entry.st_uid == owner);
		if (is_believed && ++links <= LINKS_MAX && put_before(target, rest, folder_path)) {
			strcpy(place->path, *target == '/' ? "" : folder_path);
		} else {
			strcpy(place->link, place->path);
			is_seen = false;
		}
	}
	if (is_seen && !look(place->path, &place->found, NULL)) {
		skip(path, "openat2");
		memset(&place->found, 0, sizeof place->found);
	}
}

static bool tells; /* whether standard output is told what came of each `never`: the verb `never` */

static void tell(const char *kind, const char *name, const char *path)
{
	if (tells)
		printf("%s%c%s%c%s%c", kind, '\0', name, '\0', path, '\0');
}

/*
 * Adds a `never`. What it is counts too, and not its place alone, but for a file with another name at a place that
 * others control: they can put a hard link to a third user's file there.
 */
static void add_never(const char *path, const char *source, uid_t owner)
{
	static struct place place;
	require_path(&nevers, path, source);
	keeps_open = true;
	if (owner != 0 && is_left(path)) { /* the account's own, on what it leaves out: it is kept back with all there */
		memset(&place, 0, sizeof place);
		snprintf(place.path, sizeof place.path, "%s", path);
	} else {
		find_place(path, owner, &place);
	}
	keeps_open = false;
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
	nevers.at[nevers.count] = strdup(at);
	if (nevers.at[nevers.count++] == NULL)
		die_errno("keep back", path, "malloc");
}

/*
 * A mount point that the account leaves out: kept back by its name, and not looked at. It is not what it is that counts: another
 * mount of the same can be in the scope.
 */
static void add_mount(const char *path, const char *source)
{
	require_path(&nevers, path, source);
	nevers.at[nevers.count] = strdup(path);
	if (nevers.at[nevers.count++] == NULL)
		die_errno("keep back", path, "malloc");
	left.at[left.count++] = nevers.at[nevers.count - 1];
}

/*
 * Tells of a file that its file system lets nobody read (a server that refuses root, SELinux): no run can read it, so it is
 * not one that came while a run was on. Asked, and not opened: to open can have effects.
 */
static void tell_refusal(int fd, const char *path)
{
	char *folder = strdup(path);
	if (folder == NULL)
		die_errno("look at", path, "malloc");
	if (syscall(NR(faccessat2), fd, "", R_OK, AT_EMPTY_PATH | AT_EACCESS) != 0 && errno != ENOSYS) {
		folder[strrchr(path, '/') - path] = '\0';
		tell("refuses", *folder == '\0' ? "/" : folder, path);
	}
	free(folder);
}

/*
 * Grants reading of `name` in the open folder `parent` and of all below it, less every `never`. Landlock only grants: where
 * a `never` is below, each of its siblings is granted by itself, along the path. Then the folder itself can be listed,
 * and with it, since READ_DIR reaches all below, the names in the `never`; their contents cannot be read. A file that comes
 * into such a folder later is not granted.
 * @param ruleset NO_RULESET: only tells what of it cannot be read
 */
enum { NO_RULESET = -1 };
static void grant_reading(int ruleset, int parent, const char *name, const char *path)
{
	const struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
	struct stat found;
	if (is_never(path) || !is_answering(path))
		return;
	long fd = syscall(NR(openat2), parent, name, &how, sizeof how);
	if (fd < 0)
		return skip(path, "openat2");
	bool is_there = fstat((int)fd, &found) == 0;
	if (!is_there)
		skip(path, "fstat");
	if (!is_there || is_one_of(&nevers, &found)) {
		close((int)fd);
		return;
	}
	bool leads_to_never = S_ISDIR(found.st_mode) && (has_never_below(path) || is_one_of(&above, &found));
	if (ruleset == NO_RULESET && S_ISREG(found.st_mode))
		tell_refusal((int)fd, path);
	if (S_ISREG(found.st_mode) || (S_ISDIR(found.st_mode) && !leads_to_never)) {
		grant(ruleset, (int)fd, &found, READ, path);
	} else if (S_ISDIR(found.st_mode)) {
		grant(ruleset, (int)fd, &found, READ_DIR, path);
		int readable = openat((int)fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		DIR *folder = readable < 0 ? NULL : fdopendir(readable);
		if (folder == NULL)
			skip(path, "opendir");
		for (struct dirent *entry; folder != NULL && (errno = 0, entry = readdir(folder)) != NULL;) {
			char *child;
			if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
				continue;
			if (asprintf(&child, "%s/%s", strcmp(path, "/") == 0 ? "" : path, entry->d_name) < 0)
				die_errno("list", path, "malloc");
			grant_reading(ruleset, readable, entry->d_name, child);
			free(child);
		}
		if (folder != NULL && errno != 0)
			skip(path, "readdir");
		if (folder != NULL)
			closedir(folder);
	} /* devices, FIFOs and sockets are never opened, and links need no right */
	close((int)fd);
}

/* ---- What is believed ------------------------------------------------------------------------------------------- */

/* Refuses a file that anyone but root could change, in its place or by putting another one there. */
static void require_roots_own(const char *path)
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
		/* In a sticky folder only its owner can put something else in the place of root's. */
		bool is_sticky = S_ISDIR(found.st_mode) && (found.st_mode & S_ISVTX) != 0;
		if ((found.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !is_sticky)
			die(REFUSED, "trust", path, "\"%s\" can be written by others (mode %04o)", part,
			    found.st_mode & 07777U);
	}
	free(full);
}

/* Refuses to be another copy than the installed one, or one that others can change. */
static void require_own_place(void)
{
	struct stat running, installed;
	require_roots_own(SELF_PATH);
	if (stat("/proc/self/exe", &running) != 0 || stat(SELF_PATH, &installed) != 0)
		die_errno("find", SELF_PATH, "stat");
	if (running.st_dev != installed.st_dev || running.st_ino != installed.st_ino)
		die(REFUSED, "run", "launch", "it is another file than \"" SELF_PATH "\"");
}

static void require_service(void)
{
	if (getuid() != SERVICE_UID || geteuid() != SERVICE_UID)
		die(REFUSED, "run", SELF_PATH, "it was made for uid %u, and is run by uid %u", (unsigned)SERVICE_UID,
		    (unsigned)getuid());
}

/* ---- Capabilities ----------------------------------------------------------------------------------------------- */

static const uint32_t THE_ONE = 1U << CAP_DAC_READ_SEARCH;

static void set_capabilities(uint32_t permitted, uint32_t effective, uint32_t inheritable)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
	struct __user_cap_data_struct data[2] = {
		{.permitted = permitted, .effective = effective, .inheritable = inheritable}};
	if (syscall(NR(capset), &header, data) != 0)
		die_errno("set", "capabilities", "capset");
}

/* Inside a jail capset() is refused: there no_new_privs has seen to it that there are none. */
static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
	const struct __user_cap_data_struct none[2] = {{0}, {0}};
	if (syscall(NR(capset), &header, none) != 0 && errno != EPERM)
		die_errno("set", "capabilities", "capset");
}

static void require_capability(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
	struct __user_cap_data_struct data[2];
	if (syscall(NR(capget), &header, data) != 0)
		die_errno("get", "capabilities", "capget");
	if ((data[0].permitted & THE_ONE) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		die(REFUSED, "lend", "cap_dac_read_search",
		    "the caller has set no_new_privs, so that no program it starts can gain anything");
	if ((data[0].permitted & THE_ONE) == 0)
		die(REFUSED, "lend", "cap_dac_read_search",
		    "\"" SELF_PATH "\" has not got it: setcap cap_dac_read_search=ep, on a file system without nosuid");
}

/* ---- Steps that `send`, `receive` and `lend` have in common ----------------------------------------------------- */

static char *const ENVIRONMENT[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};

/*
 * Refuses a caller's descriptor that is a place: a folder or a file, open or as a path. From one in a mount namespace of the
 * caller's own, /proc/self/fd/N leads up through his mount point, and so into a folder that a rule grants. Below a pipe, a
 * socket or a character device there is nothing. The lock is a plain file; only `receive`, which has no capability, gets one.
 */
static void require_no_places(int last)
{
	for (int fd = 0; fd <= last; fd++) {
		char name[32];
		struct stat found;
		int flags = fcntl(fd, F_GETFL);
		if (flags < 0 && errno == EBADF && fd > STDERR_FILENO)
			continue; /* as in doctor's trial of `receive` */
		bool is_open = flags >= 0 && (flags & O_PATH) == 0 && fstat(fd, &found) == 0;
		bool is_taken = is_open && (fd == LOCK ? S_ISREG(found.st_mode)
						       : S_ISFIFO(found.st_mode) || S_ISSOCK(found.st_mode) ||
								 S_ISCHR(found.st_mode));
		snprintf(name, sizeof name, "descriptor %d", fd);
		if (!is_taken)
			die(REFUSED, "use", name, "it is not %s",
			    fd == LOCK ? "a plain file" : "a pipe, a socket or a character device");
	}
}

/* From here on nothing of the caller's state is left: signals, mask, umask, descriptors above `last`, cwd. */
static void forget_caller(unsigned last)
{
	static const char as_it_comes[64]; /* the kernel's struct sigaction, of zeros: SIG_DFL */
	sigset_t none;
	/* Not by signal(3), which keeps libc's own two back; KILL and STOP refuse, as they may. */
	for (int number = 1; number < NSIG; number++)
		syscall(NR(rt_sigaction), number, as_it_comes, NULL, (size_t)8);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(077);
	if (syscall(NR(close_range), last + 1, ~0U, 0) != 0)
		for (int fd = (int)last + 1; fd < 65536; fd++) /* before Linux 5.9 */
			close(fd);
	require_no_places((int)last);
	if (chdir("/") != 0)
		die_errno("enter", "/", "chdir");
}

/* Dies with the caller. To be called after the last change of credentials, which would undo it. */
static void die_with_parent(int signal_number, pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0)
		die_errno("end with", "the caller", "prctl");
	if (getppid() != parent)
		exit(REFUSED); /* it died before: nobody is left to read a line */
}

/* rsync keeps a descriptor open for each folder of a path. PATH_MAX has room for 2,047 of them. */
enum { FILES_MAX = 4096 };

static void limit(__rlimit_resource_t what, rlim_t most)
{
	struct rlimit now;
	if (getrlimit(what, &now) != 0)
		die_errno("set", "limits", "getrlimit");
	if (now.rlim_max > most)
		now.rlim_max = most;
	now.rlim_cur = now.rlim_max;
	if (setrlimit(what, &now) != 0)
		die_errno("set", "limits", "setrlimit");
}

static _Noreturn void become(const char *program, char *const arguments[], char *const environment[])
{
	execve(program, arguments, environment);
	die(errno == ENOENT ? NO_PROGRAM : REFUSED, "run", program, "execve: %s", strerror(errno));
}

/*
 * No core dump, which would hold what was read. A limit of 0 does not keep the kernel from piping one to the program in
 * core_pattern, and 1 does (core(5)); a caller's hard limit of 0 cannot be raised, and programs there go by it.
 */
static void limit_core(void)
{
	limit(RLIMIT_CORE, 1);
}

/* The last steps into the jail, in the one order that works: each takes something away that those before it need. */
static _Noreturn void become_confined(int ruleset, int verb, char *const arguments[], char *const environment[])
{
	limit_core();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		die_errno("confine", RSYNC, "prctl");
	if (syscall(NR(landlock_restrict_self), ruleset, 0) != 0)
		die_errno("confine", RSYNC, "landlock_restrict_self");
	close(ruleset);
	dprintf(STDERR_FILENO, "dialback-launch: landlock_abi %d%s\n", landlock_abi, has_own_root ? " own_root" : "");
	allow_calls(verb);
	become(RSYNC, arguments, environment);
}

/* ---- Libraries that rsync is given ------------------------------------------------------------------------------- */

/* src/launcher/linkat.c and mountpoints.c, compiled: parts of this file, so that nobody can give rsync other ones. */
__asm__(".pushsection .rodata\n"
	"linkat_library: .incbin \"" LINKAT_LIBRARY "\"\n"
	"linkat_library_end:\n"
	"mountpoints_library: .incbin \"" MOUNTPOINTS_LIBRARY "\"\n"
	"mountpoints_library_end:\n"
	".popsection");
extern const char linkat_library[], linkat_library_end[], mountpoints_library[], mountpoints_library_end[];

/* Gives rsync a library by a descriptor of its own: no rule lets it open a file for it. */
static char *make_preload(const char *library, const char *end)
{
	char *preload;
	size_t size = (size_t)(end - library);
	/* It is mapped and never executed, which the administrator can demand of such files (vm.memfd_noexec). */
	int fd = memfd_create("library", MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create("library", MFD_ALLOW_SEALING);
	if (fd < 0 || write(fd, library, size) != (ssize_t)size ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0 ||
	    asprintf(&preload, "LD_PRELOAD=/proc/self/fd/%d", fd) < 0)
		die_errno("give rsync", "its library", "memfd_create");
	return preload;
}

/* ---- send ------------------------------------------------------------------------------------------------------- */

static bool is_run_name(const char *run)
{
	const char *name = strrchr(run, '/');
	return run[0] == '/' && strncmp(name, "/run-", 5) == 0 && strlen(name) == strlen("/run-XXXXXX") &&
	       strspn(name + 5, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == 6;
}

/* Opens RUN: a folder of ours that nobody else can look into, by its own name. */
static int open_run(const char *run)
{
	struct stat found;
	if (!is_run_name(run))
		die(REFUSED, "use", run, "it is not called /.../run-XXXXXX");
	/* Not through /proc/PID/root and the like: in a mount namespace of the caller's own, RUN/rsyncd can be any folder. */
	const struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS};
	int fd = (int)syscall(NR(openat2), AT_FDCWD, run, &how, sizeof how);
	if (fd < 0 && errno == ENOSYS) /* before Linux 5.6: for `lend`, since there is no Landlock either */
		fd = open(run, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &found) != 0)
		die_errno("use", run, "open");
	if (found.st_uid != SERVICE_UID || (found.st_mode & 07777) != 0700)
		die(REFUSED, "use", run, "it belongs to uid %u with mode %04o, and should be ours with 0700", found.st_uid,
		    found.st_mode & 07777U);
	return fd;
}

/* Reads a whole file of RUN, NUL-terminated. */
static char *read_scope(int run, size_t *size)
{
	struct stat found;
	char *text = malloc(SCOPE_BYTES + 1);
	int fd = openat(run, "scope", O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (text == NULL || fd < 0 || fstat(fd, &found) != 0)
		die_errno("read", "RUN/scope", "open");
	if (!S_ISREG(found.st_mode) || found.st_uid != SERVICE_UID || (found.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		die(REFUSED, "read", "RUN/scope", "it is not a plain file that only we can write");
	if (found.st_size > SCOPE_BYTES)
		die(REFUSED, "read", "RUN/scope", "it has more than %d bytes", SCOPE_BYTES);
	ssize_t n = 0;
	*size = 0;
	while (*size < SCOPE_BYTES && (n = read(fd, text + *size, SCOPE_BYTES - *size)) > 0)
		*size += (size_t)n;
	if (n < 0)
		die_errno("read", "RUN/scope", "read");
	text[*size] = '\0';
	close(fd);
	return text;
}

/* Whether rsync may list every folder: some rsyncs open folders above the roots for reading (client/trial.ts). */
static bool may_list_all;

/* Takes RUN/scope apart: records `root PATH`, `never PATH`, `mount PATH` and `library PATH`, a NUL behind each; and `list /`. */
static void take_scope(const char *text, size_t size)
{
	if (size == 0 || text[size - 1] != '\0')
		die(REFUSED, "use", "RUN/scope", "it does not end with a whole record");
	for (const char *record = text; record < text + size; record += strlen(record) + 1) {
		if (strncmp(record, "root ", 5) == 0)
			add_path(&roots, record + 5, "RUN/scope");
		else if (strncmp(record, "never ", 6) == 0)
			add_never(record + 6, "RUN/scope", SERVICE_UID);
		else if (strncmp(record, "mount ", 6) == 0)
			add_mount(record + 6, "RUN/scope");
		else if (strncmp(record, "library ", 8) == 0)
			add_path(&libraries, record + 8, "RUN/scope");
		else if (strcmp(record, "list /") == 0)
			may_list_all = true; /* the account can get no more by it than by `root /` with a `never` below */
		else
			die(REFUSED, "use", "RUN/scope", "it has a record of another kind");
	}
	if (roots.count == 0)
		die(REFUSED, "use", "RUN/scope", "it names no root");
}

/* A line of the administrator's list: an absolute path, or '#' and a comment. */
static void take_never_line(char *line, size_t length)
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
	if (line[length - 1] == ' ') /* one that is meant can be kept back with its folder */
		die(REFUSED, "use", NEVER_PATH, "a line of it ends with a blank: %.200s", line);
	add_never(line, NEVER_PATH, 0);
}

/* The administrator's list, which nobody below root can shorten. */
static void take_never_list(void)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t length;
	require_roots_own(NEVER_PATH);
	FILE *list = fopen(NEVER_PATH, "re");
	if (list == NULL)
		die_errno("read", NEVER_PATH, "open");
	while ((errno = 0, length = getline(&line, &room, list)) >= 0)
		take_never_line(line, (size_t)length);
	if (errno != 0 || ferror(list))
		die_errno("read", NEVER_PATH, "read");
	free(line);
	fclose(list);
}

/* Ends a name of mountinfo at its blank; other blanks and the like stand there as \040. */
static void unfold(char *name)
{
	char *to = name;
	for (const char *from = name; *from != ' '; to++) {
		if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3) {
			*to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* Who mounted a file system of FUSE; else 0. @param type the last fields of its line: " - TYPE SOURCE OPTIONS" */
static uid_t fuse_user(const char *type)
{
	const char *options = strrchr(type, ' ');
	const char *user = strncmp(type, " - fuse", 7) == 0 ? strstr(options, "user_id=") : NULL;
	return user != NULL && (user[-1] == ',' || user[-1] == ' ') ? (uid_t)strtoul(user + 8, NULL, 10) : 0;
}

/* A line of mountinfo (proc_pid_mountinfo(5)): where devices, processes and the kernel's own are mounted is never read. */
static void take_mount(const char *whole)
{
	static const char *const TYPES[] = {"devtmpfs", "devpts", "proc",	"sysfs",
					    "debugfs",	"tracefs", "securityfs", "configfs"};
	char *line = strdup(whole); /* the table keeps it */
	if (line == NULL)
		die_errno("read", "/proc/self/mountinfo", "malloc");
	char *fields[5] = {line}, *type = strstr(line, " - ");
	for (size_t i = 1; i < COUNT(fields) && fields[i - 1] != NULL; i++)
		fields[i] = (fields[i] = strchr(fields[i - 1], ' ')) == NULL ? NULL : fields[i] + 1;
	char *device = fields[2], *inner = fields[3], *path = fields[4];
	if (type == NULL || path == NULL || path >= type)
		die(REFUSED, "read", "/proc/self/mountinfo", "a line of it is not understood");
	unfold(path);
	unfold(inner);
	unfold(device);
	if (!is_shortest(path)) { /* "/x//deleted", and what is too long for a path: nothing is reached by that */
		free(line);
		return;
	}
	for (size_t i = 0; i < COUNT(TYPES); i++) {
		size_t n = strlen(TYPES[i]);
		if (strncmp(type + 3, TYPES[i], n) == 0 && type[3 + n] == ' ') {
			add_never(path, "/proc/self/mountinfo", 0);
			free(line);
			return;
		}
	}
	if (mount_count == MOUNTS_MAX)
		die(REFUSED, "read", "/proc/self/mountinfo", "more than %d file systems are mounted", MOUNTS_MAX);
	mount_table[mount_count++] = (struct mount){device, inner, path, fuse_user(type)};
	if (strcmp(path, "/") == 0 || mounted.count == PATHS_MAX)
		return;
	mounted.at[mounted.count] = strdup(path);
	if (mounted.at[mounted.count++] == NULL)
		die_errno("read", "/proc/self/mountinfo", "malloc");
}

/* Devices, processes and the kernel's own: where they are by custom, and where they are mounted besides. */
static void take_machine(void)
{
	char *line = NULL;
	size_t room = 0;
	add_never("/dev", "launch", 0); /* a container's can be a tmpfs */
	add_never("/proc", "launch", 0);
	add_never("/sys", "launch", 0);
	FILE *table = fopen("/proc/self/mountinfo", "re");
	if (table == NULL)
		die_errno("read", "/proc/self/mountinfo", "open");
	while ((errno = 0, getline(&line, &room, table)) >= 0)
		take_mount(line);
	if (errno != 0 || ferror(table))
		die_errno("read", "/proc/self/mountinfo", "read");
	free(line);
	fclose(table);
}

/* What is left of `path` below `folder`: "", or from the slash on. */
static const char *below(const char *folder, const char *path)
{
	const char *rest = strcmp(folder, "/") == 0 ? path : path + strlen(folder);
	return strcmp(rest, "/") == 0 ? "" : rest;
}

/*
 * Keeps back the same places as other mounts of their file systems show them: no folder above these needs to be one that
 * leads to a `never` by its own name. What is left out is left out by its name alone.
 * @param first of the list: those before are the machine's own, of which each mount is found by its type
 */
static void add_other_mounts(size_t first)
{
	for (size_t i = first, end = nevers.count; i < end; i++) {
		const struct mount *own = mount_of(nevers.at[i]);
		char *inner, *name;
		bool is_mount = false;
		for (size_t each = 0; each < left.count; each++)
			is_mount = is_mount || left.at[each] == nevers.at[i];
		if (own == NULL || is_mount)
			continue;
		bool is_whole = strcmp(own->inner, "/") == 0;
		if (asprintf(&inner, "%s%s", is_whole ? "" : own->inner, below(own->path, nevers.at[i])) < 0)
			die_errno("keep back", nevers.at[i], "malloc");
		for (const struct mount *other = mount_table; other < mount_table + mount_count; other++) {
			if (other == own || strcmp(other->device, own->device) != 0 ||
			    !is_within(other->inner, *inner == '\0' ? "/" : inner))
				continue;
			const char *rest = below(other->inner, inner);
			bool is_top = strcmp(other->path, "/") == 0;
			if (asprintf(&name, "%s%s", is_top && *rest != '\0' ? "" : other->path, rest) < 0)
				die_errno("keep back", nevers.at[i], "malloc");
			if (mount_of(name) != other || !is_shortest(name) || is_never(name)) {
				free(name);
				continue;
			}
			if (nevers.count == PATHS_MAX)
				die(REFUSED, "keep back", nevers.at[i], "it is mounted at too many places");
			nevers.at[nevers.count++] = name;
		}
		free(inner);
	}
}

static bool is_rate(const char *kib)
{
	return strlen(kib) > 0 && strlen(kib) <= 9 && strspn(kib, "0123456789") == strlen(kib);
}

static _Noreturn void send_verb(const char *run, const char *kib)
{
	pid_t parent = getppid();
	size_t size;
	char *config, *rate = NULL, *state, *mounts, *preload;
	forget_caller(STDERR_FILENO);
	require_service();
	require_own_place();
	require_roots_own(RSYNC_PATH);
	require_capability();
	set_capabilities(THE_ONE, 0, 0); /* RUN is ours to open, or it is none of ours */
	int run_fd = open_run(run);
	char *scope = read_scope(run_fd, &size);
	int rsyncd = openat(run_fd, "rsyncd", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat found;
	if (rsyncd < 0 || fstat(rsyncd, &found) != 0)
		die_errno("use", "RUN/rsyncd", "open");
	if (found.st_uid != SERVICE_UID)
		die(REFUSED, "use", "RUN/rsyncd", "it belongs to uid %u, and should be ours", found.st_uid);
	if (kib != NULL && !is_rate(kib))
		die(REFUSED, "use", kib, "it is no number of KiB a second");
	if (asprintf(&config, "--config=%s/rsyncd/rsyncd.conf", run) < 0 ||
	    asprintf(&mounts, "DIALBACK_MOUNTS=%s/rsyncd", run) < 0 ||
	    (kib != NULL && asprintf(&rate, "--bwlimit=%s", kib) < 0) || (state = strdup(run)) == NULL)
		die_errno("use", run, "malloc");

	set_capabilities(THE_ONE, THE_ONE, THE_ONE);
	int ruleset = refuse_everything(1);
	*strrchr(state, '/') = '\0';
	add_path(&nevers, state, "launch"); /* keys, tickets and locks; of it only RUN/rsyncd is granted, below */
	take_machine();
	size_t listed = nevers.count;
	take_never_list();
	take_scope(scope, size);
	add_other_mounts(listed);
	for (size_t i = 0; i < roots.count; i++)
		grant_reading(ruleset, AT_FDCWD, roots.at[i], roots.at[i]);
	for (size_t i = 0; i < libraries.count; i++)
		grant_reading(ruleset, AT_FDCWD, libraries.at[i], libraries.at[i]);
	if (may_list_all)
		grant_path(ruleset, "/", READ_DIR, true);
	grant_path(ruleset, "/etc/ld.so.cache", READ_FILE, false);
	grant_path(ruleset, LOADER_PATH, RUN_IT, false); /* a static rsync has none */
	grant_path(ruleset, RSYNC, RUN_IT, true);
	grant(ruleset, rsyncd, &found, READ, "RUN/rsyncd");

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0) != 0)
		die_errno("lend", "cap_dac_read_search", "prctl");
	limit(RLIMIT_NOFILE, FILES_MAX);
	die_with_parent(SIGKILL, parent);
	char *const arguments[] = {"rsync", "--server", "--daemon", config, rate == NULL ? "." : rate,
				   rate == NULL ? NULL : ".", NULL};
	preload = make_preload(mountpoints_library, mountpoints_library_end);
	char *const environment[] = {ENVIRONMENT[0], ENVIRONMENT[1], preload, mounts, NULL};
	become_confined(ruleset, SEND, arguments, environment);
}

/* ---- never ------------------------------------------------------------------------------------------------------- */

/*
 * Says where each `never` of both lists is, by three texts with a NUL behind each (see `tell`): what `send` goes by. And which of
 * the files that `send` grants one by one no run can read.
 */
static _Noreturn void never_verb(const char *run)
{
	size_t size;
	forget_caller(STDERR_FILENO);
	require_service();
	require_own_place();
	require_capability();
	set_capabilities(THE_ONE, 0, 0); /* RUN is ours to open, or it is none of ours */
	char *scope = read_scope(open_run(run), &size);
	set_capabilities(THE_ONE, THE_ONE, 0);
	take_machine();
	tells = true;
	size_t listed = nevers.count;
	take_never_list();
	take_scope(scope, size);
	add_other_mounts(listed);
	for (size_t i = 0; i < roots.count; i++)
		grant_reading(NO_RULESET, AT_FDCWD, roots.at[i], roots.at[i]);
	exit(fflush(stdout) == 0 ? 0 : REFUSED);
}

/* ---- A root of its own ------------------------------------------------------------------------------------------ */

/* Read by everybody; without a capability these give nothing that the account has not got. */
static const char *const COMMON[] = {"/lib",	       "/lib64",	 "/usr/lib",		"/usr/lib64", "/etc/ld.so.cache",
				     "/etc/localtime", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group"};

/* Puts a file, a folder with all that is mounted below, or a link, to the same place below `root`. */
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

/* Covers all in a folder that is none of these paths and does not lead to one: older snapshots, records, journal, lock. */
static bool cover_others(const char *folder, char *const paths[], int count)
{
	bool is_well = true;
	struct stat found;
	DIR *list = opendir(folder);
	for (struct dirent *entry; list != NULL && is_well && (entry = readdir(list)) != NULL;) {
		char *path;
		bool is_one = false, leads = false;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (asprintf(&path, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, entry->d_name) < 0)
			return false;
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

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0;
}

/*
 * Enters namespaces of its own, in which there are these folders, what rsync is made of, and nothing else: no other client or
 * snapshot, no store.json, no host.toml, no home. Landlock does not keep the receiver from changing the modes, times and xattrs
 * of what the account owns; that there is no way to it does.
 * @param shelf the one folder that all of them are in: a link across two mounts would be refused
 */
static bool enter_own_root(const char *shelf, char *const paths[], int count)
{
	static const char *const PLACES[] = {"/mnt", "/media", "/tmp"}; /* one of them, to build it in */
	char uids[64], gids[64];
	const char *root = NULL;
	for (size_t i = 0; root == NULL && i < COUNT(PLACES); i++)
		if (!is_within(PLACES[i], shelf) && !is_within(PLACES[i], SELF_PATH) && access(PLACES[i], F_OK) == 0)
			root = PLACES[i];
	snprintf(uids, sizeof uids, "%u %u 1\n", getuid(), getuid());
	snprintf(gids, sizeof gids, "%u %u 1\n", getgid(), getgid());
	errno = ENOSYS;
	/* Dumpable again: as a file with a capability it is not, and then /proc/self is root's. */
	if (root == NULL || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0 ||
	    unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID) != 0 || !write_text("/proc/self/setgroups", "deny") ||
	    !write_text("/proc/self/uid_map", uids) || !write_text("/proc/self/gid_map", gids) ||
	    mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0 ||
	    mount("dialback", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0755") != 0)
		return false;
	for (size_t i = 0; i < COUNT(COMMON); i++)
		if (!bring(root, COMMON[i], false))
			return false;
	/* /proc: rsync changes the mode of what it has open by /proc/self/fd. */
	return bring(root, RSYNC, true) && bring(root, SELF_PATH, true) && bring(root, "/dev/null", true) &&
	       bring(root, "/proc", true) && bring(root, shelf, true) && chdir(root) == 0 &&
	       syscall(NR(pivot_root), ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 && chdir("/") == 0 &&
	       mkdir("/.empty", 0) == 0 && close(open("/.nothing", O_CREAT | O_CLOEXEC, 0)) == 0 &&
	       (strcmp(shelf, paths[0]) == 0 || cover_others(shelf, paths, count)) &&
	       mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) == 0;
}

static volatile pid_t inner; /* the first process of the new PID namespace */

static void pass_on_signal(int number)
{
	kill(inner, number == SIGALRM ? SIGKILL : number);
	alarm(10); /* what a receiver needs to keep a half-arrived file, and no more */
}

/*
 * Goes on as the first process of the PID namespace: what it leaves behind ends with it, and to what is outside it can send
 * no signal. The outer process does nothing but wait, and ends as the inner one did.
 */
static void become_first(void)
{
	int status;
	inner = fork();
	if (inner < 0)
		die_errno("make", "a process of its own", "fork");
	if (inner == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
			die_errno("end with", "the caller", "prctl");
		limit(RLIMIT_NPROC, 16); /* in a user namespace it counts what is in there alone (Linux 5.14): 4 are needed */
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

/* All of that, if the kernel lets the account do it, which another process finds out first: half of it would be no use. */
static bool try_own_root(const char *shelf, char *const paths[], int count)
{
	int status;
	pid_t child = fork();
	if (child == 0)
		_exit(enter_own_root(shelf, paths, count)				   ? 0
		      : errno == EPERM || errno == EACCES || errno == ENOSYS || errno == EINVAL || errno == ENOSPC ? 1
												      : 2);
	if (child < 0 || waitpid(child, &status, 0) != child)
		die_errno("make", "a root of its own", "fork");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
		return false; /* the kernel does not have it, or the administrator does not want it: the line says so */
	if (status != 0 || !enter_own_root(shelf, paths, count))
		die(REFUSED, "make", "a root of its own", "it works only half: \"%s\" could not be brought", shelf);
	set_capabilities(0, 0, 0); /* those of the new namespace, all of them */
	return true;
}

/* The folder that all of these are in. */
static char *common_folder(char *const paths[], int count)
{
	char *common = strdup(paths[0]);
	for (int i = 1; i < count && common != NULL; i++)
		while (!is_within(common, paths[i])) {
			char *slash = strrchr(common, '/');
			slash[slash == common ? 1 : 0] = '\0';
		}
	if (common == NULL)
		die_errno("use", paths[0], "malloc");
	if (strcmp(common, "/") == 0)
		die(REFUSED, "use", paths[0], "the folders have no folder in common");
	return common;
}

/* ---- receive ---------------------------------------------------------------------------------------------------- */

/* How many folders stand before the "--": one at least, each of them there, and by its own name. */
static int count_folders(int count, char *arguments[])
{
	int end = 0;
	for (; end < count && strcmp(arguments[end], "--") != 0; end++) {
		char *full = is_shortest(arguments[end]) ? realpath(arguments[end], NULL) : NULL;
		if (full == NULL || strcmp(full, arguments[end]) != 0)
			die(REFUSED, "use", arguments[end], "a folder is to be there, and named by its path without links");
		free(full);
	}
	if (end == 0 || end == count)
		die(REFUSED, "run", "receive", "it takes TREE [LINKROOT...] -- ARGUMENT...");
	return end;
}

static _Noreturn void receive_verb(int count, char *arguments[])
{
	pid_t parent = getppid();
	forget_caller(LOCK);
	set_capabilities(0, 0, 0);
	require_own_place();
	require_roots_own(RSYNC_PATH);
	int end = count_folders(count, arguments);
	char *shelf = common_folder(arguments, end);
	die_with_parent(SIGTERM, parent); /* not KILL: a receiver that may finish dying keeps a half-arrived file */
	has_own_root = try_own_root(shelf, arguments, end);
	if (has_own_root)
		become_first();
	int ruleset = refuse_everything(2);
	grant_path(ruleset, arguments[0], WRITE_INTO, true);
	for (int i = 1; i < end; i++)
		grant_path(ruleset, arguments[i], LINK_FROM, true);
	for (size_t i = 0; i < COUNT(COMMON); i++)
		grant_path(ruleset, COMMON[i], READ_FILE, false);
	grant_path(ruleset, "/dev/null", READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE, true);
	grant_path(ruleset, LOADER_PATH, RUN_IT, false);
	grant_path(ruleset, RSYNC, RUN_IT, true);
	grant_path(ruleset, SELF_PATH, RUN_IT, true); /* pump */

	limit(RLIMIT_NOFILE, FILES_MAX);
	char *tree, *environment[5] = {ENVIRONMENT[0], ENVIRONMENT[1], NULL, NULL, NULL};
	environment[2] = make_preload(linkat_library, linkat_library_end);
	if (asprintf(&tree, "DIALBACK_TREE=%s", arguments[0]) < 0)
		die_errno("use", arguments[0], "malloc");
	environment[3] = tree;
	arguments[end] = "rsync";
	become_confined(ruleset, RECEIVE, arguments + end, environment);
}

/* ---- place ------------------------------------------------------------------------------------------------------ */

/* env(1) is the remote shell of a restore (store/restore.ts): it starts the rsync that writes. */
static const char ENV[] = "/usr/bin/env";

/*
 * Root's restore: rsync reads what a client has sent, in a tree that the host's account owns, and writes with root's rights.
 * Whatever leads it elsewhere, the kernel lets it open, make, move and remove files below DIR alone. Modes, owners and times
 * Landlock does not cover. There is no seccomp filter, since this rsync needs what root may do, and makes devices.
 */
static _Noreturn void place_verb(int count, char *arguments[])
{
	pid_t parent = getppid();
	forget_caller(STDERR_FILENO);
	if (getuid() != 0 || geteuid() != 0)
		die(REFUSED, "run", "place", "it is for root alone");
	require_own_place();
	require_roots_own(RSYNC_PATH);
	require_roots_own(ENV);
	if (count < 4 || strcmp(arguments[2], "--") != 0)
		die(REFUSED, "run", "place", "it takes DIR TREE -- ARGUMENT...");
	count_folders(count, arguments);
	require_roots_own(arguments[0]);
	die_with_parent(SIGKILL, parent);
	arguments[2] = "rsync";
	/* Files must come back on an older kernel too. Root could go without a launcher as well. */
	if (syscall(NR(landlock_create_ruleset), NULL, (size_t)0, LANDLOCK_CREATE_RULESET_VERSION) < 2)
		become(RSYNC, arguments + 2, ENVIRONMENT);
	int ruleset = refuse_everything(2);
	grant_path(ruleset, arguments[0], known_rights & ~(EXECUTE | LANDLOCK_ACCESS_FS_IOCTL_DEV), true);
	grant_reading(ruleset, AT_FDCWD, arguments[1], arguments[1]); /* by no link: all above it is the account's */
	grant_path(ruleset, "/", READ_DIR, true); /* rsync opens each folder on its way; names below them can be listed */
	for (size_t i = 0; i < COUNT(COMMON); i++)
		grant_path(ruleset, COMMON[i], READ_FILE, false);
	grant_path(ruleset, "/dev/null", READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE, true);
	grant_path(ruleset, LOADER_PATH, RUN_IT, false);
	grant_path(ruleset, RSYNC, RUN_IT, true);
	grant_path(ruleset, ENV, RUN_IT, true);
	limit_core();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		die_errno("confine", RSYNC, "prctl");
	if (syscall(NR(landlock_restrict_self), ruleset, 0) != 0)
		die_errno("confine", RSYNC, "landlock_restrict_self");
	close(ruleset);
	become(RSYNC, arguments + 2, ENVIRONMENT);
}

/* ---- pump ------------------------------------------------------------------------------------------------------- */

/* Whether nothing can be read or written for so long, which it says; negative: however long that takes. */
static bool is_idle(int descriptor, short what, int idle_ms)
{
	struct pollfd each = {.fd = descriptor, .events = what};
	int ready;
	do
		ready = poll(&each, 1, idle_ms);
	while (ready < 0 && errno == EINTR);
	if (ready == 0)
		dprintf(STDERR_FILENO, "%s", IDLE);
	return ready == 0;
}

/*
 * Copies until the end. Not by splice(): from a socket into a pipe it waits for data with the pipe locked, and ssh, which
 * reads that pipe and does everything in one thread, would stand still with it.
 */
static int copy(int from, int to, const char *announce, int idle_ms)
{
	static char buffer[1 << 16];
	for (;;) {
		/* Who is to be first is waited for by others. */
		if (is_idle(from, POLLIN, announce == NULL ? idle_ms : -1))
			return 1;
		ssize_t n = read(from, buffer, sizeof buffer);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return 1;
		if (n > 0 && announce != NULL)
			dprintf(STDERR_FILENO, "%s", announce);
		if (n > 0)
			announce = NULL;
		for (ssize_t done = 0, more; done < n; done += more) {
			if (is_idle(to, POLLOUT, idle_ms))
				return 1;
			more = write(to, buffer + done, (size_t)(n - done));
			if (more < 0 && errno != EINTR)
				return 1;
			if (more < 0)
				more = 0;
		}
	}
}

/*
 * Two processes, one a way: neither holds the other up. What comes from the client may not cease for longer than `idle`
 * seconds, nor rsync not take it for so long. rsync's own --timeout on the receiving side does not see to that: its
 * generator sends keep-alives, and takes it for activity that a pipe accepts them.
 */
static int pump_verb(const char *idle)
{
	char *end;
	long seconds = strtol(idle, &end, 10);
	if (*end != '\0' || seconds < 1 || seconds > INT_MAX / 1000)
		die(REFUSED, "run", "pump", "its first argument is no number of seconds");
	syscall(NR(close_range), LOCK, ~0U, 0);
	drop_capabilities();
	require_no_places(TO_SSH);
	signal(SIGPIPE, SIG_IGN);
	/* rsync leaves its remote shell sockets that do not wait, and a channel's ends were grab's before. */
	for (int each = STDIN_FILENO; each <= TO_SSH; each++)
		if (each != STDERR_FILENO)
			fcntl(each, F_SETFL, 0);
	pid_t upward = fork();
	if (upward < 0)
		die_errno("run", "pump", "fork");
	if (upward == 0) { /* it ends when rsync does, or ssh */
		close(FROM_SSH);
		close(STDOUT_FILENO);
		_exit(copy(STDIN_FILENO, TO_SSH, NULL, -1));
	}
	close(TO_SSH); /* so that ssh sees rsync's end */
	close(STDIN_FILENO);
	/* When the connection ends, so does our standard output: else both rsyncs wait for each other. */
	return copy(FROM_SSH, STDOUT_FILENO, FIRST_BYTE, (int)(seconds * 1000));
}

/* ---- lend ------------------------------------------------------------------------------------------------------- */

/* One of sshd's variables as it is; NULL where sshd has not set it. */
static char *pass_on(const char *name)
{
	char *pair;
	const char *value = getenv(name);
	if (value == NULL)
		return NULL;
	if (asprintf(&pair, "%s=%s", name, value) < 0)
		die_errno("pass on", name, "malloc");
	return pair;
}

static _Noreturn void lend_verb(char *run)
{
	char *environment[5] = {ENVIRONMENT[0], ENVIRONMENT[1], NULL, NULL, NULL};
	size_t n = 2;
	pid_t parent = getppid();
	forget_caller(STDERR_FILENO);
	require_service();
	require_own_place();
	require_roots_own(DIALBACK_PATH);
	require_roots_own(RSYNC_PATH);
	require_capability();
	if (getxattr(RSYNC, "security.capability", NULL, 0) <= 0)
		die(REFUSED, "lend", "cap_dac_read_search", "\"%s\" has no capability to inherit: make install INHERITED=1", RSYNC);
	close(open_run(run));
	set_capabilities(THE_ONE, THE_ONE, THE_ONE);
	/* What was asked for, and by whom: dialback's gate judges the one and records the other. */
	char *passed[] = {pass_on("SSH_ORIGINAL_COMMAND"), pass_on("SSH_CONNECTION")};
	for (size_t i = 0; i < COUNT(passed); i++)
		if (passed[i] != NULL)
			environment[n++] = passed[i];
	die_with_parent(SIGKILL, parent);
	char *const arguments[] = {"dialback", "gate", "--run", run, NULL};
	become(DIALBACK_PATH, arguments, environment);
}

/* ----------------------------------------------------------------------------------------------------------------- */

int main(int count, char *arguments[])
{
	const char *verb = count > 1 ? arguments[1] : "";
	if (strcmp(verb, "send") == 0 && (count == 3 || count == 4))
		send_verb(arguments[2], arguments[3]);
	if (strcmp(verb, "never") == 0 && count == 3)
		never_verb(arguments[2]);
	if (strcmp(verb, "receive") == 0)
		receive_verb(count - 2, arguments + 2);
	if (strcmp(verb, "place") == 0)
		place_verb(count - 2, arguments + 2);
	if (strcmp(verb, "pump") == 0 && count >= 3) /* rsync adds words of its own: host and command */
		return pump_verb(arguments[2]);
	if (strcmp(verb, "lend") == 0 && count == 5 && strcmp(arguments[2], "gate") == 0 &&
	    strcmp(arguments[3], "--run") == 0)
		lend_verb(arguments[4]);
	die(REFUSED, "run", "launch", "its arguments are none of: send RUN [KIB]; never RUN; receive TREE [LINKROOT...] -- ARGUMENT...; "
				      "place DIR TREE -- ARGUMENT...; pump SECONDS; lend gate --run RUN");
}
