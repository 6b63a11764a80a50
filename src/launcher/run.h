/* RUN, the folder that the client makes for each run, and the account that it belongs to. */
#pragma once
#include "die.h"

#ifdef SERVICE_UID_FILE
/*
 * The uid that this program serves, for a package, whose user gets its number when it is installed. SERVICE_UID_FILE has the number
 * and a line feed. Dies if it has anything else, or if anyone but root can change it.
 */
#define SERVICE_UID read_service_uid()
uid_t read_service_uid(void);
#endif

/* Dies unless this process is SERVICE_UID's. */
void require_service(void);

/* Opens RUN: a folder called /.../run-XXXXXX that only the service account can use. Dies otherwise. @return a descriptor */
int open_run(const char *run);

/* Reads RUN/scope whole. @return its text with a NUL behind it; `size` is without that */
char *read_scope(int run, size_t *size);
