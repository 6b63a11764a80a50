#include "die.h"
#include <limits.h>
#include <stdarg.h>

_Noreturn void die(int status, const char *verb, const char *thing, const char *found, ...)
{
	char line[3 * PATH_MAX];
	va_list args;
	int n = snprintf(line, sizeof line, "dialback-launch: Cannot %s \"%.*s\": ", verb, PATH_MAX, thing);
	va_start(args, found);
	if (n > 0 && (size_t)n < sizeof line)
		n += vsnprintf(line + n, sizeof line - (size_t)n, found, args);
	va_end(args);
	for (char *at = line; *at != '\0'; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
	dprintf(STDERR_FILENO, "%s\n", line);
	exit(status);
}

_Noreturn void die_errno(const char *verb, const char *thing, const char *call)
{
	die(REFUSED, verb, thing, "%s: %s", call, strerror(errno));
}

void *require_memory(void *block)
{
	if (block == NULL)
		die_errno("get", "memory", "malloc");
	return block;
}
