/** The page that searches all snapshots of a client for names. */
import { parseTime } from '../../store/file-time.ts';
import { type FoundName, type SearchResult, searchIndex } from '../../store/index-search.ts';
import { parsePattern } from '../../store/name-pattern.ts';
import type { Page } from '../contract.ts';
import { addressOf } from './address.ts';
import { fileTime, linkTo, noteOf, pagesOf, sizeOf, tableOf } from './cells.ts';
import { entryAddress } from './entry.ts';
import { fieldValue, html, type Markup, nameOf, type Value } from './html.ts';
import { documentOf } from './layout.ts';
import { type ClientRequest, clientRequest, wholeNumber } from './request.ts';
import { snapshotsText } from './versions.ts';
import { clientStep } from './way.ts';

/** Names on one page. */
const NAMES_SHOWN = 200;
/** The longest time for one page. */
const SEARCH_MS = 3000;
/** Characters of a pattern. */
const PATTERN_LIMIT = 1000;

/** `/search/NAME?q=PATTERN` */
export const search: Page = async (request, context) => {
  const wanted = clientRequest(request, context, ['q', 'case', 'from']);
  const { client, query } = wanted;
  const pattern = (query.q ?? '').slice(0, PATTERN_LIMIT);
  const hasCase = query.case === '1';
  const from = wholeNumber(query.from, 'from', 0);
  const result = pattern === '' ? undefined : await found(wanted, { pattern, hasCase, from }, context.signal);
  const body = html`${searchForm(client.name, pattern, hasCase)}
${result && resultOf(wanted, result, { pattern, hasCase, from })}`;
  const way = [clientStep(client.name), { shown: 'search', address: undefined }];
  const title = `Search ${client.name}`;
  return { status: 200, html: documentOf({ title, heading: title, way, body, isLoggedIn: true }) };
};

/** The form of a search. */
export function searchForm(client: string, pattern = '', hasCase = false): Markup {
  return html`<form class="fields" method="get" action="${addressOf('search', [client])}" role="search" aria-label="Names in ${client}">
<p><label for="q">Name, part of a name, or pattern (*, ?, [])</label>
<input type="search" id="q" name="q" value="${fieldValue(pattern)}" maxlength="${PATTERN_LIMIT}" autocomplete="off" spellcheck="false"></p>
<p><label class="check"><input type="checkbox" name="case" value="1"${hasCase && html` checked`}> Match capital letters</label></p>
<p><button type="submit">Search</button></p>
</form>`;
}

interface Question {
  pattern: string;
  hasCase: boolean;
  from: number;
}

/** A word without a sign of a pattern is a part of a name. */
function globOf(pattern: string): string {
  return /[*?[\]\\/]/.test(pattern) ? pattern : `*${pattern}*`;
}

async function found(
  { client }: ClientRequest,
  question: Question,
  signal: AbortSignal,
): Promise<SearchResult> {
  const glob = globOf(question.pattern);
  const options = {
    isWanted: parsePattern(glob, !question.hasCase),
    needsPath: glob.includes('/'),
    from: question.from,
    count: NAMES_SHOWN,
    timeMs: SEARCH_MS,
  };
  return await searchIndex(client, options, signal);
}

function resultOf(
  { client }: ClientRequest,
  { found: names, next, missing }: SearchResult,
  question: Question,
): Value {
  const { pattern, hasCase, from } = question;
  const later = { q: pattern, case: hasCase ? '1' : undefined, from: String(next) };
  const isEnd = next === undefined;
  const count = names.length === 1 ? '1 name' : `${names.length} names`;
  const part = isEnd && from === 0 ? '' : isEnd ? ', the last part of the search' : ', a part of the search';
  return html`${noteOf(
    'warning',
    'Snapshots that the search does not cover',
    missing.length === 0
      ? []
      : [
          snapshotsText(missing),
          html`The index does not have them yet. Next step on the host: <code>dialback find ${client.name} NAME</code>`,
        ],
  )}
${tableOf(`${count}${part}`, columnsOf(client.name), names, isEnd ? 'No name matches.' : 'No name matches so far.')}
${!isEnd && html`<p>The search stopped at its limit of ${NAMES_SHOWN} names or ${SEARCH_MS / 1000} seconds.</p>`}
${pagesOf([isEnd ? undefined : ['Continue the search', addressOf('search', [client.name], later)]])}`;
}

function columnsOf(client: string): Parameters<typeof tableOf<FoundName>>[1] {
  return [
    {
      title: 'Path',
      kind: 'path',
      isHeading: true,
      cell: ({ path, isFolder, snapshots }) => {
        const shown = html`${nameOf(Buffer.concat([Buffer.from('/'), path]))}${isFolder && '/'}`;
        return linkTo(entryAddress(client, snapshots.at(-1) ?? '', path), shown);
      },
    },
    { title: 'Size', kind: 'number', cell: ({ isFolder, size }) => (isFolder ? '-' : sizeOf(size)) },
    { title: 'Modified', cell: ({ mtime }) => (mtime === undefined ? '-' : fileTime(parseTime(mtime))) },
    {
      title: 'Versions',
      kind: 'number',
      cell: ({ path, isFolder, versions }) =>
        linkTo(addressOf('versions', [client, path]), isFolder ? 'folder' : String(versions)),
    },
    { title: 'In snapshots', cell: ({ snapshots }) => snapshotsText(snapshots) },
  ];
}
