/* RUN, the folder that the client makes for each run, and the account that it belongs to. */
#pragma once
#include "die.h"

/* Dies unless this process is SERVICE_UID's, for which the program was compiled. */
void require_service(void);

/* Opens RUN: a folder called /.../run-XXXXXX that only the service account can use. Dies otherwise. @return a descriptor */
int open_run(const char *run);

/* Reads RUN/scope whole. @return its text with a NUL behind it; `size` is without that */
char *read_scope(int run, size_t *size);
