/** The versions of the rsync and OpenSSH that are installed here. */
import { run, standard } from './process.ts';

/** What the rsync that is installed here says of itself: its version and what it was built with. */
export async function rsyncWords(): Promise<string> {
  const { stdout } = await run(standard('rsync', ['--version']));
  return stdout.toString('utf8');
}

/** Whether the rsync that is installed here knows an option; its version would not tell, since distributions mend without a new one. */
export async function rsyncKnows(option: string): Promise<boolean> {
  return (await run(standard('rsync', [option, '--version']))).status === 0;
}

/** The version of the rsync that is installed here, or `unknown`. @param words what it says of itself, where that is known */
export async function rsyncVersion(words?: string): Promise<string> {
  return /^rsync +version ([0-9A-Za-z.+~-]{1,40}) /.exec(words ?? (await rsyncWords()))?.[1] ?? 'unknown';
}

/** What `ssh -V` and an sshd's greeting have in common: `OpenSSH_9.2p1 Debian-2+deb12u10`. */
export function parseOpensshVersion(text: string): string | undefined {
  return /OpenSSH_(\d+(?:\.\d+)+(?:p\d+)?)/.exec(text)?.[1];
}

/** The version of the OpenSSH client that is installed here, or `unknown`. */
export async function opensshVersion(): Promise<string> {
  const { stderr } = await run(standard('ssh', ['-V']), { timeoutMs: 10_000 });
  return parseOpensshVersion(stderr) ?? 'unknown';
}
