/* How both binaries become rsync, in a jail. */
#pragma once
#include <sys/resource.h>
#include "seccomp.h"

#if defined(__x86_64__)
#define LOADER_PATH "/lib64/ld-linux-x86-64.so.2" /* the dynamic loader; a static rsync needs none */
#elif defined(__aarch64__)
#define LOADER_PATH "/lib/ld-linux-aarch64.so.1"
#endif

#define PLAIN_ENVIRONMENT "PATH=/usr/bin:/bin", "LC_ALL=C"
extern const char RSYNC[]; /* RSYNC_PATH. Its address is what the sender may execve: see CALLS in launch.c */

/* Lowers a limit to `most`, hard and soft. */
void limit(__rlimit_resource_t what, rlim_t most);

/*
 * Forbids core dumps, which would hold what was read. With a limit of 0 the kernel still pipes one to the program in core_pattern;
 * with 1 it does not (core(5)). A caller's hard limit of 0 cannot be raised, and such programs obey it.
 */
void limit_core(void);

/*
 * Makes a library a sealed file without a name. No rule lets rsync open a library of the caller's.
 * @param end the byte behind it
 * @return the variable that has the dynamic loader map it: "LD_PRELOAD=/proc/self/fd/N"
 */
char *make_preload(const char *library, const char *end);

/* execve(2). Dies with NO_PROGRAM if there is no such file. */
_Noreturn void become(const char *program, char *const arguments[], char *const environment[]);

/*
 * Becomes rsync with the ruleset and the system calls in force, after one line on standard error that os/launcher.ts reads:
 * `dialback-launch: landlock_abi N`, and `note` behind it.
 */
_Noreturn void become_confined(int ruleset, const struct calls *calls, size_t count, const char *note,
			       char *const arguments[], char *const environment[]);
