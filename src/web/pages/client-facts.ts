/** The facts of a client and its alerts, for its page and for the report. */

import { showBytes } from '../../output/units.ts';
import type { ClientOverview } from '../../store/overview.ts';
import { snapshotTime } from '../../wire/text.ts';
import { ageOf, factsOf, noteOf, sizeOf, spanOf, stateOf, tagOf, timeOf } from './cells.ts';
import { growthLine } from './charts.ts';
import { html, type Markup, type Value } from './html.ts';

/** The alerts of a client or the store, as notes. */
export function problemNotes({ problems }: Pick<ClientOverview, 'problems'>): Value {
  const texts = (level: string): Value[] =>
    problems.filter(each => each.level === level).map(({ text }) => html`<bdi>${text}</bdi>`);
  return [noteOf('critical', 'Critical', texts('critical')), noteOf('warning', 'Warning', texts('warning'))];
}

/** The facts of a client. */
export function clientFacts(client: ClientOverview): Markup {
  const {
    last_full: full,
    newest,
    held,
    last_verify: verified,
    last_drill: drill,
    next_removal: next,
  } = client;
  const { failures, retired, kept, last_run: run, last_contact: contact } = client;
  return factsOf([
    retired === null ? undefined : ['Retired', html`unenrolled at ${timeOf(retired)}`],
    kept === null
      ? undefined
      : [
          'All snapshots are kept',
          kept.until === null ? 'without an end' : html`until ${timeOf(kept.until)}`,
        ],
    ['Last full snapshot', full ? html`${full.snapshot}, ${ageOf(full.age_ms)} old` : 'none'],
    [
      'Its size',
      full ? html`${sizeOf(full.bytes)} in ${full.files} files, ${sizeOf(full.new_bytes)} of them new` : '-',
    ],
    ['Its duration', full ? spanOf(full.duration_ms) : '-'],
    [
      'Newest snapshot',
      newest ? html`${newest.snapshot} ${stateOf(newest.state)} ${newest.flags.map(tagOf)}` : 'none',
    ],
    ['Snapshots', countsText(client)],
    [
      'On the disk',
      held
        ? html`${sizeOf(held.bytes)} in ${held.inodes} files and folders`
        : 'unknown: the index is out of date',
    ],
    ['Next removal', next ? html`${next.snapshot} at ${timeOf(next.at)}` : 'none'],
    [
      'Last verification',
      verified ? html`${timeOf(verified.at)}, ${verified.damaged} files damaged` : 'never',
    ],
    ['Last drill that succeeded', drill?.succeeded ? timeOf(drill.succeeded) : 'never'],
    ['Last call', contact === null ? 'never' : timeOf(contact)],
    ['Last run', run ? html`${timeOf(run.at)} ${stateOf(run.outcome)} <bdi>${run.reason}</bdi>` : 'none'],
    failures === null ? undefined : ['Failed runs since the last snapshot', failures.count],
    [
      'Alert if older than',
      client.max_age_ms === null ? 'no max_age in host.toml' : ageOf(client.max_age_ms),
    ],
  ]);
}

function countsText({ snapshots, incomplete, pinned }: ClientOverview): string {
  const parts = [incomplete > 0 && `${incomplete} incomplete`, pinned > 0 && `${pinned} pinned`].filter(
    Boolean,
  );
  return parts.length === 0 ? String(snapshots) : `${snapshots} (${parts.join(', ')})`;
}

/** The growth line of a client. */
export function growthOf({ client, growth }: Pick<ClientOverview, 'client' | 'growth'>): Markup {
  const points = growth.map(({ snapshot, bytes }) => ({
    time: snapshotTime(snapshot) ?? new Date(0),
    value: bytes,
  }));
  const [first, last] = [points[0], points.at(-1)];
  const text = `Size of the last ${points.length} snapshots of ${client}: from ${showBytes(first?.value ?? 0)} to ${showBytes(last?.value ?? 0)}`;
  return growthLine(points, text);
}
