import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { type GateOrders, issueTicket, readOrders, readTaken, takeTicket } from '../src/client/ticket.ts';
import { Fault } from '../src/fault.ts';

const TOP = mkdtempSync(join(tmpdir(), 'db ticket-'));
after(() => rmSync(TOP, { recursive: true, force: true }));

/** A new run folder. */
const makeRun = (): string => mkdtempSync(join(TOP, 'run-'));

const ORDERS: GateOrders = {
  niceness: { nice: 10, ionice: { class: 'idle' } },
  bwlimitKib: 0,
  capability: 'confined',
  remote: 'vault',
  isChannel: false,
};

/** Writes gate.json as it is given, and reads it as the gate does. */
function read(text: string): GateOrders {
  const run = makeRun();
  writeFileSync(join(run, 'gate.json'), text);
  return readOrders(run);
}

describe('readOrders()', () => {
  const good: GateOrders[] = [
    ORDERS,
    { ...ORDERS, capability: 'none', isChannel: true, bwlimitKib: 5000 },
    { ...ORDERS, capability: 'inherited', niceness: { nice: 0, ionice: null } },
    { ...ORDERS, niceness: { nice: 19, ionice: { class: 'best-effort', level: 7 } } },
  ];
  for (const orders of good)
    it(`returns what issueTicket() wrote: ${JSON.stringify(orders)}`, () => {
      const run = makeRun();
      issueTicket(run, orders);
      assert.deepEqual(readOrders(run), orders);
    });

  const idle = { class: 'idle' };
  const wrong: [what: string, orders: unknown, found: RegExp][] = [
    ['a list', [], /^"niceness": /],
    ['null', null, /Object/],
    ['an empty object', {}, /^"niceness": /],
    ['an unknown key', { ...ORDERS, more: 1 }, /^"more": /],
    ['a capability that does not exist', { ...ORDERS, capability: 'all' }, /^"capability": /],
    ['an empty capability', { ...ORDERS, capability: '' }, /^"capability": /],
    ['a capability of another type', { ...ORDERS, capability: ['none'] }, /^"capability": /],
    ['a capability in capitals', { ...ORDERS, capability: 'None' }, /^"capability": /],
    ['a remote of another type', { ...ORDERS, remote: 7 }, /^"remote": /],
    ['an empty remote', { ...ORDERS, remote: '' }, /^"remote": /],
    ['isChannel as text', { ...ORDERS, isChannel: 'false' }, /^"isChannel": /],
    ['isChannel as a number', { ...ORDERS, isChannel: 0 }, /^"isChannel": /],
    ['a negative limit', { ...ORDERS, bwlimitKib: -1 }, /^"bwlimitKib": /],
    ['a limit with a fraction', { ...ORDERS, bwlimitKib: 0.5 }, /^"bwlimitKib": /],
    ['a limit as text', { ...ORDERS, bwlimitKib: '5' }, /^"bwlimitKib": /],
    ['a limit that is too large', { ...ORDERS, bwlimitKib: 2 ** 53 }, /^"bwlimitKib": /],
    ['a niceness of another type', { ...ORDERS, niceness: 10 }, /^"niceness": /],
    ['a negative niceness', { ...ORDERS, niceness: { nice: -1, ionice: null } }, /^"niceness\.nice": /],
    ['a niceness over 19', { ...ORDERS, niceness: { nice: 20, ionice: null } }, /^"niceness\.nice": /],
    ['no ionice', { ...ORDERS, niceness: { nice: 1 } }, /^"niceness\.ionice": /],
    [
      'an unknown key in niceness',
      { ...ORDERS, niceness: { nice: 1, ionice: null, x: 1 } },
      /^"niceness\.x": /,
    ],
    [
      'an unknown class',
      { ...ORDERS, niceness: { nice: 1, ionice: { class: 'realtime' } } },
      /^"niceness\.ionice\.class": /,
    ],
    [
      'a level with idle',
      { ...ORDERS, niceness: { nice: 1, ionice: { ...idle, level: 1 } } },
      /^"niceness\.ionice\.level": /,
    ],
    [
      'best-effort without a level',
      { ...ORDERS, niceness: { nice: 1, ionice: { class: 'best-effort' } } },
      /^"niceness\.ionice\.level": /,
    ],
    [
      'a level over 7',
      { ...ORDERS, niceness: { nice: 1, ionice: { class: 'best-effort', level: 8 } } },
      /^"niceness\.ionice\.level": /,
    ],
    ...Object.keys(ORDERS).map((key): [string, unknown, RegExp] => {
      const without = Object.entries(ORDERS).filter(([each]) => each !== key);
      return [`no ${key}`, Object.fromEntries(without), new RegExp(`^"${key}": `)];
    }),
  ];
  for (const [what, orders, found] of wrong)
    it(`refuses ${what} by name`, () => {
      assert.throws(
        () => read(JSON.stringify(orders)),
        error => error instanceof Fault && error.tried === 'read "gate.json"' && found.test(error.found),
      );
    });

  const text = JSON.stringify(ORDERS);
  const broken: [what: string, text: string, found: RegExp][] = [
    ['an empty file', '', /is not JSON/],
    ['half a file', text.slice(0, -5), /is not JSON/],
    ['text behind it', `${text}x`, /is not JSON/],
    ['a second object', `${text}${text}`, /is not JSON/],
    ['a repeated key', text.replace('{', '{"capability":"none",'), /"capability" twice/],
    ['a file that is too large', text.padEnd(65_537), /has 65537 bytes/],
  ];
  for (const [what, content, found] of broken)
    it(`refuses ${what}`, () =>
      assert.throws(
        () => read(content),
        error => error instanceof Fault && found.test(error.found),
      ));

  it('accepts no JSON that is not exactly such orders', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(...Object.keys(ORDERS)), (value, key) => {
        const orders = { ...ORDERS, [key]: value };
        let accepted: GateOrders;
        try {
          accepted = read(JSON.stringify(orders));
        } catch (error) {
          assert.ok(error instanceof Fault);
          return;
        }
        assert.ok(['confined', 'inherited', 'none'].includes(accepted.capability));
        assert.deepEqual(accepted, JSON.parse(JSON.stringify(orders)));
      }),
      { numRuns: 300 },
    );
  });
});

