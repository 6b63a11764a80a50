/** `dialback diff`: the differences between two snapshots of one client. */
import { clientPath } from '../output/path.ts';
import { printRows } from '../output/rows.ts';
import { entryJson, modeText } from '../output/tree-entry.ts';
import { Unread } from '../output/unread.ts';
import { compareSnapshots, type Difference } from '../store/diff.ts';
import type { TreeEntry } from '../store/fake-super.ts';
import { showName } from '../wire/text.ts';
import { Arguments, type Command, JSON_OPTION } from './command.ts';
import { HOST_CONFIG, hostStore } from './host-store.ts';
import { readTarget, splitTarget } from './target.ts';

interface DiffRequest {
  client: string;
  before: string;
  after: string;
  paths: string[];
  config: string | undefined;
  json: boolean;
}

export const diff: Command<DiffRequest> = {
  name: 'diff',
  usage: 'diff NAME@A B [PATH…] [--config F] [--json]',
  side: 'host',
  summary:
    'show what differs from snapshot A to B: + added, - removed, M content, U other attributes, T type',
  options: [HOST_CONFIG, JSON_OPTION],
  positionals: [{ name: 'NAME@A' }, { name: 'B' }, { name: 'PATH', isOptional: true, isRepeated: true }],

  parse(words) {
    const given = new Arguments(diff, words);
    const [first = '', second = '', ...paths] = given.positionals;
    const { client, snapshot: before } = readTarget(first);
    if (!first.includes('@')) throw given.refuse('the first snapshot is not named');
    const [other, after] = second.includes('@') ? splitTarget(second) : [client, second];
    if (other !== client) throw given.refuse('the two snapshots are not of the same client');
    return { client, before, after, paths, config: given.path('config'), json: given.has('json') };
  },

  async run(request, io) {
    const unread = new Unread();
    const options = { ...request, store: hostStore(request.config) };
    const differences = compareSnapshots(options, io.interruption(), unread.complain);
    await printRows(io.print, differences, request.json ? differenceJson : undefined, differenceText);
    return unread.report(io.warn);
  },
};

function differenceJson({ path, change, what, before, after }: Difference): Record<string, unknown> {
  return {
    path: clientPath(path),
    change,
    what,
    before: before && entryJson(before),
    after: after && entryJson(after),
  };
}

/** A letter, the path, and for a path of both snapshots the attributes that differ. */
export function differenceText({ path, change, what, before, after }: Difference): string {
  const slash = (after ?? before)?.type === 'folder' && path.length > 0 ? '/' : '';
  const details = before && after ? ` (${what.map(each => aspectText(each, before, after)).join(', ')})` : '';
  return `${letterOf(change, what)} ${showName(clientPath(path))}${slash}${details}\n`;
}

function letterOf(change: Difference['change'], what: Difference['what']): string {
  if (change === 'added') return '+';
  if (change === 'removed') return '-';
  if (what.includes('type')) return 'T';
  return what.some(each => each === 'content' || each === 'target' || each === 'device') ? 'M' : 'U';
}

function aspectText(aspect: Difference['what'][number], before: TreeEntry, after: TreeEntry): string {
  const owner = ({ uid, gid }: TreeEntry): string => `${uid}:${gid}`;
  switch (aspect) {
    case 'type':
      return `${before.type} -> ${after.type}`;
    case 'mode':
      return `mode ${modeText(before.mode)} -> ${modeText(after.mode)}`;
    case 'owner':
      return `owner ${owner(before)} -> ${owner(after)}`;
    default:
      return aspect;
  }
}
