// Goal: what is said of a command line that is wrong is one that works, once the words in capitals are put in: each command's usage,
// `dialback help` for a word that is none, and a name for init.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { nextOf, Steps } from '../../support/steps.ts';
import { NEEDS_ROOT, type Party, World } from '../../support/world.ts';

/** In this order each of them has what it works on. What sshd or backup starts is not for a person. */
const ON_THE_HOST = [
  'enroll',
  'list',
  'ls',
  'cat',
  'diff',
  'explain',
  'find',
  'restore',
  'status',
  'pin',
  'unpin',
  'prune',
  'verify',
  'remove',
  'doctor',
  'unenroll',
  'remove-client', // which is of no client that is enrolled
];

describe('a next step about the command line', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let steps: Steps;
  let words: Record<string, string>;

  before(async () => {
    world = await World.make();
    const file = join(world.data, 'file');
    world.write(world.client, file, 'content');
    const { last } = await world.backup();
    assert.equal(last.outcome, 'full');
    const snapshot = last.snapshot ?? '';
    steps = new Steps(world);
    const key = join(world.host.home, 'key.pub');
    world.write(world.host, key, readFileSync(join(world.client.home, '.ssh/id_ed25519.pub')));
    words = {
      NAME: world.name,
      SNAPSHOT: snapshot,
      A: snapshot,
      B: snapshot,
      PATH: `'${file}'`,
      DIR: `'${world.host.home}/restored'`,
      KEYFILE: `'${key}'`,
    };
  });
  after(async () => {
    await world.dispose();
  });

  /** Without what may be left out; of two ways the one that removes nothing. */
  const fill = (usage: string): string =>
    usage
      .replace(/ ?\[[^[\]]*\]/g, '')
      .replace(/ ?\[[^[\]]*\]/g, '') // what was in another one
      .replace(/--confirm \S+\|--dry-run/, '--dry-run')
      .replace(/(KEYFILE)\|-\|--local\|--from DIR\|-/, '$1')
      .replace(/\b[A-Z]+\b/g, word => words[word] ?? word);

  const correct = async (party: Party, verb: string): Promise<void> => {
    const refused = await steps.run(party, verb, '--nonsense');
    assert.equal(refused.status, 2);
    const usage = nextOf(refused);
    assert.match(usage, new RegExp(`^dialback ${verb}( |$)`));
    const statuses = verb === 'doctor' ? [1, 2] : [0]; // which tells what it found
    const { status, stderr } = await steps.shell(party, fill(usage));
    assert.ok(statuses.includes(status ?? -1), `${fill(usage)}: ${stderr}`);
    assert.ok(!stderr.includes(`next: ${usage}\n`), stderr);
  };

  it('is the usage of a command of the client', async () => {
    await correct(world.client, 'backup');
    await correct(world.client, 'doctor');
  });

  it('is a name that init takes', async () => {
    const refused = await steps.run(world.host, 'init', '--name', 'Not A Name');
    assert.equal(refused.status, 2);
    const filled = nextOf(refused).replace(/NAME$/, 'oak');
    await steps.follow(filled, /(dialback init --name oak)/, world.host);
    await correct(world.host, 'init');
  });

  it('is the usage of a command of the host', async () => {
    for (const verb of ON_THE_HOST) await correct(world.host, verb);
  });

  it('is the help, which names all of them', async () => {
    const refused = await steps.run(world.client, 'bakcup');
    assert.equal(refused.status, 2);
    const help = await steps.follow(nextOf(refused), /(dialback help)/, world.client);
    for (const verb of ['init', 'backup', ...ON_THE_HOST])
      assert.match(help, new RegExp(`^ +(dialback )?${verb}\\b`, 'm'));
  });

  // install/clean-machine.long has make do it.
  it('of a checkout that was not built names what builds it, and tries it out', async () => {
    const top = join(import.meta.dirname, '../../..');
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(top, 'src/main.ts'), 'try'], {
      encoding: 'utf8',
    });
    assert.notEqual(status, 0);
    assert.equal(nextOf({ stdout, stderr }), 'make try');
    const would = await steps.follow(`cd '${top}' && make --dry-run try`, /(.*)/, world.client, {
      as: 'root',
    });
    assert.match(would, /^(.* )?dist\/dialback try/m);
  });
});
