/** Whether the last runs failed, by the journals of the client and of the host. */
import { type HostConfig, storeSettings } from '../host/config.ts';
import { now } from '../os/clock.ts';
import { readJournal } from '../os/journal.ts';
import { ALARMING_FAILURES, areAlarming, failuresOf, failuresText, lackOfRoom } from '../store/health.ts';
import { retiredSince } from '../store/retirement.ts';
import { listClients, openClient, openStore } from '../store/store.ts';
import { escapeText } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

const CLIENT_RUNS = new Topic(
  'client.runs',
  'there is no new backup while the runs fail, even if all other checks are ok',
);

/**
 * Reports a remote whose last runs all failed.
 * @param journal of the state folder, the oldest entry first
 * @param remote its label
 */
export function checkClientRuns(journal: readonly Record<string, unknown>[], remote: string): Finding[] {
  const ended = journal.filter(each => each.event === 'finished' && each.remote === remote);
  const since = ended.slice(ended.findLastIndex(each => each.outcome !== 'failed') + 1);
  const last = since.at(-1);
  if (last === undefined || since.length < ALARMING_FAILURES) return [];
  const reason = typeof last.reason === 'string' ? last.reason : 'the journal has no reason';
  return [
    CLIENT_RUNS.critical(
      `"${remote}": the last ${since.length} runs failed, the newest at ${String(last.time)}: ${escapeText(reason)}`,
      `dialback backup -v --remote ${remote}`,
    ),
  ];
}

const HOST_RUNS = new Topic(
  'host.runs',
  'a client has no new backup while its runs fail, even if all other checks are ok',
);

/** Reports each client whose runs fail or are refused. @returns none for a store that cannot be read (`host.store` reports it) */
export function collectHostRuns(config: HostConfig): Finding[] {
  try {
    openStore(config.store);
    const lackOf = lackOfRoom(storeSettings(config), now());
    return listClients(config.store).flatMap(name => collectRunsOf(config, name, lackOf));
  } catch {
    return [];
  }
}

function collectRunsOf(config: HostConfig, name: string, lackOf: () => string | undefined): Finding[] {
  const client = openClient(config.store, name);
  if (retiredSince(client) !== undefined) return [];
  const lack = lackOf();
  const failures = failuresOf(readJournal(client.folder));
  const found: Finding[] = [];
  if (lack !== undefined)
    found.push(
      HOST_RUNS.critical(
        `"${name}": the host refuses its requests: ${lack}, and no snapshot may be removed`,
        'dialback prune --dry-run',
      ),
    );
  if (failures !== null && areAlarming(failures))
    found.push(
      HOST_RUNS.warning(`"${name}": ${escapeText(failuresText(failures), 1000)}`, `dialback status ${name}`),
    );
  return found;
}
