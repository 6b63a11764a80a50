/* Ends the program with one line on standard error. Also includes what nearly every file here needs of libc. */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { REFUSED = 126, NO_PROGRAM = 127 }; /* exit statuses: it refuses; the program to run does not exist */

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/*
 * Prints `dialback-launch: Cannot VERB "THING": FOUND` and exits. The host's log and its tests know this prefix, so both binaries
 * use it. `thing` and the arguments can come from outside: control characters become '?'.
 */
_Noreturn void die(int status, const char *verb, const char *thing, const char *found, ...)
	__attribute__((format(printf, 4, 5)));

/* The same with status REFUSED and the text of errno. `call` names what failed. */
_Noreturn void die_errno(const char *verb, const char *thing, const char *call);

/* @return `block`, which malloc() or a function like it made; dies if that is NULL */
void *require_memory(void *block);
