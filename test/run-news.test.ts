import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { outcomeJson, summaryText } from '../src/commands/backup.ts';
import { Fault } from '../src/fault.ts';
import { hookJson, hookWordsText, newsText } from '../src/output/run-news.ts';
import { FULL, run } from './support/outcomes.ts';
import { wording } from './support/wording.ts';

describe('the words of a hook', () => {
  const hook = (more: object = {}): Parameters<typeof hookWordsText>[0] => ({
    ...{ event: 'hook', remote: 'nas', hook: 'before', program: '/x y', status: 0, signal: null },
    ...{ durationMs: 1234, words: ['one', 'two\\u001b'], wordsLost: 0, failed: undefined, ...more },
  });
  it('are not said of a hook that went well, unless they are asked for', () => {
    assert.equal(hookWordsText(hook(), false), '');
    assert.equal(hookWordsText(hook(), true), 'before: one\nbefore: two\\u001b\n');
    assert.equal(newsText(hook()), 'nas: the hook before ended well, in 1.2 s\n');
  });
  it('are said of one that failed, with how many there were before', () => {
    const failed = hook({ wordsLost: 7, status: 3, failed: 'ended with status 3' });
    assert.equal(
      hookWordsText(failed, false),
      'before: … 7 lines before these\nbefore: one\nbefore: two\\u001b\n',
    );
    assert.equal(newsText(failed), 'nas: the hook before ended with status 3, in 1.2 s\n');
  });
  it('are one line of JSON with the rest', () => {
    assert.deepEqual(JSON.parse(hookJson(hook({ failed: 'was odd' }))), {
      ...{ event: 'hook', remote: 'nas', hook: 'before', program: '/x y', status: 0, signal: null },
      ...{ words: ['one', 'two\\u001b'], duration_ms: 1234, words_lost: 0, error: 'was odd' },
    });
  });
  it('make a run that was left out "skipped", and one with a bad end "full" with an error', () => {
    const skipped = run(undefined, { skipped: wording('the-hook-before-said-not') });
    assert.equal(JSON.parse(outcomeJson(skipped)).outcome, 'skipped');
    assert.equal(summaryText(skipped), `nas: skipped: ${wording('the-hook-before-said-not')}\n`);
    const bad = JSON.parse(outcomeJson(run(FULL, { hookFault: new Fault({ tried: 'x', found: 'y' }) })));
    assert.deepEqual([bad.outcome, bad.error], ['full', 'Cannot x: y']);
  });
});

describe('newsText()', () => {
  it('is one line a phase or warning, and none for progress', () => {
    assert.equal(newsText({ event: 'progress', remote: 'nas', bytes: 1024, percent: 5, files: null }), '');
    assert.equal(newsText({ event: 'phase', remote: 'nas', phase: 'copying' }), 'nas: copying\n');
    assert.equal(newsText({ event: 'warning', remote: 'nas', message: 'x' }), 'nas: warning: x\n');
    const waiting = { event: 'waiting', remote: 'nas', ms: 65_000, found: null } as const;
    assert.equal(newsText({ ...waiting, why: 'jitter' }), 'nas: waiting 1 min 5 s, a random delay\n');
    assert.equal(
      newsText({ ...waiting, why: 'lock', ms: null }),
      `nas: ${wording('waiting-for-the-run-that')}\n`,
    );
    assert.equal(
      newsText({ ...waiting, why: 'retry', found: 'Cannot x: y' }),
      'nas: Cannot x: y; next try in 1 min 5 s\n',
    );
    assert.equal(
      newsText({ ...waiting, why: 'turn', ms: 900, found: 'Cannot x: y' }),
      `nas: Cannot x: y; ${wording('the-host-may-have-a')} 0.9 s\n`,
    );
  });

  for (const [compress, because, text] of [
    [true, 'set', 'compressed with zstd'],
    [false, 'set', 'not compressed, as client.toml says'],
    [false, 'no-zstd', 'not compressed: rsync here does not know zstd'],
  ] as const)
    it(`says "${text}"`, () => {
      const news = { event: 'compression', remote: 'nas', compress, because } as const;
      assert.equal(newsText(news), `nas: ${text}\n`);
    });
});
