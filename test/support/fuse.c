/*
 * A file system that fails: `fuse TYPE PLACE MODE`. It prints "ready" when it is mounted, and disappears with this process.
 *
 *     own       only uid 1000 may stat it: root gets EACCES
 *     hang      it does not answer requests
 *     closed    a folder with the file `closed`, which all may stat and no one may open
 *     foreign   like `closed`, and mounted by uid 1000; it reports root as the owner of its files
 *     count     like `closed`; it prints each request except the mount's own, a line each
 *     caseless  Data/Private and Data/Open, which can be read under any spelling
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ROOT = 1 };
struct node {
	uint64_t id, parent;
	const char *name;
	bool is_folder;
};
static const struct node CLOSED[] = {{ROOT, 0, "", true}, {2, ROOT, "closed", false}, {0}};
static const struct node CASELESS[] = {
	{ROOT, 0, "", true}, {2, ROOT, "Data", true}, {3, 2, "Private", false}, {4, 2, "Open", false}, {0}};
static const struct node *nodes = CLOSED;
static int connection;

static const struct node *find(uint64_t id)
{
	const struct node *each = nodes;
	while (each->id != id && each->id != 0)
		each++;
	return each;
}

static const struct node *find_in(uint64_t parent, const char *name)
{
	const struct node *each = nodes;
	while (each->id != 0 && (each->parent != parent ||
				 (nodes == CASELESS ? strcasecmp(name, each->name) : strcmp(name, each->name)) != 0))
		each++;
	return each;
}

static void answer(const struct fuse_in_header *to, int error, const void *body, size_t size)
{
	struct fuse_out_header head = {.len = (unsigned)(sizeof head + size), .error = -error, .unique = to->unique};
	const struct iovec parts[] = {{&head, sizeof head}, {(void *)body, size}};
	if (writev(connection, parts, 2) < 0)
		perror("writev");
}

static struct fuse_attr attributes(uint64_t id)
{
	bool is_folder = find(id)->is_folder;
	return (struct fuse_attr){.ino = id, .mode = is_folder ? S_IFDIR | 0755 : S_IFREG | 0644, .nlink = 1,
				  .size = is_folder ? 0 : 5, .mtime = 1700000000};
}

static void list(const struct fuse_in_header *head, const struct fuse_read_in *asked)
{
	char room[512] = {0};
	size_t size = 0;
	for (const struct node *each = nodes; each->id != 0 && asked->offset == 0; each++) {
		struct fuse_dirent *entry = (struct fuse_dirent *)(room + size);
		if (each->parent != head->nodeid)
			continue;
		entry->ino = each->id;
		entry->off = each->id;
		entry->namelen = (unsigned)strlen(each->name);
		entry->type = each->is_folder ? DT_DIR : DT_REG;
		memcpy(entry->name, each->name, entry->namelen);
		size += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + entry->namelen);
	}
	answer(head, 0, room, size);
}

static void serve(const struct fuse_in_header *head, const void *body)
{
	struct fuse_attr_out attr = {.attr = attributes(head->nodeid)};
	const struct node *named = head->opcode == FUSE_LOOKUP ? find_in(head->nodeid, body) : nodes;
	struct fuse_entry_out entry = {.nodeid = named->id, .attr = attributes(named->id)};
	struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096};
	struct fuse_open_out opened = {0};
	struct fuse_statfs_out space = {.st = {.bsize = 4096, .namelen = 255}};
	switch (head->opcode) {
	case FUSE_INIT: return answer(head, 0, &init, sizeof init);
	case FUSE_GETATTR: return answer(head, 0, &attr, sizeof attr);
	case FUSE_STATFS: return answer(head, 0, &space, sizeof space);
	case FUSE_OPENDIR: return answer(head, 0, &opened, sizeof opened);
	case FUSE_READDIR: return list(head, body);
	case FUSE_RELEASEDIR: return answer(head, 0, NULL, 0);
	case FUSE_LOOKUP: return named->id != 0 ? answer(head, 0, &entry, sizeof entry) : answer(head, ENOENT, NULL, 0);
	case FUSE_ACCESS: return answer(head, nodes == CLOSED && head->nodeid != ROOT ? EACCES : 0, NULL, 0);
	case FUSE_OPEN: return nodes == CLOSED ? answer(head, EACCES, NULL, 0) : answer(head, 0, &opened, sizeof opened);
	case FUSE_READ: return answer(head, 0, "text\n", ((const struct fuse_read_in *)body)->offset == 0 ? 5 : 0);
	case FUSE_FLUSH: case FUSE_RELEASE: return answer(head, 0, NULL, 0);
	case FUSE_FORGET: case FUSE_BATCH_FORGET: case FUSE_INTERRUPT: return; /* these have no answer */
	default: return answer(head, ENOSYS, NULL, 0);
	}
}

int main(int count, char *arguments[])
{
	char options[200];
	static char request[1 << 17];
	if (count != 4)
		return 2;
	const char *mode = arguments[3];
	bool is_own = strcmp(mode, "own") == 0, is_foreign = strcmp(mode, "foreign") == 0, counts = strcmp(mode, "count") == 0;
	connection = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	snprintf(options, sizeof options, "fd=%d,rootmode=40755,user_id=%d,group_id=%d%s", connection,
		 is_own || is_foreign ? 1000 : 0, is_own ? 1000 : 0, is_own ? "" : ",allow_other");
	if (connection < 0 || mount("a test", arguments[2], arguments[1], MS_NOSUID | MS_NODEV, options) != 0) {
		perror("mount");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ready\n");
	if (strcmp(mode, "caseless") == 0)
		nodes = CASELESS;
	if (strcmp(mode, "closed") != 0 && !counts && !is_foreign && nodes == CLOSED)
		for (;;)
			pause();
	while (read(connection, request, sizeof request) > 0) {
		const struct fuse_in_header *head = (const struct fuse_in_header *)request;
		if (counts && head->opcode != FUSE_INIT) /* the mount's own, at some time */
			printf("%u\n", head->opcode);
		serve(head, request + sizeof *head);
	}
	return 0;
}
