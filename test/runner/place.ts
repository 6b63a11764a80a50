/**
 * Where a test file runs. As root it is a place of its own, made of namespaces (unshare(1)): its process numbers, its
 * mounts, its /tmp and /srv, and its version of /etc with the accounts. The kernel drops all of it with the place's first process, so that
 * a file that is killed leaves no process, mount, loop device, account or file in /tmp. Where namespaces are not allowed
 * (an ordinary user, a container, a chroot) the file runs as it is, and the runner removes what it finds.
 */
import { spawnSync } from 'node:child_process';

/** The executable of a run in the folder of the run, and as a place has it (test/runner/executable.ts). */
export const RUN_EXECUTABLE = 'dialback';
const PLACE_EXECUTABLE = '/tmp/.dialback-executable';

/**
 * Descriptor 3: events of the tests (test/runner/reporter.ts), and at the end a report that only the place itself can make. Each
 * test file pays for each program here: 1 to 2 ms of processor time.
 */
const IN_PLACE = `
  set -eu
  mount -t proc proc /proc
  mkdir -m 755 "$1/etc" "$1/srv"
  mkdir -m 1777 "$1/tmp"
  # Each folder in it in another part of an ext4, as the files' folders are (test/run.ts).
  chattr +T "$1/tmp" 2>/dev/null || true
  # A link to another mount is not possible (link(2), EXDEV), so it is made before /tmp becomes one.
  if ln "\${1%/*}/${RUN_EXECUTABLE}" "$1${PLACE_EXECUTABLE}" 2>/dev/null; then
    export DIALBACK_TEST_EXECUTABLE=${PLACE_EXECUTABLE}
  fi
  # In memory, and only what changes: a copy takes 30 ms of processor time, on the disk half a second.
  mount -t tmpfs -o mode=755 etc "$1/etc"
  mkdir -m 755 "$1/etc/upper" "$1/etc/work"
  if ! mount -t overlay -o "lowerdir=/etc,upperdir=$1/etc/upper,workdir=$1/etc/work" etc /etc 2>/dev/null; then
    cp -a /etc/. "$1/etc/upper"
    mount --bind "$1/etc/upper" /etc
  fi
  # For folders of root's that are in no folder of others (makeFolder() of test/support/world.ts). It would hide a checkout there.
  case $2 in
    /srv/*) ;;
    *)
      if [ -d /srv ]; then
        mount --bind "$1/srv" /srv
        export DIALBACK_TEST_ROOTS_FOLDER=/srv
      fi
      ;;
  esac
  # A checkout below /tmp is there in the place's own /tmp too.
  kept=
  case $2 in
    /tmp/*)
      mkdir -p "$1/tmp\${2#/tmp}"
      mount --bind "$2" "$1/tmp\${2#/tmp}"
      kept=/tmp/$(printf %s "$2" | cut -d / -f 3)
      ;;
  esac
  mount --rbind "$1/tmp" /tmp
  shift 2
  accounts() { while IFS=: read -r name rest; do case $name in dbt*-*) echo "$name" ;; esac done </etc/passwd; }
  before=$(accounts)
  status=0
  # Not exec: the shell, as process 1, also waits for orphans.
  "$@" || status=$?

  # Nothing may be left, after a moment for what is just ending. A zombie has no command line.
  running() {
    left=
    for each in /proc/[0-9]*; do
      if [ "$each" = /proc/1 ]; then continue; fi
      command=$(tr '\\0' ' ' 2>/dev/null <"$each/cmdline" || true)
      if [ -n "$command" ]; then left="\${left}left process $command
"; fi
    done 2>/dev/null
    [ -n "$left" ]
  }
  tries=30
  while running && [ $tries -gt 0 ]; do
    tries=$((tries - 1))
    sleep 0.1
  done
  printf %s "$left" >&3
  for each in /tmp/* /tmp/.[!.]* \${DIALBACK_TEST_ROOTS_FOLDER:+/srv/*}; do
    case $each in /tmp/node-compile-cache | ${PLACE_EXECUTABLE} | "$kept") continue ;; esac # npm's own, and the checkout
    if [ -e "$each" ] || [ -L "$each" ]; then echo "left $each" >&3; fi
  done
  for each in $(accounts); do
    case " $(echo $before) " in *" $each "*) ;; *) echo "left account $each" >&3 ;; esac
  done
  times >&3
  exit $status
`;

/** The place ends with the runner, even if the runner is killed. */
const WITH_RUNNER = ['--pdeathsig', 'KILL', '--'];
const NAMESPACES = ['--mount', '--pid', '--fork', '--kill-child', '--propagation', 'private'];

/** Whether this process can make such places, and should. */
export function canMakePlaces(): boolean {
  if (process.getuid?.() !== 0 || process.env.DIALBACK_TEST_PLACES === 'no') return false;
  const script = 'mount -t proc proc /proc && mount --bind /etc /etc && mount --bind /tmp /tmp';
  const args = [...WITH_RUNNER, 'unshare', ...NAMESPACES, '--', '/bin/sh', '-c', script];
  return spawnSync('setpriv', args, { cwd: '/', stdio: 'ignore' }).status === 0;
}

/**
 * A command that runs another one in a place of its own.
 * @param folder an empty folder, for the place's own files
 * @param checkout the folder that the command's files are in
 * @returns the program and its arguments
 */
export function inPlace(folder: string, checkout: string, command: readonly string[]): string[] {
  const shell = ['/bin/sh', '-c', IN_PLACE, 'sh', folder, checkout, ...command];
  return ['setpriv', ...WITH_RUNNER, 'unshare', ...NAMESPACES, '--', ...shell];
}

/** The same without a place. */
export function withoutPlace(command: readonly string[]): string[] {
  return ['setpriv', ...WITH_RUNNER, ...command];
}

/** The report of a place at its end. */
export type Said = { left: string } | { processorMs: number };

/**
 * Reads one line that is not an event of a test.
 * @returns undefined for the line of times(1p) about the shell itself
 */
export function parseSaid(line: string, at: number): Said | undefined {
  const left = /^left (.+)$/.exec(line)?.[1];
  if (left !== undefined) return { left };
  const times = /^(\d+)m([\d.]+)s (\d+)m([\d.]+)s$/.exec(line);
  if (!times || at === 0) return undefined;
  const [userMin, user, systemMin, system] = times.slice(1).map(Number) as [number, number, number, number];
  return { processorMs: Math.round(((userMin + systemMin) * 60 + user + system) * 1000) };
}

/**
 * The mark in the names of a file's folders outside its own /tmp, by which the runner finds them. It has six letters, because the path
 * of a socket below them must have at most 107 bytes (unix(7)).
 * @param folder of the file: "/tmp/dialback-run-", six letters, and the file's number
 */
export function tagOf(folder: string): string {
  const [run = '', file = ''] = folder.split('/').slice(-2);
  return run.slice(-4) + Number(file).toString(36).padStart(2, '0');
}

/**
 * The uids for the accounts of a file, as DIALBACK_TEST_UIDS has them. Places see only their own processes, so all have the same
 * ones, and the launcher, which has a uid compiled in, is compiled once for all. Without places each slot of the runner has its own.
 */
export const UIDS_EACH = 50;
const UIDS = 10_000;

/** @param first of the range that all files have together */
export function uidsOf(first: number, slot: number): string {
  const from = first + ((slot * UIDS_EACH) % UIDS);
  return `${from}-${from + UIDS_EACH - 1}`;
}
