/*
 * `web LISTEN STORE CONFIG [CACHES] -- ARG...`: dialback as a web server that can read the store, its caches and its config, and
 * nothing else. It cannot write a file, execute a program, or open a connection. LISTEN is where it listens:
 *
 *   ADDRESS:PORT, [ADDRESS]:PORT    a TCP port
 *   /PATH                           a Unix socket, which is made with mode 0600
 *   inherited                       descriptor 3, a listening socket (sd_listen_fds(3))
 *
 * It becomes `dialback serve-web --landlock-abi N ARG...` with the listening socket as descriptor 3, and attributes.h as 4.
 */
#pragma once
#include "die.h"

_Noreturn void web_verb(int count, char *arguments[]);
