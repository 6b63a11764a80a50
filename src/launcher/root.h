/*
 * A root of its own for the receiver, in user, mount and PID namespaces: one folder of the store, what rsync is made of, and nothing
 * else. Landlock does not keep the receiver from changing the modes, times and xattrs of files that the account owns. That it cannot
 * reach them does.
 */
#pragma once
#include "die.h"

/* Files that every rsync reads. Any account can read them without a capability. NULL-terminated */
extern const char *const COMMON_PATHS[];

/*
 * Enters it, if the kernel allows that to the account: another process tries it first, so that it never stops half way.
 * @param paths the folders that stay visible, the first of them for writing
 * @return false if the kernel or the administrator forbids it; dies if it works only in part
 */
bool try_own_root(char *const paths[], int count);

/*
 * Goes on as the first process of the PID namespace. With it end all processes that it started, and it cannot signal any outside.
 * The outer process only waits, and ends as the inner one does.
 */
void become_first(void);
