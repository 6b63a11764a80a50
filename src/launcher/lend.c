#include "lend.h"
#include "caller.h"
#include "caps.h"
#include "rsync.h"
#include "run.h"
#include "trust.h"
#include <signal.h>
#include <sys/xattr.h>

/* Adds one of sshd's variables as it is, if sshd has set it. @return the next free place */
static char **pass_on(char **environment, const char *name)
{
	const char *value = getenv(name);
	if (value == NULL)
		return environment;
	if (asprintf(environment, "%s=%s", name, value) < 0)
		die_errno("pass on", name, "malloc");
	return environment + 1;
}

_Noreturn void lend_verb(char *run)
{
	char *environment[5] = {PLAIN_ENVIRONMENT, NULL, NULL, NULL};
	pid_t parent = getppid();
	forget_caller(STDERR_FILENO);
	require_service();
	require_own_place();
	require_roots_own(DIALBACK_PATH);
	require_roots_own(RSYNC_PATH);
	require_capability();
	if (getxattr(RSYNC, "security.capability", NULL, 0) <= 0)
		die(REFUSED, "lend", "cap_dac_read_search", "\"%s\" has no capability to inherit: make install INHERITED=1", RSYNC);
	close(open_run(run));
	set_capabilities(THE_ONE, THE_ONE, THE_ONE);
	/* The command and the address of the client. The gate decides on the command and records the address. */
	pass_on(pass_on(environment + 2, "SSH_ORIGINAL_COMMAND"), "SSH_CONNECTION");
	die_with_parent(SIGKILL, parent);
	char *const arguments[] = {"dialback", "gate", "--run", run, NULL};
	become(DIALBACK_PATH, arguments, environment);
}
