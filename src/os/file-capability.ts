/** Reads file capabilities with getcap(8) or getfattr(1). */
import { parseCapabilityXattr, parseGetcap } from './capability-text.ts';
import { run, standard } from './process.ts';
import { hasProgram } from './programs.ts';

const TIMEOUT_MS = 10_000;

/**
 * Reads a file's capability.
 * @returns it as getcap(8) of libcap 2.41 writes it, '' for none; undefined where neither getcap nor getfattr(1) is installed
 */
export async function fileCapability(path: string): Promise<string | undefined> {
  if (hasProgram('getcap')) {
    const { status: ended, stdout } = await run(standard('getcap', [path]), { timeoutMs: TIMEOUT_MS });
    return ended === 0 ? parseGetcap(stdout.toString('utf8'), path) : undefined;
  }
  if (!hasProgram('getfattr')) return undefined;
  const args = ['--absolute-names', '--encoding=hex', '--name=security.capability', path];
  const { stdout, stderr } = await run(standard('getfattr', args), { timeoutMs: TIMEOUT_MS });
  if (/No such attribute/.test(stderr)) return '';
  return parseCapabilityXattr(
    /^security\.capability=0x([0-9a-f]+)$/m.exec(stdout.toString('utf8'))?.[1] ?? '',
  );
}
