/* The inheritance from the caller: descriptors, signals, umask, working directory, and the signal at the caller's death. */
#pragma once
#include "die.h"
#include <sys/types.h>

/* Descriptors that `receive` and `pump` get (host/relay.ts). LOCK is the client's lock, a plain file. */
enum { FROM_SSH = 3, TO_SSH = 4, LOCK = 5 };

/* The descriptor of `adopt` for the adopted folder. */
enum { FOLDER = 3 };

/* Resets signals, mask, umask and folder, closes the descriptors above `last`, and checks the others by require_no_places(). */
void forget_caller(unsigned last);

/*
 * Dies if a descriptor from 0 to `last` is a file or folder, open or as a path. From a folder in the caller's own mount namespace,
 * /proc/self/fd/N leads up through its mount point, into a folder that a rule grants. Pipes, sockets and character devices lead
 * nowhere. LOCK must be a plain file.
 */
void require_no_places(int last);

/* Lets standard output and error be plain files, for a log: nothing leads from a file to others. Call it before the check. */
void accept_logs(void);

/*
 * Lets FOLDER be a folder, which is then the only place that a verb takes of its caller. Only for a verb that lends nothing: a caller
 * with a mount namespace of its own can have it lead anywhere that the caller can read without the verb. Call it before the check.
 */
void accept_folder(void);

/* Has the kernel send `signal_number` when `parent` dies. Call it after the last change of credentials, which resets it. */
void die_with_parent(int signal_number, pid_t parent);
