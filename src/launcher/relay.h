/* `pump SECONDS`: rsync's remote shell in the jail of `receive`. */
#pragma once
#include "die.h"

/*
 * Copies between rsync and the ssh that was started outside, whose ends are FROM_SSH and TO_SSH, until the connection ends.
 * @param seconds how long, as text, the client may send nothing, or rsync take nothing
 * @return the exit status: 0, or 1 if it was cut off
 */
int pump(const char *seconds);
