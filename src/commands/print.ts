/** Outcomes as text or JSON. Whatever came from elsewhere is escaped here. */

import type { RunOutcome } from '../client/backup.ts';
import type { InitResult, LocalInitResult } from '../client/setup.ts';
import type { Finding, State } from '../doctor/finding.ts';
import type { EnrollResult, LocalEnrollResult, UnenrollResult } from '../host/enroll.ts';
import { jsonText } from '../output/json.ts';
import { missingCount, missingFiles } from '../output/missing.ts';
import { showBytes, showDuration } from '../output/units.ts';
import { fingerprint, showKey } from '../wire/key.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';

/** Words of ours for who reads no UTF-8 (a plain terminal, a mail of cron's): their one other letter is spelt out. */
export function wordsText(text: string, isUtf8: boolean): string {
  return isUtf8 ? text : text.replaceAll('…', '...');
}

/** A run's outcome as one JSON line (design: JSON). */
export function outcomeJson(run: RunOutcome): string {
  const { outcome, fault, hookFault } = run;
  const lacks = missingFiles(run);
  return jsonText({
    event: 'done',
    remote: run.remote,
    outcome: run.skipped === undefined ? (outcome?.outcome ?? 'failed') : 'skipped',
    snapshot: outcome?.snapshot ?? null,
    files: outcome?.files ?? 0,
    bytes: outcome?.bytes ?? 0,
    transferred_bytes: outcome?.transferred_bytes ?? 0,
    duration_ms: run.durationMs,
    vanished: outcome?.vanished ?? 0,
    changed_during_run: outcome?.changed_during_run ?? 0,
    missing: lacks.map(each => each.path),
    missing_reasons: lacks.map(each => each.why),
    missing_count: missingCount(run),
    exit: run.exit,
    error: fault?.message ?? hookFault?.message ?? null,
    next: (fault ?? hookFault)?.next ?? null,
  });
}

/** A run's success in one line. */
export function summaryText(run: RunOutcome): string {
  const { outcome, remote } = run;
  if (run.skipped !== undefined) return `${remote}: skipped: ${run.skipped}\n`;
  if (!outcome || outcome.outcome === 'failed') return ''; // the fault says it
  const vanished = outcome.vanished > 0 ? `; ${outcome.vanished} were gone before they were read` : '';
  const changed =
    outcome.changed_during_run > 0
      ? `; ${outcome.changed_during_run} changed meanwhile, and come with the next run`
      : '';
  const size = `${outcome.files} ${outcome.files === 1 ? 'file' : 'files'}, ${showBytes(outcome.bytes)}`;
  if (outcome.snapshot === null)
    return `${remote}: dry run: ${size} would be in the backup; nothing was kept${vanished}${changed}\n`;
  const state = outcome.outcome === 'full' ? 'backed up' : 'backed up in part';
  const cost = `${showBytes(outcome.transferred_bytes)} sent, in ${showDuration(run.durationMs)}`;
  return `${remote}: ${state}: ${size}, in snapshot ${outcome.snapshot} (${cost})${vanished}${changed}\n`;
}

/** `unenroll`: what it did. */
export function unenrollText(name: string, { authorizedKeys, folder }: UnenrollResult): string {
  const did =
    authorizedKeys === undefined
      ? `"${name}" is unenrolled; no key of it was there`
      : `took "${name}" out of "${authorizedKeys}"`;
  return `${did}\nits snapshots stay in "${folder}"\n`;
}

/** What enroll did, and what comes next. */
export function enrollText(name: string, result: EnrollResult): string {
  const did = {
    added: `enrolled "${name}"`,
    kept: `"${name}" was enrolled with this key already`,
    updated: `enrolled "${name}" anew: same key, new command`,
    replaced: `enrolled "${name}" with its new key; the old one is out`,
  }[result.did];
  const store = result.storeCreated === undefined ? '' : `created the store "${result.storeCreated}"\n`;
  const wrote = result.configWritten
    ? `wrote "${result.configWritten.path}": backups go to "${result.configWritten.store}"\n`
    : '';
  const open = result.noJail === undefined ? '' : `${openLine(result.noJail)}\n`;
  return `${wrote}${open}${store}${did} in "${result.authorizedKeys}"\n${enrollNext(name, result)}`;
}

/** @param noJail why the kernel cannot build the receiver's jail */
function openLine(noJail: string): string {
  return `with confined = false in it: ${noJail}`;
}

/**
 * What enroll --local did, and what comes next.
 * @param config the host.toml that was named @param isClient whether this account has a client.toml already
 */
export function enrollLocalText(
  name: string,
  config: string | undefined,
  result: LocalEnrollResult,
  isClient: boolean,
): string {
  const { store, isNew } = result;
  const init = `dialback init --name ${name} --transport local --target ${quoteForShell(store)}`;
  const told = [
    ...(result.isConfigNew ? [`wrote "${result.config}": backups go to "${store}"`] : []),
    ...(result.noJail === undefined ? [] : [openLine(result.noJail)]),
    ...(result.isStoreNew ? [`created the store "${store}"`] : []),
    isNew ? `"${store}" keeps the backups of "${name}"` : `"${store}" kept the backups of "${name}" already`,
  ];
  if (isClient) return `${told.join('\n')}\nnext: dialback backup\n`;
  const named =
    config === undefined ? '' : `then, in its [[remote]]: host_config = ${JSON.stringify(config)}\n`;
  return `${told.join('\n')}\n${nextText('as this account', init)}${named}`;
}

