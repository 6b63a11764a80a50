/** Which files of packages have extended attributes that a package manager would not give them. */
import { Fault } from '../fault.ts';
import { asBytes, unescapeOctal } from '../os/byte-path.ts';
import { run, STDERR_KEPT, standard } from '../os/process.ts';
import { hasProgram } from '../os/programs.ts';
import { escapeText } from '../wire/text.ts';
import type { InnerPaths } from './inner-path.ts';

const GETFATTR_MS = 30 * 60_000;
const GETFATTR_BYTES = 256 * 1024 * 1024;
const LABEL = 'security.selinux';

/**
 * Finds the files that have extended attributes, or of which this account cannot see whether they have. ACLs and capabilities are
 * such attributes (xattr(7)).
 * @param paths in the system
 * @param setsLabels whether to pass over an SELinux label that is the one of the policy
 * @throws Fault if getfattr fails for another reason than one of these files
 */
export async function findAttributes(
  inner: InnerPaths,
  paths: readonly string[],
  setsLabels: boolean,
  signal: AbortSignal,
): Promise<string[]> {
  if (paths.length === 0) return [];
  const known = new Map(paths.map(path => [inner.outside(path).toString('latin1'), path]));
  const words = ['-h', '-m', '-', '--absolute-names', '--'];
  const { stdout, stderr, status } = await askAbout([...known.keys()], 'getfattr', words, signal);
  const named = parseAttributeNames(stdout.toString('latin1'));
  const failed = stderr
    .split('\n')
    .filter(line => line !== '')
    .map(line => /^\S*getfattr: (\/.*): [^:]*$/.exec(line)?.[1]);
  const isWhole = failed.every(each => each !== undefined) && Buffer.byteLength(stderr) < STDERR_KEPT;
  if (!(status === 0 || (status === 123 && failed.length > 0)) || !isWhole)
    throw new Fault({
      tried: 'look for extended attributes',
      found: `getfattr ended with ${status}: ${escapeText(stderr.trim().split('\n').at(-1) ?? '')}`,
    });
  const labeled = setsLabels ? [...named].filter(([, names]) => names.every(each => each === LABEL)) : [];
  const verified = await findPolicyLabels(
    labeled.map(([path]) => path),
    signal,
  );
  const marked = [...named.keys()].filter(path => !verified.has(path));
  return [...marked, ...failed.map(each => asBytes(each ?? ''))].flatMap(each => known.get(each) ?? []);
}

/**
 * Reads the output of `getfattr -m -` (getfattr(1)).
 * @returns the names of attributes by path, as bytes
 */
function parseAttributeNames(output: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  let names: string[] = [];
  for (const line of output.split('\n')) {
    const path = /^# file: (.*)$/.exec(line)?.[1];
    if (path !== undefined) {
      names = [];
      found.set(unescapeOctal(path), names);
    } else if (line !== '') names.push(line);
  }
  return found;
}

/** Finds the files whose label is the one of the policy, by matchpathcon(8). Without it there are none. */
async function findPolicyLabels(paths: readonly string[], signal: AbortSignal): Promise<Set<string>> {
  // It prints names as they are. A line of its output is evidence only if no name can have another line in it.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is refused
  const plain = paths.filter(path => !/[\u0000-\u001f\u007f]/.test(path));
  if (plain.length === 0 || !hasProgram('matchpathcon')) return new Set();
  const { stdout } = await askAbout(plain, 'matchpathcon', ['-V'], signal);
  const lines = new Set(stdout.toString('latin1').split('\n'));
  return new Set(plain.filter(path => lines.has(`${path} verified.`)));
}

async function askAbout(
  paths: readonly string[],
  program: string,
  words: readonly string[],
  signal: AbortSignal,
): ReturnType<typeof run> {
  const input = Buffer.from(paths.map(path => `${path}\0`).join(''), 'latin1');
  const limits = { input, signal, timeoutMs: GETFATTR_MS, limit: GETFATTR_BYTES };
  return await run(standard('xargs', ['-0', '-x', standard(program, []).program, ...words]), limits);
}
