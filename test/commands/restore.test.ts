import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { restoreText } from '../../src/commands/restore.ts';
import { planProblems, restoreProblems } from '../../src/output/restore-problems.ts';
import type { RestoreResult } from '../../src/store/restore.ts';
import { matching, says, wording } from '../support/wording.ts';

const RESULT: RestoreResult = {
  snapshot: 's',
  state: 'incomplete',
  age_ms: 90_000_000,
  newer: [],
  files: 2,
  bytes: 5,
  notGivenBack: [],
  notGivenBackCount: 0,
  differences: [],
  openTo: null,
  lostAttributes: false,
  checked: true,
  compared: true,
  damaged: [],
  damagedCount: 0,
  closedTop: null,
};
type Asked = Parameters<typeof restoreProblems>[1];
const ROOT: Asked = { client: 'acorn', to: '/to', inert: false, isRootUser: true };
const ACCOUNT: Asked = { ...ROOT, isRootUser: false };

describe('restoreText()', () => {
  it('tells what came back', () => {
    assert.equal(
      restoreText('/to\n', RESULT),
      'restored 2 files, 5 B, of s (the snapshot is incomplete) to "/to\\n"\n',
    );
    assert.equal(
      restoreText('/to', { ...RESULT, state: 'full', newer: ['t', 'u'] }),
      'restored 2 files, 5 B, of s (it is 1 d 1 h old; newer ones are incomplete or from the future: t, u) to "/to"\n',
    );
  });
});

describe('restoreProblems()', () => {
  it('says nothing when all came back', () => {
    assert.equal(restoreProblems(RESULT, ROOT), '');
  });

  it('escapes messages, lists 15 of them and counts the rest', () => {
    const lines = Array.from({ length: 20 }, (_, at) => `${at} a\u001b[2J`);
    const text = restoreProblems({ ...RESULT, notGivenBack: lines, notGivenBackCount: 20 }, ACCOUNT);
    assert.match(
      text,
      matching`^${says('cannot-give-everything-back')}: 20 ${says('differ-from-the-snapshot')}\n {2}0 a\\u001b\[2J\n`,
    );
    assert.match(text, / {2}14 a\\u001b\[2J\n {2}and 5 more\nnext: restore as root\n$/);
  });

  it('has one line for each kind, and tells notes from failures', () => {
    const differences = [
      { kind: 'time', count: 1, lacking: 1, examples: ['/a\n'] },
      { kind: 'owner', count: 1287, lacking: 0, examples: ['/a', '/b', '/c'] },
    ] as const;
    const result = {
      ...RESULT,
      notGivenBackCount: 1,
      differences: [...differences],
    } as unknown as RestoreResult;
    assert.equal(
      restoreProblems(result, ACCOUNT),
      [
        'dialback: Cannot give everything back: 1 differ from the snapshot',
        '  1 another time, "/a\\\\n"',
        'next: restore as root',
        `dialback: Note: ${wording('left-out-since-only-root')}:`,
        '  1287 another owner, such as "/a"',
        '',
      ].join('\n'),
    );
  });

  it('names the client in its next step', () => {
    const damaged = [{ path: 'a', difference: 'content' }] as const;
    const result = { ...RESULT, damaged: [...damaged], damagedCount: 1 };
    assert.match(restoreProblems(result, ROOT), /\n {2}\/a: other content\nnext: dialback verify acorn /);
  });

  it('says who can get into DIR, and what that allows', () => {
    const open = { ...RESULT, openTo: '0755' };
    assert.match(restoreProblems(open, ROOT), matching`mode 0755\), ${says('and-run-the-clients-setuid')}`);
    assert.doesNotMatch(planProblems(open, { ...ROOT, inert: true }), /setuid/);
    assert.match(planProblems(open, { ...ROOT, to: "/a'b" }), /\nnext: chmod 700 '\/a'\\''b'\n$/);
  });
});
