// Goal: a client whose rsync cannot open files never gets a snapshot for it. Where the trial shows it, the host is not even
// called; where only the files of the scope fail, the run fails with a code of its own. What is no failure stays none: a scope
// of empty folders, and files that did not change.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { attacksOn } from '../../../src/wire/attacks.ts';
import { OtherRsync } from '../../support/other-rsync.ts';
import { type Done, lastLine, NEEDS_ROOT, type Result, World } from '../../support/world.ts';

/** Opening a plain file below $FAILS_BELOW ends with EINVAL, as with rsync's bug 897; all else is as ever. */
const PRELOAD = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int judge(int fd)
{
	struct stat found;
	char link[64], path[4096] = "";
	const char *below = getenv("FAILS_BELOW");
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	if (fd < 0 || below == NULL || fstat(fd, &found) != 0 || !S_ISREG(found.st_mode) ||
	    readlink(link, path, sizeof path - 1) < 0 || strncmp(path, below, strlen(below)) != 0)
		return fd;
	if (strstr(path, "rsyncd.conf") != NULL || strstr(path, "/filter") != NULL)
		return fd;
	close(fd);
	errno = EINVAL;
	return -1;
}

static int open_at(int folder, const char *path, int flags, int mode)
{
	int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, "openat");
	return judge(real(folder, path, flags, mode));
}
#define MODE va_list rest; va_start(rest, flags); int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0; va_end(rest)
int open(const char *path, int flags, ...) { MODE; return open_at(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE; return open_at(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...)
{
	MODE;
	int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, "openat64");
	return judge(real(folder, path, flags, mode));
}
int openat64(int folder, const char *path, int flags, ...) { MODE; return open_at(folder, path, flags, mode); }
int __open_2(const char *path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
int __openat_2(int folder, const char *path, int flags) { return open_at(folder, path, flags, 0); }
int __openat64_2(int folder, const char *path, int flags) { return open_at(folder, path, flags, 0); }
long syscall(long number, ...)
{
	va_list rest;
	long a[6];
	long (*real)(long, ...) = dlsym(RTLD_NEXT, "syscall");
	va_start(rest, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(rest, long);
	va_end(rest);
	long result = real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	return number == SYS_openat2 ? judge((int)result) : result;
}
`;

describe("a client's rsync that cannot open files", { skip: NEEDS_ROOT }, () => {
  let world: World;
  let starts: string;
  let other: OtherRsync;
  before(async () => {
    world = await World.make();
    starts = join(world.client.home, 'starts');
    other = new OtherRsync(world); // LD_PRELOAD takes no path with a blank
    const gcc = ['-shared', '-fPIC', '-O1', '-w', '-o', `${other.folder}/preload.so`, '-x', 'c', '-', '-ldl'];
    execFileSync('gcc', gcc, { input: PRELOAD });
  });
  after(async () => {
    await world.dispose();
    other[Symbol.dispose]();
  });

  /** `backup` with an rsync, for the client alone, that opens no plain file below `below`. */
  async function backup(below: string): Promise<Result & { last: Done }> {
    const rsync = other.write([
      `case "$*" in *--daemon*) echo "$*" >>'${starts}'; export FAILS_BELOW='${below}' LD_PRELOAD=${other.folder}/preload.so ;; esac`,
      `exec ${other.real} "$@"`,
    ]);
    const result = await other.run(rsync, ['backup', '--json', '--config', world.clientToml]);
    await world.settled();
    return { ...result, last: lastLine(result) };
  }

  const hostJournal = (): Record<string, unknown>[] => world.journal('host');
  const started = (): number =>
    existsSync(starts) ? readFileSync(starts, 'utf8').split('\n').length - 1 : 0;
  const remembered = (): string[] => {
    const path = join(world.clientState, 'rsync.json');
    return existsSync(path) ? Object.keys(JSON.parse(readFileSync(path, 'utf8'))) : [];
  };

  it('is not used: the run fails before the host is called', async () => {
    world.write(world.client, join(world.data, 'a file'), 'content');
    const { status, last, stderr } = await backup('/');
    assert.equal(status, 1, stderr);
    assert.equal(last.outcome, 'failed');
    assert.match(last.error ?? '', /"\/usr\/bin\/rsync".* \(22\)/);
    assert.deepEqual(
      world.journal('client').map(each => each.event),
      ['started', 'finished'],
    );
    assert.deepEqual(hostJournal(), [], 'the host has heard nothing');
    assert.deepEqual(world.snapshots(), []);
    assert.deepEqual(remembered(), [], 'a failure is tried again');
  });

  it('fails the run where not one file of the scope can be opened, and nothing is kept', async () => {
    mkdirSync(join(world.data, 'folder'));
    symlinkSync('nowhere', join(world.data, 'folder/a link'));
    for (const name of ['folder/one', 'folder/two']) world.write(world.client, join(world.data, name), name);
    const { status, last, stderr } = await backup(world.data);
    assert.equal(status, 1, stderr);
    assert.equal(last.outcome, 'failed');
    assert.equal(last.snapshot, null);
    assert.equal(hostJournal().at(-1)?.code, 'nothing');
    assert.deepEqual(world.snapshots(), []);
    assert.deepEqual(remembered(), [], 'the next run tries this rsync again');
  });

  it('leaves a scope without files what it is: a full run', async () => {
    const empty = join(world.client.home, 'empty');
    mkdirSync(join(empty, 'a folder'), { recursive: true });
    execFileSync('chown', ['-R', `${world.client.uid}:${world.client.gid}`, empty]);
    world.configure({ scope: `roots = ["${empty}"]` });
    const { status, last, stderr } = await backup(world.data);
    world.configure();
    assert.equal(status, 0, stderr);
    assert.equal(last.outcome, 'full');
  });

  it('is asked once for each binary: the trial is remembered, until the binary is another one', async () => {
    assert.deepEqual(remembered(), ['none']);
    const begun = started();
    assert.equal((await backup(world.data)).status, 1);
    assert.equal(started(), begun + 1, 'the pull alone; the trial was remembered');
    const again = started();
    assert.equal((await backup(`${world.data}/folder/one`)).status, 3);
    assert.equal(started(), again + 2 + attacksOn('').length, 'the trial with its attacks, and the pull');
  });

  it('leaves a run in which files did not change incomplete, and lists those that failed', async () => {
    appendFileSync(join(world.data, 'folder/two'), ' and more');
    const { status, last, stderr } = await backup(world.data);
    assert.equal(status, 3, stderr);
    assert.equal(last.outcome, 'incomplete');
    assert.equal(last.missing_count, 2);
    const { status: whole } = await world.backup();
    assert.equal(whole, 0, 'with an rsync that works');
    rmSync(starts);
  });
});
