/** The versions of the rsync and OpenSSH that are installed here. */
import { run, standard } from './process.ts';

/** The output of `rsync --version`: the version of the installed rsync and its build options. */
export async function rsyncWords(): Promise<string> {
  const { stdout } = await run(standard('rsync', ['--version']));
  return stdout.toString('utf8');
}

/** Whether the installed rsync knows an option. The version does not tell, since distributions backport fixes without a new version. */
export async function rsyncKnows(option: string): Promise<boolean> {
  return (await run(standard('rsync', [option, '--version']))).status === 0;
}

/** The version of the installed rsync, or `unknown`. @param words the output of `rsync --version`, if the caller has it */
export async function rsyncVersion(words?: string): Promise<string> {
  return /^rsync +version ([0-9A-Za-z.+~-]{1,40}) /.exec(words ?? (await rsyncWords()))?.[1] ?? 'unknown';
}

/** Reads the version out of `ssh -V` or an sshd's greeting: `OpenSSH_9.2p1 Debian-2+deb12u10`. */
export function parseOpensshVersion(text: string): string | undefined {
  return /OpenSSH_(\d+(?:\.\d+)+(?:p\d+)?)/.exec(text)?.[1];
}

/** The version of the installed OpenSSH client, or `unknown`. */
export async function opensshVersion(): Promise<string> {
  const { stderr } = await run(standard('ssh', ['-V']), { timeoutMs: 10_000 });
  return parseOpensshVersion(stderr) ?? 'unknown';
}
