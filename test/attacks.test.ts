import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { makeAttack } from '../src/client/attack.ts';
import { scopeFilter } from '../src/client/filter.ts';
import { Fault } from '../src/fault.ts';
import { ATTACKED_FILES, attacksOn, KEPT } from '../src/wire/attacks.ts';
import { daemonArguments, daemonConfig, MODULE_PATH } from '../src/wire/rsync.ts';
import { makeScratch } from './daemon.ts';

describe('attacksOn() before real rsync', () => {
  const scratch = makeScratch('attacks');
  const served = join(scratch.path, 'served');
  mkdirSync(served);
  after(() => scratch[Symbol.dispose]());
  const filter = join(scratch.path, 'filter');
  for (const [name, content] of Object.entries(ATTACKED_FILES))
    writeFileSync(join(served, name), content, { mode: 0o644 });

  /** @returns which attacks succeed, by what the host does */
  async function successes(weaken: (config: string) => string, rules: string): Promise<string[]> {
    const config = join(scratch.path, 'rsyncd.conf');
    writeFileSync(filter, rules);
    writeFileSync(config, weaken(daemonConfig({ filter, idleSeconds: 20, confined: false })));
    const sender = { program: '/usr/bin/rsync', args: daemonArguments(config, 0), environment: {} };
    const late = (): Fault => new Fault({ tried: 'attack rsync', found: 'it does not answer' });
    const found: string[] = [];
    for (const each of attacksOn(served)) {
      const { signal } = new AbortController();
      if (each.succeeds(await makeAttack(sender, each, { signal, timeoutMs: 20_000, late })))
        found.push(each.how);
    }
    return found;
  }
  const asIs = (config: string): string => config;
  const rules = scopeFilter({ roots: ['/'], never: [join(served, KEPT)], excludes: [] });

  it('succeeds with none against config and filter of a run', async () => {
    assert.deepEqual(await successes(asIs, rules), []);
  });
  it('succeeds by the list of files where the filter does not name the file', async () => {
    assert.deepEqual(await successes(asIs, `- ${MODULE_PATH}/**\n`), ['clears the filter']);
  });
  it('succeeds by merge rules where neither the filter nor the module has what stops them', async () => {
    const found = await successes(config => config.replace(`path = ${MODULE_PATH}\n`, 'path = /\n'), '');
    assert.deepEqual(found, [
      'clears the filter',
      'sends a merge rule',
      'sends a merge rule for each folder',
    ]);
  });
  it('succeeds by options where none is refused', async () => {
    const found = await successes(config => config.replace(/^refuse options = .*\n/m, ''), rules);
    assert.deepEqual(found, ['sends --protect-args', 'sends --copy-links']);
  });
  it('succeeds by --protect-args where only `*` refuses', async () => {
    const found = await successes(config => config.replace(/ secluded-args protect-args\b.*/, ''), rules);
    assert.deepEqual(found, ['sends --protect-args']);
  });
});
