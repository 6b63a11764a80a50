// The remote shell of a hostile client's rsync: calls the host with ssh, asks for the files of an offer, and then joins the two.
// Arguments: CODE, and those of ssh with the command at their end. What rsync adds (host and command) is dropped.
import { spawn } from 'node:child_process';

const code = process.argv[2];
const end = process.argv.indexOf('END');
const ssh = spawn('/usr/bin/ssh', process.argv.slice(3, end), { stdio: ['pipe', 'pipe', 'inherit'] });
ssh.stdin.write(`dialback-fetch 1 files ${code}\n`);
let held = Buffer.alloc(0);
let stage = 'answer';
ssh.stdout.on('data', chunk => {
  if (stage === 'rsync') return void process.stdout.write(chunk);
  held = Buffer.concat([held, chunk]);
  if (stage === 'answer') {
    let at = held.indexOf(10) + 1;
    for (;;) {
      const line = held.indexOf(10, at);
      if (at === 0 || line < 0) return;
      const length = Number(held.toString('latin1', at, line));
      at = line + 1 + length;
      if (held.length < at) return;
      if (length === 0) break;
    }
    held = held.subarray(at);
    stage = 'go';
    ssh.stdin.write('rsync --server --daemon .\n');
  }
  if (stage === 'go' && held.length >= 3) {
    stage = 'rsync';
    process.stdout.write(held.subarray(3));
    process.stdin.pipe(ssh.stdin);
  }
});
ssh.on('close', status => process.exit(status ?? 1));
ssh.stdin.on('error', () => {});
process.stdout.on('error', () => {});
