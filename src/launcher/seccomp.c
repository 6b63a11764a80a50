#include "seccomp.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#else
#error "made for x86-64 and arm64"
#endif
#define X32_BIT 0x40000000 /* __X32_SYSCALL_BIT; on arm64 no call has such a number */

static const struct calls COMMON_CALLS[] = {
	/* Memory: no program starts without. */
	ROW(ANY, 0, 0, NR(brk), NR(mmap), NR(munmap), NR(mremap), NR(mprotect), NR(madvise)),
	/* libc's start, locks and signal handlers: they affect only this process. */
	ROW(ANY, 0, 0, NR(set_tid_address), NR(set_robust_list), NR(rseq), NR(futex), NR(rt_sigaction), NR(rt_sigprocmask),
	    NR(rt_sigreturn), NR(restart_syscall), NR(getrandom), NR(exit), NR(exit_group)),
	/* Its own limits, not another process's. */
	ROW(EQUALS, 0, 0, NR(prlimit64)),
	/* Its ids, the time, the size of the memory (qsort asks), sleep (bwlimit). */
	ROW(ANY, 0, 0, NR(getpid), NR(getppid), NR(gettid), NR(getuid), NR(geteuid), NR(getgid), NR(getegid), NR(getgroups),
	    NR(uname), NR(sysinfo), NR(clock_gettime), NR(gettimeofday), NR(nanosleep), NR(clock_nanosleep)),
	/* Open descriptors: the sender can write only to the connection. */
	ROW(ANY, 0, 0, NR(read), NR(readv), NR(pread64), NR(write), NR(writev), NR(lseek), NR(close), NR(dup), NR(dup3),
	    NR(pselect6), NR(ppoll)),
	/* F_DUPFD, F_[GS]ETFD and F_[GS]ETFL: no locks, leases or signals. */
	ROW(AT_MOST, 1, F_SETFL, NR(fcntl)),
	/* A filter cannot see openat2's flags, which are in memory. */
	ROW(NOT_THERE, 0, 0, NR(openat2), NR(faccessat2), NR(clone3)),
	/* With EPERM, libacl 2.4 sets no ACL. */
	ROW(NOT_THERE, 0, 0, NR(setxattrat), NR(getxattrat), NR(listxattrat), NR(removexattrat)),
	/* Names and attributes, to read only. Landlock does not cover them. */
	ROW(ANY, 0, 0, NR(fstat), NR(newfstatat), NR(statx), NR(statfs), NR(fstatfs), NR(readlinkat), NR(faccessat),
	    NR(getdents64), NR(getcwd), NR(chdir), NR(fchdir), NR(umask), NR(fadvise64), NR(getxattr), NR(lgetxattr),
	    NR(fgetxattr), NR(listxattr), NR(llistxattr), NR(flistxattr)),
#ifdef __x86_64__
	/* The same under older names, which arm64 does not have. */
	ROW(ANY, 0, 0, NR(arch_prctl), NR(time), NR(dup2), NR(select), NR(poll), NR(getpgrp), NR(stat), NR(lstat),
	    NR(readlink), NR(access)),
#endif
};

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(field))
#define ANSWER(what) BPF_STMT(BPF_RET | BPF_K, (uint32_t)(what))
/* Skip this number of instructions if the test fails, or if it holds. */
#define UNLESS(test, value, skip) BPF_JUMP(BPF_JMP | (test) | BPF_K, (uint32_t)(value), 0, (skip))
#define IF(test, value, skip) BPF_JUMP(BPF_JMP | (test) | BPF_K, (uint32_t)(value), (skip), 0)

#define ADD(instruction) (*at++ = (struct sock_filter)instruction)

/* Adds the instructions for one call: at most 7. If it is another call, the filter goes on behind them. */
static struct sock_filter *add_call(struct sock_filter *at, long number, const struct calls *row)
{
	/* Both architectures are little-endian: the low word of an argument comes first. */
	size_t low = offsetof(struct seccomp_data, args) + row->argument * 8;
	struct sock_filter *first = at++;
	if (row->check != ANY && row->check != NOT_THERE)
		ADD(LOAD(low));
	if (row->check == NO_BITS)
		ADD(IF(BPF_JSET, row->value, 1));
	if (row->check == AT_MOST)
		ADD(IF(BPF_JGT, row->value, 1));
	if (row->check == EQUALS || row->check == THE_STEP) {
		ADD(UNLESS(BPF_JEQ, row->value, 3));
		ADD(LOAD(low + 4));
		ADD(UNLESS(BPF_JEQ, row->value >> 32, 1));
	}
	ADD(ANSWER(row->check == NOT_THERE ? SECCOMP_RET_ERRNO | ENOSYS : SECCOMP_RET_ALLOW));
	if (row->check != ANY && row->check != NOT_THERE)
		ADD(ANSWER(row->check == THE_STEP ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | EPERM));
	*first = (struct sock_filter)UNLESS(BPF_JEQ, number, (uint8_t)(at - first - 1));
	return at;
}

static struct sock_filter *add_rows(struct sock_filter *at, const struct calls *rows, size_t count)
{
	for (const struct calls *row = rows; row < rows + count; row++)
		for (size_t i = 0; i < row->count; i++)
			at = add_call(at, row->numbers[i], row);
	return at;
}

void allow_calls(const struct calls *more, size_t count)
{
	static struct sock_filter code[BPF_MAXINSNS]; /* far more than the tables need */
	struct sock_filter *at = code;
	ADD(LOAD(offsetof(struct seccomp_data, arch)));
	ADD(IF(BPF_JEQ, OUR_ARCH, 1));
	ADD(ANSWER(SECCOMP_RET_KILL_PROCESS));
	ADD(LOAD(offsetof(struct seccomp_data, nr)));
	ADD(UNLESS(BPF_JGE, X32_BIT, 1));
	ADD(ANSWER(SECCOMP_RET_KILL_PROCESS));
	at = add_rows(at, more, count); /* the first row of a call decides */
	at = add_rows(at, COMMON_CALLS, COUNT(COMMON_CALLS));
	ADD(ANSWER(SECCOMP_RET_ERRNO | EPERM));
	const struct sock_fprog filter = {.len = (unsigned short)(at - code), .filter = code};
	if (syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0)
		die_errno("restrict", "system calls", "seccomp");
}