describe('takeTicket()', () => {
  it('succeeds once, and says who has taken it', () => {
    const run = makeRun();
    issueTicket(run, ORDERS);
    assert.equal(readTaken(run), undefined);
    assert.equal(takeTicket(run, '192.0.2.1 4000 192.0.2.2 22'), true);
    const taken = readTaken(run);
    assert.deepEqual([taken?.pid, taken?.peerAddress, taken?.peerPort], [process.pid, '192.0.2.1', 4000]);
    assert.match(taken?.startTicks ?? '', /^\d+$/);
    assert.equal(existsSync(join(run, 'ticket')), false);
    assert.equal(takeTicket(run, '192.0.2.1 4001 192.0.2.2 22'), false);
    assert.deepEqual(readTaken(run), taken);
  });

  it('needs no connection over a channel', () => {
    const run = makeRun();
    issueTicket(run, ORDERS);
    assert.equal(takeTicket(run, undefined), true);
    assert.deepEqual([readTaken(run)?.peerAddress, readTaken(run)?.peerPort], ['', 0]);
  });
});

describe('readTaken()', () => {
  const run = makeRun();
  issueTicket(run, ORDERS);
  takeTicket(run, undefined);
  const whole = JSON.parse(readFileSync(join(run, 'taken'), 'utf8')) as Record<string, unknown>;
  const wrong: [what: string, text: string][] = [
    ['an empty file, as a power cut leaves it', ''],
    ['no object', '7'],
    ['a pid of 1, which must never be killed', JSON.stringify({ ...whole, pid: 1 })],
    ['a negative pid, which is a process group', JSON.stringify({ ...whole, pid: -4000 })],
    ['a pid with a fraction', JSON.stringify({ ...whole, pid: 4000.5 })],
    ['a pid as text', JSON.stringify({ ...whole, pid: '4000' })],
    ['no start time', JSON.stringify({ ...whole, startTicks: undefined })],
    ['an empty start time', JSON.stringify({ ...whole, startTicks: '' })],
    ['an unknown key', JSON.stringify({ ...whole, more: 1 })],
    ['a port that does not exist', JSON.stringify({ ...whole, peerPort: 65_536 })],
    ['a repeated key', JSON.stringify(whole).replace('{', '{"pid":2,')],
  ];
  for (const [what, text] of wrong)
    it(`is undefined for ${what}`, () => {
      writeFileSync(join(run, 'taken'), text);
      assert.equal(readTaken(run), undefined);
    });
});
