/*
 * The rights to files of this process, and of all that it becomes or starts: landlock(7). A new ruleset refuses everything.
 * <linux/landlock.h> is newer than some supported headers, and none of its numbers differ between architectures: they are here.
 */
#pragma once
#include "die.h"

#define LL_EXECUTE (1ULL << 0)
#define LL_WRITE_FILE (1ULL << 1)
#define LL_READ_FILE (1ULL << 2)
#define LL_READ_DIR (1ULL << 3)
#define LL_REMOVE_DIR (1ULL << 4)
#define LL_REMOVE_FILE (1ULL << 5)
#define LL_MAKE_DIR (1ULL << 7)
#define LL_MAKE_REG (1ULL << 8)
#define LL_REFER (1ULL << 13) /* links and renames across folders: since ABI 2 */
#define LL_TRUNCATE (1ULL << 14) /* since ABI 3; before, seccomp has no truncate(), and O_TRUNC in `receive` only */
#define LL_IOCTL_DEV (1ULL << 15) /* since ABI 5; before, seccomp has no ioctl() */

#define LL_READ (LL_READ_FILE | LL_READ_DIR)
#define LL_RUN (LL_READ_FILE | LL_EXECUTE)

/* The program that is confined, for messages; rsync by default. */
extern const char *confine_what;

/* @return the Landlock ABI of this kernel; negative, with errno, if it has none */
long landlock_abi(void);

/* @return a ruleset that refuses all that this kernel can refuse. Dies if the kernel's ABI is below `least_abi`. */
int refuse_everything(int least_abi);

/* Grants rights on an open file, or on an open folder with all below it. @param found what fstat() says of `fd` */
void grant(int ruleset, int fd, const struct stat *found, uint64_t rights, const char *path);

/* The same by name; follows links. @param must whether it dies if the path does not exist or cannot be reached */
void grant_path(int ruleset, const char *path, uint64_t rights, bool must);

/* Sets no_new_privs, puts the ruleset into force and closes it. */
void enforce(int ruleset);
