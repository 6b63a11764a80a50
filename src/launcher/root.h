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
 * @param paths the folders of the store that stay visible, the first of them for writing
 * @param also another folder that stays visible; NULL for none
 * @return false if the kernel or the administrator forbids it; dies if it works only in part
 */
bool try_own_root(char *const paths[], int count, const char *also);

/*
 * Enters a root of its own. In it are these folders, each at its own path and with the file systems mounted below it. The files that
 * rsync is made of are in it too, read-only. Also leaves the network, and enters a PID namespace with the next fork(). For root only. Dies
 * if a part does not work.
 */
void enter_folders(char *const folders[], int count);

/* Mounts a /proc with the processes of this PID namespace, for the first process in it. */
void mount_own_proc(void);

/*
 * Goes on as the first process of the PID namespace. With it end all processes that it started, and it cannot signal any outside.
 * The outer process only waits, and ends as the inner one does.
 */
void become_first(void);
