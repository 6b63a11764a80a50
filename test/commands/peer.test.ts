import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { exitName } from '../../src/commands/command.ts';
import { EXIT, type ExitName } from '../../src/fault.ts';
import { decodeEvent } from '../../src/wire/events.ts';
import { COMMANDS, commandOf } from '../support/command-line.ts';
import { says, wording } from '../support/wording.ts';

const CALLED = { SSH_CONNECTION: '192.0.2.1 1 192.0.2.2 22' };

/** What another machine is told where this command line fails. */
function told(argv: string[], environment: NodeJS.ProcessEnv, calledAs?: string): string | undefined {
  const { command, words } = commandOf(argv, calledAs);
  return command.failureForPeer?.(words, environment)?.text;
}

describe('failureForPeer()', () => {
  it('tells a client only that its run failed', () => {
    const texts = [
      told(['grab', '--client', 'a'], CALLED),
      told(['grab', '--nonsense', '--local'], {}),
      told(['-c', 'x'], CALLED),
      told([], CALLED, '-dialback'),
    ];
    for (const text of texts) {
      const event = decodeEvent(text?.trimEnd() ?? '');
      assert.ok('value' in event && event.value.event === 'outcome');
      assert.deepEqual([event.value.outcome, event.value.code], ['failed', 'internal']);
    }
  });

  it('tells a host only that the gate failed', () => {
    assert.equal(told(['gate', '--nonsense'], CALLED), `${wording('cannot-let-this-in-the')}\n`);
    const { command, words } = commandOf(['gate']);
    assert.equal(command.failureForPeer?.(words, CALLED)?.exit, 'refused');
  });

  it('leaves every message for a person as it is', () => {
    assert.equal(told(['grab'], {}), undefined);
    assert.equal(told(['gate', '--check'], {}), undefined);
    assert.equal(told(['-c', 'x'], {}), undefined);
    const others = COMMANDS.filter(each => !['grab', 'gate'].includes(each.name));
    for (const { name } of others) assert.equal(told([name], CALLED), undefined);
  });
});

describe('findCommand()', () => {
  it('takes everything for a request to the login shell where it is called as one', () => {
    for (const argv of [['backup'], ['--help'], ['-c', 'x'], []]) {
      const { command, words } = commandOf(argv, '-dialback');
      assert.deepEqual([command.name, words], ['shell', argv]);
    }
    assert.throws(() => commandOf(['shell']), says('there-is-no-such-command'));
  });
});

describe('exitName()', () => {
  it('is the inverse of EXIT, and a failure for a number that is not in it', () => {
    for (const [name, status] of Object.entries(EXIT)) assert.equal(exitName(status), name as ExitName);
    for (const status of [4, 99, 255, -1]) assert.equal(exitName(status), 'failed');
  });
});
