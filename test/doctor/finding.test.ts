import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { doctorText } from '../../src/commands/doctor.ts';
import { type Finding, parseFindings, type State, Topic, worstStatus } from '../../src/doctor/finding.ts';

const TOPIC = new Topic('machine.test', 'it matters');

describe('worstStatus()', () => {
  const of = (...all: State[]) => worstStatus(all.map(state => ({ ...TOPIC.ok('x'), state })));
  const cases: [State[], number][] = [
    [[], 0],
    [['ok', 'ok'], 0],
    [['ok', 'warning'], 1],
    [['ok', 'unknown'], 1],
    [['warning', 'critical', 'ok'], 2],
    [['unknown', 'critical'], 2],
  ];
  for (const [all, status] of cases)
    it(`is ${status} when all are ${all.join(', ') || 'none'}`, () => assert.equal(of(...all), status));
});

describe('doctorText() and parseFindings()', () => {
  const findings: Finding[] = [
    new Topic('machine.kernel', 'why').ok('Linux'),
    new Topic('client.known_hosts', 'it has the key').critical('none\u001b[2J', "chmod 'a\\b'"),
    new Topic('machine.rsync', 'holes').warning('old', 'apt-get install rsync'),
  ];
  it('put them in groups, and tell why and what to do only where something is wrong', () => {
    assert.equal(
      doctorText(findings),
      [
        'machine',
        '  ok        kernel: Linux',
        '  warning   rsync: old',
        '            why: holes',
        '            next: apt-get install rsync',
        'client',
        '  critical  known hosts: none?[2J',
        '            why: it has the key',
        "            next: chmod 'a\\b'",
        '1 critical, 1 warning, 0 unknown, 1 ok',
        '',
      ].join('\n'),
    );
  });
  it('give back what was printed as JSON', () =>
    assert.deepEqual(parseFindings(JSON.stringify(findings)), findings));
  it('take nothing else', () => {
    const [first] = findings;
    for (const other of [
      '',
      'x',
      '{}',
      'null',
      '[null]',
      '[{}]',
      JSON.stringify([{ ...first, state: 'fine' }]),
      JSON.stringify([{ ...first, next: 1 }]),
      JSON.stringify([{ ...first, found: null }]),
    ])
      assert.equal(parseFindings(other), undefined, other);
  });
});
