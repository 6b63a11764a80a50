/** The account that doctor looks as. */
import { readHostConfig } from '../host/config.ts';
import { asAccount, findSubject, ownAccount, type Subject } from '../os/account.ts';
import { ownExecutable } from '../os/executable.ts';
import { exists, stat } from '../os/files.ts';
import { endingText, PLAIN_ENVIRONMENT, run } from '../os/process.ts';
import { findConfig } from '../shared/toml.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import type { DoctorOptions } from './config.ts';
import { type Finding, parseFindings, Topic } from './finding.ts';

const ACCOUNT = new Topic(
  'machine.account',
  "an account's permissions decide which files are backed up and which programs run, so findings hold for one account only",
);

/** This process's account, also if no password file has it. */
export async function ownSubject(): Promise<Subject> {
  return (await findSubject(ownAccount().uid)) ?? { ...ownAccount(), shell: '/bin/sh' };
}

/**
 * Compares HOME with the password file, by which cron and sshd go: another HOME means other files.
 * @param own the home folder of this process
 */
export function checkHome({ name, uid, home }: Subject, own: string): Finding {
  const who = `looked at as "${name}" (uid ${uid})`;
  return own === home
    ? ACCOUNT.ok(who)
    : ACCOUNT.warning(
        `${who}, with the home folder "${escapeText(own)}" and not "${escapeText(home)}"`,
        `HOME=${quoteForShell(home)} dialback doctor`,
      );
}

/** The account that `make install` creates. */
const SERVICE = 'dialback';
/** Longer than all parts of a doctor run together may take. */
const CHILD_MS = 180_000;

/**
 * The account that root looks for: root makes no backups, and its permissions say nothing about the account that does.
 * @param config as `--config` names it
 * @returns the owner of the config or of the store, or the account that `make install` creates
 */
export async function subjectForRoot({ config }: DoctorOptions): Promise<Subject | undefined> {
  for (const owner of [ownerOf(config), ownerOf(storeForRoot(config)), SERVICE]) {
    if (owner === undefined || owner === 0) continue;
    const subject = await findSubject(owner);
    if (subject) return subject;
  }
  return undefined;
}

function storeForRoot(named: string | undefined): string | undefined {
  const path = named ?? findConfig('host.toml');
  try {
    return path === undefined ? undefined : readHostConfig(path).store;
  } catch {
    return undefined; // the account itself reports the error
  }
}

function ownerOf(path: string | undefined): number | undefined {
  return path !== undefined && exists(path) ? stat(path).uid : undefined;
}

/** The finding for root on a machine where `subjectForRoot()` finds no account. */
export function checkUnknownAccount(): Finding {
  return ACCOUNT.unknown(
    'this is root, and doctor does not know which account makes the backups',
    asAccount('ACCOUNT', 'dialback doctor'),
  );
}

/** Runs `doctor` as another account, for root. */
export async function askAccount(subject: Subject, options: DoctorOptions): Promise<Finding[]> {
  const args = [
    'doctor',
    '--json',
    ...(options.config === undefined ? [] : ['--config', options.config]),
    ...(options.side === undefined ? [] : [`--${options.side}`]),
  ];
  const { name, uid, gid, home, shell } = subject;
  const ended = await run(
    {
      program: ownExecutable(),
      args,
      environment: { ...PLAIN_ENVIRONMENT, HOME: home, USER: name, LOGNAME: name, SHELL: shell },
      account: { uid, gid },
    },
    { timeoutMs: CHILD_MS },
  );
  const findings = parseFindings(ended.stdout.toString('utf8'));
  if (!findings) {
    const line = escapeText(ended.stderr.trim().split('\n')[0] ?? '', 200);
    return [
      ACCOUNT.critical(
        `doctor does not run as "${name}": ${line || endingText(ended)}`,
        asAccount(name, `${ownExecutable()} doctor`),
      ),
    ];
  }
  const own = ACCOUNT.ok(`looked at as "${name}" (uid ${uid}), on behalf of root`);
  return [own, ...findings.filter(each => each.check !== own.check)];
}