/** The command for the client, and what in it a person has to check. */
function enrollNext(name: string, { target, hostKey }: EnrollResult): string {
  const key = hostKey
    ? `this host's key: ${fingerprint(hostKey.key)} (${hostKey.path})`
    : 'no public key of this host is in /etc/ssh: write the one that its sshd has (sshd_config, HostKey) for KEY';
  const command = `dialback init --name ${name} --target ${target} --host-key ${quoteForShell(hostKey ? showKey(hostKey.key) : 'KEY')}`;
  return [
    key,
    `see that the client knows this host by the name in "${target}"; with a port it is ssh://${target}:PORT`,
    nextText('on the client', command),
  ].join('\n');
}

/** A command for somebody else: on a line of its own, so that it is easily copied whole. */
function nextText(where: string, command: string): string {
  return `next: ${where}:\n  ${command}\n`;
}

/** What init did, and what comes next. */
export function initText(result: InitResult, namedConfig: string | undefined): string {
  const { name, key, setUp } = result;
  const enrol = nextText(
    'on the backup host, as the account that receives',
    `echo ${quoteForShell(`${key.publicKey} ${name}`)} | dialback enroll ${name} -`,
  );
  const made = `${key.isNew ? 'made the key' : 'the key is'} "${key.path}"\n`;
  if (!setUp) return `${made}${enrol}`;
  const roots = setUp.roots.map(root => `"${escapeText(root)}"`).join(', ');
  const backup = `dialback backup${namedConfig === undefined ? '' : ` --config ${quoteForShell(setUp.config)}`}\n`;
  const told = [
    `the host's key: ${setUp.fingerprint} (compare it with what \`enroll\` said on the host)`,
    `${setUp.isNew ? 'wrote' : 'it is set up already, by'} "${setUp.config}": ${roots} to "${setUp.target}", ${howRead(setUp)}`,
    ...jailLines(setUp),
    ...(setUp.channelBecause === undefined
      ? []
      : [
          `with transport = "channel" in it: ${escapeText(setUp.channelBecause)} (if it can be reached all the same, write "direct" there)`,
        ]),
    '',
  ].join('\n');
  // A key that was made just now is enrolled nowhere.
  return key.isNew ? `${made}${told}${enrol}then: ${backup}` : `${told}next: ${backup}`;
}

type Read = Pick<NonNullable<InitResult['setUp']>, 'config' | 'isConfined' | 'jail'>;

function howRead({ isConfined, jail }: Read): string {
  if (isConfined) return "in the kernel's jail";
  return jail?.capability === 'inherited' ? 'without a jail' : 'as far as this account may read';
}

function jailLines({ config, jail }: Read): string[] {
  if (!jail) return [];
  if (jail.capability === 'inherited')
    return [`with capability = "inherited" in it: ${jail.found}; rsync has a file capability instead`];
  if (jail.capability === 'confined')
    return [`the jail does not work yet: ${jail.found}`, `to repair it: ${jail.next ?? 'dialback doctor'}`];
  return [
    `with capability = "none" in it: ${jail.found}`,
    `for the whole machine: boot a kernel with Landlock, or make install INHERITED=1, as root, in dialback's sources; then rm ${quoteForShell(config)}, and say the same again`,
  ];
}

/** What init did for a store on this machine, and what comes next. */
export function initLocalText(result: LocalInitResult, namedConfig: string | undefined): string {
  const { name, config, isNew, target, roots, isEnrolled } = result;
  const what = roots.map(root => `"${escapeText(root)}"`).join(', ');
  const wrote = `${isNew ? 'wrote' : 'it is set up already, by'} "${config}": ${what} to "${target}", ${howRead(result)}`;
  const told = [wrote, ...jailLines(result), ''].join('\n');
  const backup = `dialback backup${namedConfig === undefined ? '' : ` --config ${quoteForShell(config)}`}\n`;
  if (isEnrolled) return `${told}next: ${backup}`;
  const enrol = `dialback enroll ${name} --local --store ${quoteForShell(target)}`;
  return `${told}${nextText('as this account, with the disk in its place', enrol)}then: ${backup}`;
}

const STATE_WIDTH = 10;

/** What `doctor` found, in groups; why and what to do next only where something is not well. */
export function doctorText(findings: Finding[]): string {
  const groups = Map.groupBy(findings, each => each.check.split('.')[0] ?? '');
  const lines: string[] = [];
  for (const [group, members] of groups) {
    lines.push(group);
    for (const { check, state, found, why, next } of members) {
      const label = check.slice(group.length + 1).replaceAll('_', ' ');
      lines.push(`  ${state.padEnd(STATE_WIDTH)}${label}: ${printable(found)}`);
      if (state === 'ok') continue;
      const indent = ' '.repeat(STATE_WIDTH + 2);
      lines.push(`${indent}why: ${why}`);
      if (next !== null) lines.push(`${indent}next: ${printable(next)}`);
    }
  }
  const count = (state: State): number => findings.filter(each => each.state === state).length;
  lines.push(
    `${count('critical')} critical, ${count('warning')} warning, ${count('unknown')} unknown, ${count('ok')} ok`,
  );
  return `${lines.join('\n')}\n`;
}

/** Nothing that a terminal obeys or hides; backslashes stay as they are, since a command may have some. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '?');
}
