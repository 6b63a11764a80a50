/** What `doctor` on a host learns of its clients' runs: whose fail one after the other, and whose are refused for want of room. */

import { type HostConfig, storeSettings } from '../host/config.ts';
import { readJournal } from '../os/journal.ts';
import { areAlarming, failuresOf, failuresText, lackOfRoom } from '../store/health.ts';
import { retiredSince } from '../store/retirement.ts';
import { listClients, openClient, openStore } from '../store/store.ts';
import { escapeText } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

const RUNS = new Topic('host.runs', 'a client whose runs fail has no new backup, whatever else looks well');

/** A store that cannot be read has a finding of its own. */
export function collectRuns(config: HostConfig): Finding[] {
  try {
    openStore(config.store);
    return listClients(config.store).flatMap(name => collectClient(config, name));
  } catch {
    return [];
  }
}

function collectClient(config: HostConfig, name: string): Finding[] {
  const client = openClient(config.store, name);
  if (retiredSince(client) !== undefined) return [];
  const lack = lackOfRoom(storeSettings(config), name);
  const failures = failuresOf(readJournal(client.folder));
  const found: Finding[] = [];
  if (lack !== undefined)
    found.push(
      RUNS.critical(
        `"${name}": its requests are refused: ${lack}, and nothing may be removed`,
        'dialback prune --dry-run',
      ),
    );
  if (failures !== null && areAlarming(failures))
    found.push(
      RUNS.warning(`"${name}": ${escapeText(failuresText(failures), 1000)}`, `dialback status ${name}`),
    );
  return found;
}
