// Goal: the README's two commands, `make try` and `make test`, pass where nothing was ever installed by hand. They switch no
// service on, and to somebody who is not root they say what is missing and how to get it.
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { copyCheckout, IN_CLEAN_MACHINE, loginEnvironment } from '../../support/checkout.ts';
import { type Ended, Machine } from '../../support/machine.ts';
import { matching, matchingLines, says } from '../../support/wording.ts';

const SKIP =
  IN_CLEAN_MACHINE ||
  (process.getuid?.() !== 0 && 'needs root: it makes a machine of namespaces and an overlay');

/** All that tools/prepare.sh installs and that a Debian can be without. */
const PACKAGES = (
  'rsync openssh-server openssh-sftp-server openssh-client acl attr strace procps psmisc nftables cron ' +
  'gcc libc6-dev libcap2-bin gcc-aarch64-linux-gnu libc6-dev-arm64-cross clang libclang-rt-dev ' +
  'mandoc man-db zsh fish bash-completion'
).split(' ');
const PROGRAMS =
  'rsync sshd ssh ssh-keygen ssh-agent setfacl getfattr strace ps fuser nft cron gcc setcap aarch64-linux-gnu-gcc clang mandoc man zsh fish'.split(
    ' ',
  );

const STEP_MS = 5 * 60_000;
const WHOLE_TEST_MS = 12 * 60_000;
/** What `make try` may take once the packages are there: npm's part, the build, and the showing. */
const TRY_SECONDS = 90;

const TRIED = matching`^${says('all-of-it-is-removed')}: .*\. It took [\d.]+ m?s\.$`;
const POLICY = '/usr/sbin/policy-rc.d';

/** A machine without what is needed, and a fresh checkout in it. */
class Clean {
  readonly machine: Machine;
  readonly folder = '/srv/a new folder/dialback';

  private constructor(machine: Machine) {
    this.machine = machine;
  }

  static async make(): Promise<Clean> {
    const clean = new Clean(await Machine.boot());
    try {
      const { status, output } = await clean.shell(`
        set -eu
        installed=$(dpkg-query -W -f '\${Package} \${db:Status-Status}\\n' ${PACKAGES.join(' ')} 2>/dev/null |
          sed -n 's/ installed$//p') || true
        export DEBIAN_FRONTEND=noninteractive
        if [ -n "$installed" ]; then apt-get purge -qqy $installed; fi
        rm -rf /root/.npm /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
        rm -f ${POLICY} ${POLICY}.before-dialback
      `);
      assert.equal(status, 0, output);
      const found = await clean.shell(`for each in ${PROGRAMS.join(' ')}; do command -v $each || true; done`);
      assert.equal(found.output, '', 'nothing is there');
      assert.deepEqual(clean.services(), []);
      copyCheckout(clean.machine.path(clean.folder));
      for (const made of ['node_modules', 'dist/dialback'])
        assert.ok(!existsSync(clean.machine.path(`${clean.folder}/${made}`)), made);
      return clean;
    } catch (error) {
      await clean.machine.end();
      throw error;
    }
  }

  /** As root, outside of the checkout. */
  async shell(script: string): Promise<Ended> {
    return await this.run(['sh', '-c', script], { folder: '/' });
  }

  async run(
    command: string[],
    options: { folder?: string; user?: { uid: number; gid: number; home: string }; timeoutMs?: number } = {},
  ): Promise<Ended> {
    const { user } = options;
    return await this.machine.run(command, {
      folder: options.folder ?? this.folder,
      environment: { ...loginEnvironment(user?.home ?? '/root'), DIALBACK_CLEAN_MACHINE: '1' },
      timeoutMs: options.timeoutMs ?? STEP_MS,
      ...(user ? { account: user } : {}),
    });
  }

  /** What of a backup still runs. */
  left(): string[] {
    return this.machine.programs().filter(name => /^(ssh|rsync|dialback)/.test(name));
  }

  /** An sshd or cron that runs, or that would run after a start of the machine; a policy that was left. */
  services(): string[] {
    const links = ['ssh', 'cron'].flatMap(name => [
      `/etc/rc[2-5].d/S*${name}*`,
      `/etc/systemd/system/*${name}*`,
      `/etc/systemd/system/*.wants/*${name}*`,
    ]);
    return [
      ...this.machine.programs().filter(name => /^(sshd|cron)/.test(name)),
      ...globSync(links.map(link => this.machine.path(link))),
      ...globSync(this.machine.path(`${POLICY}*`)),
    ];
  }
}

