#include "adopt.h"
#include "caller.h"
#include "caps.h"
#include "jail.h"
#include "landlock.h"
#include "paths.h"
#include "serve.h"
#include "trust.h"
#include <signal.h>

_Noreturn void adopt_verb(const char *run)
{
	pid_t parent = getppid();
	struct stat found;
	char *rsyncd = join(run, "rsyncd"), *folders[] = {rsyncd, "--"};
	accept_folder();
	forget_caller(FOLDER);
	if (getuid() == 0 || geteuid() == 0)
		die(REFUSED, "run", "adopt", "it is not for root");
	uint32_t kept = permitted_capabilities() & THE_ONE;
	set_capabilities(kept, kept, kept); /* rsync inherits it by the ambient set of the caller, or not at all */
	require_own_place();
	require_roots_own(RSYNC_PATH);
	count_folders("adopt", COUNT(folders), folders);
	die_with_parent(SIGKILL, parent);
	int ruleset = refuse_everything(1);
	if (fstat(FOLDER, &found) != 0)
		die_errno("use", "descriptor 3", "fstat");
	grant(ruleset, FOLDER, &found, LL_READ, "descriptor 3");
	become_daemon(ruleset, rsyncd, "");
}
