/** File capabilities: of the launcher, and of the chain that `capability = "inherited"` needs. */

import { ownExecutable } from '../os/machine.ts';
import { hasProgram, programPath, run, standard } from '../os/process.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

/** The only capability that dialback uses: to read files and search folders whatever their modes say (capabilities(7)). */
export const CAPABILITY = 'cap_dac_read_search';
/** Its number in linux/capability.h. */
export const CAPABILITY_BIT = 2;

const PATIENCE_MS = 10_000;

/**
 * Checks the capability of a file.
 * @param found as `fileCapability()` returns it
 * @param wanted as getcap(8) prints it
 */
export function checkCapability(
  topic: Topic,
  path: string,
  found: string | undefined,
  wanted: string,
): Finding {
  if (found === undefined) {
    return topic.unknown(
      `neither getcap nor getfattr is installed to look at "${path}"`,
      'apt-get install libcap2-bin',
    );
  }
  if (found === wanted) return topic.ok(`"${path}" has ${wanted}`);
  const what = found === '' ? 'has no capability' : `has ${escapeText(found, 200)}`;
  return topic.critical(`"${path}" ${what}, and needs ${wanted}`, `setcap ${wanted} ${quoteForShell(path)}`);
}

const INHERITED_SELF = new Topic(
  'machine.inherited',
  'the launcher passes the capability to dialback, and dialback to rsync: each of these files must let it through',
);
const INHERITED_RSYNC = new Topic('machine.inherited_rsync', INHERITED_SELF.why);

/** The files that pass on an inherited capability, and the capability of each. */
interface InheritedFacts {
  executable: string;
  ownCapability: string | undefined;
  rsync: string;
  rsyncCapability: string | undefined;
}

/** @returns undefined if rsync is not installed, which `machine.programs` reports */
export async function collectInherited(): Promise<InheritedFacts | undefined> {
  if (!hasProgram('rsync')) return undefined;
  const [executable, rsync] = [ownExecutable(), programPath('rsync')];
  return {
    executable,
    ownCapability: await fileCapability(executable),
    rsync,
    rsyncCapability: await fileCapability(rsync),
  };
}

/** Checks both files of the chain; no finding without facts. */
export function checkInherited(facts: InheritedFacts | undefined): Finding[] {
  if (!facts) return [];
  return [
    checkCapability(INHERITED_SELF, facts.executable, facts.ownCapability, `${CAPABILITY}=i`),
    checkCapability(INHERITED_RSYNC, facts.rsync, facts.rsyncCapability, `${CAPABILITY}=ei`),
  ];
}

/** A file's capability as getcap(8) prints it, '' for none; undefined if neither getcap nor getfattr(1) is installed. */
export async function fileCapability(path: string): Promise<string | undefined> {
  if (hasProgram('getcap')) {
    const { status: ended, stdout } = await run(standard('getcap', [path]), { timeoutMs: PATIENCE_MS });
    return ended === 0 ? parseGetcap(stdout.toString('utf8'), path) : undefined;
  }
  if (!hasProgram('getfattr')) return undefined;
  const args = ['--absolute-names', '--encoding=hex', '--name=security.capability', path];
  const { stdout, stderr } = await run(standard('getfattr', args), { timeoutMs: PATIENCE_MS });
  if (/No such attribute/.test(stderr)) return '';
  return parseCapabilityXattr(
    /^security\.capability=0x([0-9a-f]+)$/m.exec(stdout.toString('utf8'))?.[1] ?? '',
  );
}

/**
 * Reads the output of getcap(8): `PATH cap_x=ep`, or before libcap 2.41 `PATH = cap_x+ep`.
 * @returns in the newer form, with the flags in the order e, i, p; '' for no capability
 */
export function parseGetcap(text: string, path: string): string {
  const rest = text.trim().startsWith(path) ? text.trim().slice(path.length) : '';
  const words = rest.replace(/^ =/, '').trim().split(/\s+/).filter(Boolean);
  return words
    .map(word => word.replace(/[+=]([eip]+)$/, (_, flags: string) => `=${sortFlags(flags)}`))
    .join(' ');
}

function sortFlags(flags: string): string {
  return [...'eip'].filter(each => flags.includes(each)).join('');
}

/**
 * Reads the value of the xattr security.capability (linux/capability.h, struct vfs_cap_data).
 * @param hex the value in hexadecimal
 * @returns as `parseGetcap()`; undefined for a format that is not known
 */
export function parseCapabilityXattr(hex: string): string | undefined {
  const bytes = Buffer.from(hex, 'hex');
  if (bytes.length !== 20 && bytes.length !== 24) return undefined; // revisions 2 and 3
  const magic = bytes.readUInt32LE(0);
  const revision = magic >>> 24;
  if (revision !== (bytes.length === 20 ? 2 : 3)) return undefined;
  const wide = (low: number, high: number): bigint =>
    BigInt(bytes.readUInt32LE(low)) | (BigInt(bytes.readUInt32LE(high)) << 32n);
  const [permitted, inheritable] = [wide(4, 12), wide(8, 16)];
  const only = 1n << BigInt(CAPABILITY_BIT);
  if ((permitted | inheritable) !== only) return `capabilities other than ${CAPABILITY}`;
  const flags = `${magic & 1 ? 'e' : ''}${inheritable === only ? 'i' : ''}${permitted === only ? 'p' : ''}`;
  return `${CAPABILITY}=${flags}`;
}