/** The last line that says something. */
function lastLine(output: string): string {
  return output.trimEnd().split('\n').at(-1) ?? '';
}

describe('a clean machine', { skip: SKIP }, () => {
  describe('for root', () => {
    let clean: Clean;
    before(async () => {
      clean = await Clean.make();
    });
    after(async () => {
      await clean?.machine.end();
    });

    it('`make try` installs what is missing, builds, and shows a backup', async () => {
      const { status, output } = await clean.run(['make', 'try']);
      assert.equal(status, 0, output);
      assert.match(lastLine(output), TRIED, output);
      assert.deepEqual(clean.services(), [], output);
    });

    it('`make test` passes', async t => {
      const { status, output } = await clean.run(['make', 'test'], { timeoutMs: WHOLE_TEST_MS });
      assert.equal(status, 0, output);
      assert.match(lastLine(output), /^\d{3,} passed, 0 failed(, \d+ skipped)?$/, output);
      assert.deepEqual(clean.services(), [], output);
      t.diagnostic(lastLine(output));
    });

    it(`\`make try\` takes under ${TRY_SECONDS} s where the packages are there`, async t => {
      for (const made of ['/root/.npm', `${clean.folder}/node_modules`, `${clean.folder}/dist/dialback`])
        rmSync(clean.machine.path(made), { recursive: true });
      const { status, output, seconds } = await clean.run(['make', 'try']);
      assert.equal(status, 0, output);
      assert.match(output, /npm ci/, 'all of it was done again');
      assert.match(lastLine(output), TRIED, output);
      assert.ok(seconds < TRY_SECONDS, `${seconds} s\n${output}`);
      t.diagnostic(`${seconds.toFixed(1)} s`);
      assert.deepEqual(clean.left(), []);
    });
  });

  describe('for an ordinary user', () => {
    let clean: Clean;
    let user: { uid: number; gid: number; home: string };
    const ownPolicy = '#!/bin/sh\n# the machine has one\nexit 0\n';
    before(async () => {
      clean = await Clean.make();
      const made = await clean.shell(
        `useradd --create-home anna && chown -R anna: '${clean.folder}' && id -u anna && id -g anna`,
      );
      assert.equal(made.status, 0, made.output);
      const [uid, gid] = made.output.trim().split('\n').map(Number);
      user = { uid: uid ?? 0, gid: gid ?? 0, home: '/home/anna' };
      assert.ok(user.uid >= 1000);
    });
    after(async () => {
      await clean?.machine.end();
    });

    it('`make try` and `make test` say what is missing and who can install it, and stop', async () => {
      for (const what of ['try', 'test']) {
        const { status, output } = await clean.run(['make', what], { user });
        assert.equal(status, 2, output); // make's own
        assert.match(output, matchingLines`^${says('prepare-cannot-run-without')} .*\bsshd\b.* rsync\b`);
        assert.match(output, new RegExp(`^next: sudo tools/prepare\\.sh --packages ${what}$`, 'm'));
        for (const made of ['node_modules', 'dist/dialback'])
          assert.ok(!existsSync(clean.machine.path(`${clean.folder}/${made}`)), made);
      }
    });

    it('that command, run by root, installs the packages and leaves the rest alone', async () => {
      writeFileSync(clean.machine.path(POLICY), ownPolicy, { mode: 0o755 });
      const { status, output } = await clean.run(['tools/prepare.sh', '--packages', 'try']);
      assert.equal(status, 0, output);
      assert.equal(readFileSync(clean.machine.path(POLICY), 'utf8'), ownPolicy);
      rmSync(clean.machine.path(POLICY));
      assert.deepEqual(clean.services(), [], output);
      const { output: owned } = await clean.shell(`find '${clean.folder}' ! -user anna`);
      assert.equal(owned, '', 'nothing in the checkout is root’s');
    });

    it('`make try` passes then', async () => {
      const { status, output } = await clean.run(['make', 'try'], { user });
      assert.equal(status, 0, output);
      assert.match(lastLine(output), TRIED, output);
      assert.deepEqual(clean.machine.programs(), ['cat', 'sh', 'sh'], 'nothing runs but the machine itself');
      assert.deepEqual(clean.services(), [], output);
    });
  });
});
