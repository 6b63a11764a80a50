/*
 * The system calls of this process, and of all that it becomes or starts: seccomp(2). A call that no row names fails with EPERM. A
 * call of another ABI (32 bit, x32) kills the process.
 */
#pragma once
#include "die.h"

/* Headers of Linux 5.10, as in Debian 11, do not have it. */
#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif
/* Headers before Linux 6.13 do not have these. */
#ifndef __NR_setxattrat
#define __NR_setxattrat 463
#define __NR_getxattrat 464
#define __NR_listxattrat 465
#define __NR_removexattrat 466
#endif

enum check {
	ANY,	   /* allow it, whatever its arguments are */
	NO_BITS,   /* allow it if that argument has none of these bits */
	AT_MOST,   /* allow it if that argument is this or less */
	EQUALS,	   /* allow it if that argument is exactly this */
	THE_STEP,  /* the same, and kill the process otherwise */
	NOT_THERE, /* fail with ENOSYS, so that libc makes the older call, which has a row */
};

/* Some calls, and one check of the low 32 bits of one argument; EQUALS and THE_STEP check all 64. */
struct calls {
	enum check check;
	unsigned argument;
	uint64_t value;
	size_t count;
	const long *numbers;
};
#define ROW(check, argument, value, ...)                                                                             \
	{check, argument, value, sizeof((const long[]){__VA_ARGS__}) / sizeof(long), (const long[]){__VA_ARGS__}}
#define NR(name) __NR_##name

/* The flags of open(2) for another use than reading. */
#define NOT_READING (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))

/* Puts `count` rows of `more`, and the rows that every program needs, into force. Needs no_new_privs. A row of `more` counts first. */
void allow_calls(const struct calls *more, size_t count);
