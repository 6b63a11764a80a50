/** What a run of `backup` reports while it goes on, as text and JSON. Text from elsewhere is escaped here. */

import type { Compression } from '../client/compression.ts';
import type { RunNews } from '../client/run-events.ts';
import { endingText } from '../os/process.ts';
import { jsonText } from './json.ts';
import { showBytes, showDuration } from './units.ts';

const PHASE_TEXT: Record<Extract<RunNews, { event: 'phase' }>['phase'], string> = {
  keys: 'making one-time keys',
  calling: 'calling the backup host',
  dialling: 'the backup host connects back',
  admitted: 'the backup host was let in',
  copying: 'copying',
  committing: 'copied; the backup host writes it to its disk',
};

/** What goes on in a phase. */
export function phaseText(phase: keyof typeof PHASE_TEXT): string {
  return PHASE_TEXT[phase];
}

/** A piece of news as a line for -v; of progress there is none, since it would be one a second. */
export function newsText(news: RunNews): string {
  if (news.event === 'phase') return `${news.remote}: ${PHASE_TEXT[news.phase]}\n`;
  if (news.event === 'hook')
    return `${news.remote}: the hook ${news.hook} ${news.failed ?? endingText(news)}, in ${showDuration(news.durationMs)}\n`;
  if (news.event === 'waiting') return `${news.remote}: ${waitingText(news)}\n`;
  if (news.event === 'progress') return '';
  if (news.event === 'compression') return `${news.remote}: ${compressionText(news)}\n`;
  return `${news.remote}: warning: ${news.message}\n`;
}

type HookNews = Extract<RunNews, { event: 'hook' }>;

/** What a hook said, a line a line of it, where it failed or where that is asked for. It was escaped when it was heard. */
export function hookWordsText(news: HookNews, isVerbose: boolean): string {
  if (news.failed === undefined && !isVerbose) return '';
  const { hook, words, wordsLost } = news;
  const lost = wordsLost > 0 ? [`… ${wordsLost} lines before these`] : [];
  return [...lost, ...words].map(line => `${hook}: ${line}\n`).join('');
}

/** How a hook ended, as one JSON line. */
export function hookJson({ durationMs, wordsLost, failed, ...news }: HookNews): string {
  return jsonText({ ...news, duration_ms: durationMs, words_lost: wordsLost, error: failed ?? null });
}

function waitingText({ why, ms, found }: Extract<RunNews, { event: 'waiting' }>): string {
  const span = showDuration(ms ?? 0);
  if (why === 'lock') return 'waiting for the run that is under way';
  if (why === 'disk') return 'waiting for its disk';
  if (why === 'jitter') return `waiting ${span}, by chance`;
  const reason = found === null ? '' : `${found}; `;
  return why === 'turn' ? `${reason}its turn may come in ${span}` : `${reason}again in ${span}`;
}

/** What was decided of compression, and by what. */
function compressionText({ compress, because, rates }: Compression): string {
  const words = compress ? 'compressed with zstd' : 'not compressed';
  if (because === 'no-zstd') return `${words}: rsync here does not know zstd`;
  if (because === 'unmeasured') return `${words}: how fast the link is could not be measured`;
  if (!rates) return `${words}, as client.toml says`;
  const [link, processor] = [rates.link, rates.processor].map(each => showBytes(Math.round(each)));
  return `${words}: the link carries ${link} a second, the processor compresses ${processor}`;
}
