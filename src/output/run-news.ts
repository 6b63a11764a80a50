/** The events of a run of `backup` as text and as JSON. Text from other machines is escaped here. */

import type { Compression } from '../client/compression.ts';
import type { RunNews } from '../client/run-events.ts';
import { endingText } from '../os/process.ts';
import { jsonText } from './json.ts';
import { showDuration } from './units.ts';

const PHASE_TEXT: Record<Extract<RunNews, { event: 'phase' }>['phase'], string> = {
  keys: 'making one-time keys',
  calling: 'calling the backup host',
  dialling: 'the backup host connects back',
  admitted: 'the backup host was let in',
  copying: 'copying',
  committing: 'copied; the backup host writes it to its disk',
};

/** A phase in words. */
export function phaseText(phase: keyof typeof PHASE_TEXT): string {
  return PHASE_TEXT[phase];
}

/** An event as a line for -v; '' for progress, of which there is an event every second. */
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

/** The output of a hook, if it failed or if the user asked for it. It was escaped when it was read. */
export function hookWordsText(news: HookNews, isVerbose: boolean): string {
  if (news.failed === undefined && !isVerbose) return '';
  const { hook, words, wordsLost } = news;
  const lost = wordsLost > 0 ? [`… ${wordsLost} lines before these`] : [];
  return [...lost, ...words].map(line => `${hook}: ${line}\n`).join('');
}

/** The end of a hook as one JSON line. */
export function hookJson({ durationMs, wordsLost, failed, ...news }: HookNews): string {
  return jsonText({ ...news, duration_ms: durationMs, words_lost: wordsLost, error: failed ?? null });
}

function waitingText({ why, ms, found }: Extract<RunNews, { event: 'waiting' }>): string {
  const span = showDuration(ms ?? 0);
  if (why === 'lock') return 'waiting for the run that is under way';
  if (why === 'disk') return 'waiting for its disk';
  if (why === 'jitter') return `waiting ${span}, a random delay`;
  const reason = found === null ? '' : `${found}; `;
  return why === 'turn'
    ? `${reason}the host may have a free slot in ${span}`
    : `${reason}next try in ${span}`;
}

/** The decision about compression, and its reason. */
function compressionText({ compress, because }: Compression): string {
  if (compress) return 'compressed with zstd';
  return `not compressed${because === 'no-zstd' ? ': rsync here does not know zstd' : ', as client.toml says'}`;
}
