import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { noteChange, notePin } from '../src/host/anomaly.ts';
import { newLedger, parseLedger } from '../src/host/ledger.ts';
import { noteGrowth, noteStart } from '../src/host/quota.ts';
import { snapshotName } from '../src/wire/text.ts';

const DAY = 86_400_000;
const T0 = Date.UTC(2026, 0, 1, 1, 30);
const at = (ms: number): Date => new Date(T0 + ms);

describe('parseLedger()', () => {
  it('reads what was written', () => {
    const ledger = newLedger();
    for (let night = 0; night < 60; night += 1)
      noteChange(ledger, { fresh: 0.1, lost: 0.1, bytes: 0.1 }, at(night * DAY));
    noteStart(ledger, at(0));
    noteGrowth(ledger, 5, 10, at(0));
    notePin(ledger, snapshotName(at(0)), at(1));
    assert.deepEqual(parseLedger(JSON.stringify(ledger)), { value: ledger });
  });
  const refused: [string, unknown][] = [
    ['of another version', { ...newLedger(), version: 2 }],
    ['nothing', null],
    ['a list', []],
    ['a start that is no number', { ...newLedger(), lastStart: 'now' }],
    ['growth below nothing', { ...newLedger(), growth: { bytes: -1, at: 0 } }],
    ['no days', { ...newLedger(), days: undefined }],
    ['a day without its shares', { ...newLedger(), days: [{ at: 1 }] }],
    ['a pin that is a path', { ...newLedger(), pins: [{ snapshot: '../..', at: 1 }] }],
    ['a pin that is null', { ...newLedger(), pins: [null] }],
  ];
  for (const [what, value] of refused)
    it(`refuses ${what}`, () => assert.ok('reason' in parseLedger(JSON.stringify(value))));
  it('refuses what is no JSON', () => assert.ok('reason' in parseLedger('{"version":1')));
});
