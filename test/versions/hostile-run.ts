/** A hostile host against the rsync of a suite: hostile.ts in a machine of its own, with a compiler from outside. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { withoutPlace } from '../runner/place.ts';

const TOP = join(import.meta.dirname, '../..');
const HERE = import.meta.dirname;

/** @throws with a line for each attack that succeeds */
export async function runHostileHost(suite: string): Promise<void> {
  const { execPath } = process;
  const enter = [
    join(HERE, 'roots.ts'),
    'enter',
    suite,
    '--net',
    '--bind',
    `${TOP}:${TOP}`,
    '--bind',
    '/:/outside',
  ];
  const inside = ['env', `CC=${join(HERE, 'outside-cc.sh')}`, execPath, join(HERE, 'hostile.ts')];
  const [program = '', ...args] = withoutPlace([execPath, ...enter, '--', ...inside]);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  const [status] = await once(child, 'close');
  assert.equal(status, 0, output);
  assert.match(output, /^rsync \S+: [1-9]\d* held, 0 did not$/m);
}
