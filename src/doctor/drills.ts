/** The last drill of each client: whether its files could be restored. */
import { now } from '../os/clock.ts';
import { drillProblem, readDrillRecord } from '../store/drill-record.ts';
import { listClients, openClient, openStore } from '../store/store.ts';
import { escapeText } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

const DRILLS = new Topic(
  'host.drills',
  'a backup that cannot be restored helps only if that is known while the client still has its files',
);

/** Reports each client whose last drill failed or is old. @returns none for a client that was never drilled */
export function collectDrills(store: string): Finding[] {
  try {
    openStore(store);
    return listClients(store).flatMap(name => collectDrillOf(store, name));
  } catch {
    return []; // `host.store` reports a store that cannot be read
  }
}

function collectDrillOf(store: string, name: string): Finding[] {
  const problem = drillProblem(readDrillRecord(openClient(store, name)), now());
  if (problem === undefined) return [];
  const found = `"${name}": ${escapeText(problem.text, 1000)}`;
  const next = `dialback drill ${name}`;
  return [problem.level === 'critical' ? DRILLS.critical(found, next) : DRILLS.warning(found, next)];
}
