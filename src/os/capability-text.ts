/** File capabilities, as getcap(8) prints them and as the kernel stores them. Pure. */

/** The one capability that dialback uses: reading and searching whatever the modes say (capabilities(7)). */
export const CAPABILITY = 'cap_dac_read_search';
/** Its number in linux/capability.h. */
export const CAPABILITY_BIT = 2;

/**
 * Reads the output of getcap(8): `PATH cap_x=ep`; before libcap 2.41 `PATH = cap_x+ep`.
 * @returns `cap_x=ep`, with the flags in the order e, i, p; '' for no capability
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
 * Decodes the value of security.capability (linux/capability.h, struct vfs_cap_data).
 * @param hex the value in hexadecimal
 * @returns undefined for an unknown format
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
