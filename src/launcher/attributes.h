/*
 * The companion of the process in `web`: reads extended attributes, which node cannot. It is a process with a smaller jail, at the other
 * end of a socket pair. It can read the store, has one connection, and ends when that is closed.
 *
 * A request is a record: the length of an absolute path in 32 bits, and the path. The answer begins with
 * errno in 32 bits, and the length of the rest in 32 bits. For each attribute it has the length of its name, the name, the length of its
 * value, and the value.
 * Numbers have the byte order of the machine. web/attribute-reader.ts is the other side.
 */
#pragma once
#include "die.h"

/* Starts it. @return our end of the socket pair */
int start_attribute_reader(const char *store);
