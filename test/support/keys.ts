/** Key files of each type, made by the real ssh-keygen. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';

/** Keys with the name TYPE or TYPE-BITS; `ecdsa-cert` is a certificate. */
const MADE: [name: string, type: string, bits: string][] = [
  ['ed25519', 'ed25519', '256'],
  ['rsa', 'rsa', '2048'],
  ['rsa-1024', 'rsa', '1024'],
  ['ecdsa', 'ecdsa', '521'],
  ['ecdsa-256', 'ecdsa', '256'],
  ['ecdsa-384', 'ecdsa', '384'],
];

export class Keys {
  readonly folder = mkdtempSync(`${tmpdir()}/dialback keys `);

  constructor() {
    const keygen = (...args: string[]) => execFileSync('ssh-keygen', ['-q', ...args], { stdio: 'pipe' });
    for (const [name, type, bits] of MADE)
      keygen('-t', type, '-b', bits, '-N', '', '-C', `me@${name}`, '-f', `${this.folder}/${name}`);
    keygen('-s', `${this.folder}/ed25519`, '-I', 'x', '-n', 'me', `${this.folder}/ecdsa.pub`);
  }

  /** A public half, as its file has it. */
  text(name: string): string {
    return readFileSync(`${this.folder}/${name}.pub`, 'utf8');
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
