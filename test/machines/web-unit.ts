/** systemd starts `dialback web` at the first connection to its socket, with the units that `make install` lays down. */
import assert from 'node:assert/strict';
import { quoteForShell } from '../../src/wire/text.ts';
import { HOST, type Installed } from './installed.ts';
import type { Row } from './results.ts';

const SOCKET = 'dialback-web.socket';
const SERVICE = 'dialback-web.service';
const PLACE = '127.0.0.1:8030';

/** Logs in and reads the overview, after the steps at the top of the unit files. */
export async function checkWeb(machine: Installed, { check }: Row): Promise<void> {
  const isStarted = await check('the first connection starts dialback web', async () => {
    assert.equal((await machine.run(`systemctl is-enabled ${SOCKET}`)).stdout, 'disabled\n');
    // The store of this machine belongs to another account.
    await machine.ssh(
      `mkdir -p /etc/systemd/system/${SERVICE}.d
       printf '[Service]\\nUser=${HOST}\\n' >/etc/systemd/system/${SERVICE}.d/account.conf
       systemctl daemon-reload && systemctl enable --now ${SOCKET} 2>&1`,
    );
    assert.equal((await machine.run(`systemctl is-active ${SERVICE}`)).stdout, 'inactive\n');
    assert.match(await ask(machine, 'GET / HTTP/1.1'), /^HTTP\/1\.1 401 /);
    assert.equal(await machine.ssh(`systemctl is-active ${SERVICE}`), 'active\n');
  });
  if (!isStarted) return;
  await check('the address in the journal logs in once', async () => {
    const token = await newestToken(machine);
    const cookie = /^set-cookie: ([^;\r]+)/im.exec(await logIn(machine, token))?.[1];
    assert.ok(cookie !== undefined);
    const overview = await ask(machine, 'GET / HTTP/1.1', `Cookie: ${cookie}\r\n`);
    assert.match(overview, /^HTTP\/1\.1 200 /);
    assert.match(overview, /snapshots/);
    assert.match(await logIn(machine, token), /^HTTP\/1\.1 403 /);
    await machine.ssh(`systemctl reload ${SERVICE}`);
    const next = await newestToken(machine, token);
    assert.match(await logIn(machine, next), /^HTTP\/1\.1 303 /);
  });
  await check('its processes have no privilege, and what answers has a filter of system calls', async () => {
    const group = await machine.ssh(`systemctl show --value -p ControlGroup ${SERVICE}`);
    const status = await machine.ssh(
      `for each in $(cat /sys/fs/cgroup${group.trim()}/cgroup.procs); do grep -E '^(Uid|CapPrm|CapBnd|NoNewPrivs|Seccomp):' /proc/$each/status | tr '\\n\\t' '  '; echo; done`,
    );
    const uid = (await machine.ssh(`id -u ${HOST}`)).trim();
    const processes = status.trim().split('\n');
    for (const each of processes) {
      assert.match(each, new RegExp(`^Uid: ${uid} ${uid} ${uid} ${uid} `));
      assert.match(each, /CapPrm: 0+ CapBnd: 0+ NoNewPrivs: 1 /);
    }
    assert.ok(processes.filter(each => /Seccomp: 2/.test(each)).length >= 1, status);
  });
  await check('a stopped service starts again', async () => {
    await machine.ssh(`systemctl stop ${SERVICE}`);
    assert.match(await ask(machine, 'GET /login HTTP/1.1'), /^HTTP\/1\.1 200 /);
    await machine.ssh(`systemctl disable --now ${SOCKET} 2>&1; systemctl stop ${SERVICE}`);
    assert.equal((await machine.run('systemctl --failed --no-legend')).stdout, '');
  });
}

/** The token of the newest login address in the journal. @param other an older one */
async function newestToken(machine: Installed, other = ''): Promise<string> {
  const found = await machine.ssh(
    `for _ in $(seq 60); do
       token=$(journalctl --no-pager -o cat -u ${SERVICE} | sed -n 's|^http://.*/login?token=||p' | tail -n 1)
       if [ -n "$token" ] && [ "$token" != '${other}' ]; then break; fi
       sleep 1
     done; echo "$token"`,
  );
  const token = found.trim();
  assert.match(token, /^[\w-]{20,}$/);
  assert.notEqual(token, other);
  return token;
}

async function logIn(machine: Installed, token: string): Promise<string> {
  const body = `token=${token}`;
  const more = `Origin: http://${PLACE}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${body.length}\r\n`;
  return await ask(machine, 'POST /login HTTP/1.1', more, body);
}

/** Sends a request from within the machine, which has no HTTP client. @returns the answer */
async function ask(machine: Installed, line: string, more = '', body = ''): Promise<string> {
  const request = `${line}\r\nHost: ${PLACE}\r\nConnection: close\r\n${more}\r\n${body}`;
  const script = `exec 3<>/dev/tcp/${PLACE.replace(':', '/')}; cat >&3 <<'END'\n${request}\nEND\ncat <&3`;
  return await machine.ssh(`bash -c ${quoteForShell(script)}`);
}
