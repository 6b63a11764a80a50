/*
 * `serve TREE RUN`: the rsync of the host that a client fetches from. It is a daemon on standard input and output, and can read the
 * offered part of one snapshot, and nothing else. RUN is a folder of the caller's own, with
 *
 *   RUN/rsyncd     a folder that rsync may read. It has rsyncd.conf(5), and the filter rules that this names.
 *   RUN/paths      records with a NUL behind each, so that no path has to be an argument:
 *                  `path PATH`: a file or folder of TREE that it may read, with all below
 *                  `list PATH`: a folder of TREE whose names it may read, with those of all folders below
 */
#pragma once

/* Becomes rsync as a daemon that can read what `ruleset` grants and the folder `rsyncd`, which has rsyncd.conf(5), and do nothing else. */
_Noreturn void become_daemon(int ruleset, const char *rsyncd, const char *note);

_Noreturn void serve_verb(char *tree, const char *run);
