#include "caps.h"
#include <sys/prctl.h>

static struct __user_cap_header_struct this_process = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};

void set_capabilities(uint32_t permitted, uint32_t effective, uint32_t inheritable)
{
	const struct __user_cap_data_struct data[2] = {{effective, permitted, inheritable}, {0, 0, 0}};
	if (syscall(__NR_capset, &this_process, data) != 0)
		die_errno("set", "capabilities", "capset");
}

uint32_t permitted_capabilities(void)
{
	struct __user_cap_data_struct data[2];
	if (syscall(__NR_capget, &this_process, data) != 0)
		die_errno("get", "capabilities", "capget");
	return data[0].permitted;
}

void require_capability(void)
{
	if ((permitted_capabilities() & THE_ONE) != 0)
		return;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		die(REFUSED, "lend", "cap_dac_read_search",
		    "the caller has set no_new_privs, so that no program it starts can gain anything");
	die(REFUSED, "lend", "cap_dac_read_search",
	    "\"" SELF_PATH "\" does not have it: setcap cap_dac_read_search=ep, on a file system without nosuid");
}
