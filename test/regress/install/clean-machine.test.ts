// Goal: where sshd and rsync are missing, `make try` and `make test` tell somebody who is not root what is missing and how to
// get it, and do nothing. install/clean-machine.long removes all packages, has them installed, and runs the whole suite there.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { copyCheckout, IN_CLEAN_MACHINE, loginEnvironment } from '../../support/checkout.ts';
import { Machine } from '../../support/machine.ts';
import { matchingLines, says } from '../../support/wording.ts';

const SKIP =
  IN_CLEAN_MACHINE ||
  (process.getuid?.() !== 0 && 'needs root: it makes a machine of namespaces and an overlay');
const FOLDER = '/srv/a new folder/dialback';

describe('a machine without sshd and rsync', { skip: SKIP }, () => {
  let machine: Machine;
  before(async () => {
    machine = await Machine.boot();
    copyCheckout(machine.path(FOLDER));
    const hidden = await machine.run(['rm', '/usr/sbin/sshd', '/usr/bin/rsync'], {
      folder: '/',
      environment: loginEnvironment('/root'),
      timeoutMs: 60_000,
    });
    assert.equal(hidden.status, 0, hidden.output);
  });
  after(async () => {
    await machine?.end();
  });

  for (const what of ['try', 'test', 'test-long'])
    it(`\`make ${what}\` says to an ordinary user what is missing and who can install it, and stops`, async () => {
      const { status, output } = await machine.run(['make', what], {
        folder: FOLDER,
        environment: loginEnvironment('/'),
        timeoutMs: 60_000,
        account: { uid: 65534, gid: 65534 },
      });
      assert.equal(status, 2, output); // make's own
      assert.match(output, matchingLines`^${says('prepare-cannot-run-without')} .*\bsshd\b.* rsync\b`);
      assert.match(output, new RegExp(`^next: sudo tools/prepare\\.sh --packages ${what}$`, 'm'));
      for (const made of ['node_modules', 'dist/dialback'])
        assert.ok(!existsSync(machine.path(`${FOLDER}/${made}`)), made);
    });
});
