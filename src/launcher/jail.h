/* The common part of the verbs of jail.c. */
#pragma once
#include "seccomp.h"

/* The system calls of the rsync that receives, besides those of every rsync. */
extern const struct calls RECEIVER_CALLS[];
extern const size_t RECEIVER_COUNT;

/* Checks the folders before the "--": at least one, and each exists and is named without links. @return their number */
int count_folders(const char *verb, int count, char *arguments[]);

/* Grants the files that every rsync needs, and `program`, which it may execute. */
void grant_rsync(int ruleset, const char *program);
