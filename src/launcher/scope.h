/* The scope of a run: RUN/scope, and reading what it names, less every `never`. */
#pragma once
#include "die.h"

enum { SCOPE_BYTES = 1 << 20 };
enum { NO_RULESET = -1 };

/*
 * Takes RUN/scope apart: records `root PATH`, `never PATH`, `mount PATH` and `library PATH`, and `list /`, with a NUL behind each.
 * Dies at any other record, and if there is no root.
 */
void take_scope(const char *text, size_t size);

/* Grants reading of the roots and of rsync's libraries, and to list all folders if the scope says so. */
void grant_scope(int ruleset);

/* Tells which files of the roots no run can read, among those that grant_scope() grants one by one. */
void tell_refusals(void);
