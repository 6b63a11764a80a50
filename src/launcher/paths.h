/* Absolute paths as text, and how they are opened. */
#pragma once
#include "die.h"

/* Whether `path` is `folder` or below it. Both are canonical (is_canonical()). */
bool is_within(const char *folder, const char *path);

/* Whether it begins with "/", has no empty name, "." or "..", and is shorter than PATH_MAX: then paths compare as texts. */
bool is_canonical(const char *path);

/* The rest of `path` below `folder`: "", or from the slash on. */
const char *below(const char *folder, const char *path);

/* The path of `rest` in a folder: "FOLDER/REST", with one slash between them. @return memory to free() */
char *join(const char *folder, const char *rest);

/* Opens as a path (O_PATH), refusing every link on the way. @return a descriptor, or -1 with errno */
int open_path(int folder, const char *path);
