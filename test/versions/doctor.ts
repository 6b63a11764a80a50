/** Checks `dialback doctor` on a machine of a suite, as client and as host, in particular the versions. */
import assert from 'node:assert/strict';
import { Run } from './combination.ts';
import { connect, type Station } from './station.ts';

interface Finding {
  check: string;
  state: 'ok' | 'warning' | 'critical' | 'unknown';
  found: string;
}

/** The versions that the programs print. A package's version can differ: Debian's openssh-client 10.0p1 is OpenSSH 10.0p2. */
async function readVersions(station: Station): Promise<{ rsync: string; openssh: string }> {
  const output = await station.say('root', 'rsync --version; ssh -V 2>&1');
  const [, rsync = ''] = /^rsync +version v?(\S+)/m.exec(output) ?? [];
  const [, openssh = ''] = /^OpenSSH_([\w.]+)/m.exec(output) ?? [];
  return { rsync, openssh };
}

/** @returns one phrase for rsync and OpenSSH @throws if a finding is critical or names another version */
export async function checkDoctor(station: Station): Promise<string> {
  await using cable = connect(station, station);
  const run = new Run(station, station, { transport: 'direct', right: 'confined' }, cable, 'doctor');
  await run.prepare();
  await run.backup();
  const look = async (account: 'dialback' | 'vault', words: string): Promise<Finding[]> => {
    const { output } = await station.run(account, `dialback doctor --json ${words}`);
    return JSON.parse(output) as Finding[];
  };
  const client = await look('dialback', `--client --config ${run.clientConfig}`);
  const host = await look('vault', `--host --config ${run.hostConfig}`);
  const critical = [...client, ...host].filter(({ state }) => state === 'critical' || state === 'unknown');
  assert.deepEqual(critical, [], 'critical, or unknown');
  const { rsync, openssh } = await readVersions(station);
  const named = [
    ['machine.rsync', `rsync ${rsync}`],
    ['machine.openssh', `OpenSSH ${openssh}`],
  ] as const;
  const phrases = named.map(([check, wanted]) => {
    const found = client.find(each => each.check === check);
    assert.ok(found, `doctor says nothing of ${check}`);
    assert.match(found.found, new RegExp(`^${wanted.replaceAll('.', '\\.')}\\b`));
    const holes = found.found.match(/CVE-\d{4}-\d+/g) ?? [];
    return found.state === 'ok' ? 'ok' : `${found.state}: ${holes.join(', ')}`;
  });
  return phrases.join('; ');
}
