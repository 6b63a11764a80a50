import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  type DrillRecord,
  decodeDrillRecord,
  drillProblem,
  encodeDrillRecord,
  readDrillRecord,
  writeDrillRecord,
} from '../src/store/drill-record.ts';
import { makeClient } from './support/client-store.ts';

const DAY_MS = 86_400_000;
const AT = '2026-01-10T05:00:00.000Z';
const GOOD: DrillRecord = {
  at: AT,
  snapshot: '2026-01-10T00-00-00Z',
  chosen: 20,
  files: 31,
  bytes: 4096,
  problems: 0,
  failed: null,
  succeeded: AT,
};
const json = (more: object): string => JSON.stringify({ version: 1, ...GOOD, ...more });

describe('decodeDrillRecord()', () => {
  it('decodes what encodeDrillRecord() writes', () => {
    const count = fc.nat();
    const time = fc
      .date({ min: new Date(0), max: new Date('9999-01-01'), noInvalidDate: true })
      .map(date => date.toISOString());
    const record = fc.record({
      at: time,
      snapshot: fc.constantFrom(null, '2026-01-10T00-00-00Z'),
      chosen: count,
      files: count,
      bytes: count,
      problems: count,
      failed: fc.option(fc.string()),
      succeeded: fc.option(time),
    });
    fc.assert(
      fc.property(record, each => {
        assert.deepEqual(decodeDrillRecord(encodeDrillRecord(each)), { value: { ...each } });
      }),
    );
  });

  const refused: [what: string, text: string][] = [
    ['no JSON', '{'],
    ['nothing', ''],
    ['a list', '[]'],
    ['null', 'null'],
    ['a key twice', json({}).replace('{', '{"at":"2026-01-01T00:00:00.000Z",')],
    ['an unknown key', json({ more: 1 })],
    ['a key that every object has', json({}).replace('{', '{"constructor":1,')],
    ['another version', json({ version: 2 })],
    ['no version', JSON.stringify(GOOD)],
    ['no time', json({ at: undefined })],
    ['another form of time', json({ at: '2026-01-10' })],
    ['a time that does not exist', json({ at: '2026-13-10T05:00:00.000Z' })],
    ['no snapshot', json({ snapshot: undefined })],
    ['a path as the snapshot', json({ snapshot: '../2026-01-10T00-00-00Z' })],
    ['a negative count', json({ problems: -1 })],
    ['a fraction', json({ files: 1.5 })],
    ['a count as text', json({ bytes: '1' })],
    ['a number as the reason', json({ failed: 1 })],
    ['a reason that is too long', json({ failed: 'x'.repeat(2001) })],
    ['a success that is no time', json({ succeeded: 'yesterday' })],
  ];
  for (const [what, text] of refused)
    it(`refuses ${what}`, () => assert.ok('reason' in decodeDrillRecord(text), text));

  it('never throws', () => {
    fc.assert(fc.property(fc.string(), text => void decodeDrillRecord(text)));
    fc.assert(fc.property(fc.json(), text => void decodeDrillRecord(text)));
  });
});

describe('writeDrillRecord()', () => {
  const { succeeded, ...result } = GOOD;

  it('keeps the time of the last success when a drill fails', t => {
    const client = makeClient(t);
    assert.equal(readDrillRecord(client), undefined);
    writeDrillRecord(client, { ...result, failed: 'x'.repeat(5000) });
    assert.equal(readDrillRecord(client)?.succeeded, null);
    assert.equal(readDrillRecord(client)?.failed?.length, 2000);
    writeDrillRecord(client, result);
    assert.deepEqual(readDrillRecord(client), GOOD);
    const later = '2026-01-11T05:00:00.000Z';
    writeDrillRecord(client, { ...result, at: later, problems: 3 });
    assert.deepEqual(readDrillRecord(client), { ...GOOD, at: later, problems: 3, succeeded });
  });

  it('replaces a record that cannot be read', t => {
    const client = makeClient(t);
    writeFileSync(`${client.folder}/drill.json`, 'x'.repeat(100_000));
    assert.equal(readDrillRecord(client), undefined);
    writeDrillRecord(client, result);
    assert.deepEqual(readDrillRecord(client), GOOD);
  });
});

describe('drillProblem()', () => {
  const after = (days: number): Date => new Date(Date.parse(AT) + days * DAY_MS);
  const cases: [what: string, record: DrillRecord | undefined, days: number, level: string | undefined][] = [
    ['no drill', undefined, 1000, undefined],
    ['a success', GOOD, 35, undefined],
    ['an old success', GOOD, 35.1, 'warning'],
    ['a drill without a result', { ...GOOD, failed: 'the disk is full' }, 0, 'warning'],
    ['a drill with a problem', { ...GOOD, problems: 1 }, 0, 'critical'],
    ['an old drill with a problem', { ...GOOD, problems: 1 }, 90, 'critical'],
    ['a success in the future', GOOD, -1, undefined],
  ];
  for (const [what, record, days, level] of cases)
    it(`reports ${level ?? 'nothing'} for ${what}`, () =>
      assert.equal(drillProblem(record, after(days))?.level, level));
});
