/* `lend gate --run RUN`, for `capability = "inherited"`: only in a launch that is built with INHERITED=1. */
#pragma once
#include "die.h"

/* Becomes dialback's gate for RUN, with the capability inheritable. Dies unless rsync has one that it can inherit. */
_Noreturn void lend_verb(char *run);
