#include "landlock.h"
#include <sys/prctl.h>

enum { CREATE_RULESET = 444, ADD_RULE = 445, RESTRICT_SELF = 446 }; /* system calls */
enum { ASK_VERSION = 1, PATH_BENEATH = 1 };

/* All 16 rights, by the ABI that brought them. A rule on a plain file may name only some. */
#define SINCE_ABI_1 ((1ULL << 13) - 1)
#define OF_FILES (LL_EXECUTE | LL_WRITE_FILE | LL_READ_FILE | LL_TRUNCATE | LL_IOCTL_DEV)

/* The newest kernel's. Older ones accept it while the fields that they do not know are 0. */
struct ruleset {
	uint64_t files, tcp, scoped;
};
enum { TCP_BIND_AND_CONNECT = 3, ABSTRACT_SOCKETS_AND_SIGNALS = 3 }; /* since ABI 4, since ABI 6 */

struct rule {
	uint64_t rights;
	int32_t fd;
} __attribute__((packed));

const char *confine_what = RSYNC_PATH;
static uint64_t known_rights; /* those that this kernel can refuse */

long landlock_abi(void)
{
	return syscall(CREATE_RULESET, NULL, (size_t)0, ASK_VERSION);
}

int refuse_everything(int least_abi)
{
	long abi = landlock_abi();
	if (abi < 0)
		die(REFUSED, "confine", confine_what, "this kernel has no Landlock, or has it switched off (%s)", strerror(errno));
	if (abi < least_abi)
		die(REFUSED, "confine", confine_what, "this kernel's Landlock is too old (ABI %ld, and %d is needed)", abi,
		    least_abi);
	known_rights = SINCE_ABI_1 | (abi >= 2 ? LL_REFER : 0) | (abi >= 3 ? LL_TRUNCATE : 0) | (abi >= 5 ? LL_IOCTL_DEV : 0);
	const struct ruleset all = {.files = known_rights,
				    .tcp = abi >= 4 ? TCP_BIND_AND_CONNECT : 0,
				    .scoped = abi >= 6 ? ABSTRACT_SOCKETS_AND_SIGNALS : 0};
	long ruleset = syscall(CREATE_RULESET, &all, sizeof all, 0);
	if (ruleset < 0)
		die_errno("confine", confine_what, "landlock_create_ruleset");
	return (int)ruleset;
}

void grant(int ruleset, int fd, const struct stat *found, uint64_t rights, const char *path)
{
	const struct rule rule = {rights & known_rights & (S_ISDIR(found->st_mode) ? UINT64_MAX : OF_FILES), fd};
	if (rule.rights != 0 && syscall(ADD_RULE, ruleset, PATH_BENEATH, &rule, 0) != 0 &&
	    errno != EBADFD) /* a file system of the kernel's own (a namespace at /run/netns) cannot be granted */
		die_errno("grant", path, "landlock_add_rule");
}

void grant_path(int ruleset, const char *path, uint64_t rights, bool must)
{
	struct stat found;
	int fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0 && !must && (errno == ENOENT || errno == EACCES))
		return;
	if (fd < 0 || fstat(fd, &found) != 0)
		die_errno("open", path, "open");
	grant(ruleset, fd, &found, rights, path);
	close(fd);
}

void enforce(int ruleset)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		die_errno("confine", confine_what, "prctl");
	if (syscall(RESTRICT_SELF, ruleset, 0) != 0)
		die_errno("confine", confine_what, "landlock_restrict_self");
	close(ruleset);
}
