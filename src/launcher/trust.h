/* Files that only root can change. */
#pragma once
#include "die.h"

/* Dies if anyone but root can change this file, or replace it or a folder above it. Follows links. */
void require_roots_own(const char *path);

/* Dies if this program is not the installed file SELF_PATH, or if others can change that. */
void require_own_place(void);
