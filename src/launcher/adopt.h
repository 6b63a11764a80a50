/*
 * `adopt RUN`: the rsync that reads a tree of another program for `dialback adopt`. It is a daemon on standard input and output, and can
 * read the folder that descriptor 3 has open, and nothing else. RUN/rsyncd has rsyncd.conf(5).
 *
 * root starts it as the store's account, with CAP_DAC_READ_SEARCH for files that only root may read. This verb lends nothing: it keeps
 * that capability if its caller has it, and drops all others. It refuses root, who could change files without any capability.
 */
#pragma once

_Noreturn void adopt_verb(const char *run);
