/*
 * `fetch DIR... -- ARG...`: the rsync of a client that gets its files back. It can write below each DIR, and reach nothing else.
 *
 * Root's has six capabilities, and a root of its own with the DIRs and the files that rsync is made of, without a network.
 * `fetch-labels` adds a seventh, CAP_SYS_ADMIN: the kernel asks for it to set security.* attributes other than capabilities, such as
 * the labels of SELinux in a rescue system without SELinux. With the system calls of this jail it is good for nothing else.
 *
 * An ordinary account's has no capability. It has no root of its own: in a user namespace it could not set ACLs and groups that name
 * other ids.
 */
#pragma once
#include <stdbool.h>

_Noreturn void fetch_verb(bool gives_labels, int count, char *arguments[]);
