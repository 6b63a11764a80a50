/** The host as it is named on the command line of `init`, and the transport to it. */
import { Fault, type FaultParts } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { withTimeout } from '../os/async.ts';
import { addressesOf, sourceTowards } from '../os/network.ts';
import { type PublicKey, parseHostKey } from '../wire/key.ts';
import { knownHostsName, targetPlace } from '../wire/ssh.ts';
import { escapeText, LOGIN, TARGET, unfold } from '../wire/text.ts';
import { findNat, type Way } from './addresses.ts';
import type { Remote } from './config.ts';
import { requireLogin } from './direct.ts';

/** The transports to another machine. */
export type CallTransport = Exclude<Remote['transport'], 'local'>;

/** A host, checked. */
export interface NamedHost {
  target: string;
  /** Its name in known_hosts. */
  knownAs: string;
  key: PublicKey;
}

const HOST_HINT = 'copy both words as `dialback enroll` printed them on the host';

/**
 * Checks the host that the command line names.
 * @param options as `enroll` printed them on the host
 * @returns undefined where no host is named
 * @throws Fault (exit 2) where a part is missing or wrong
 */
export function parseHost(options: {
  target: string | undefined;
  hostKey: string | undefined;
  transport: CallTransport | undefined;
}): NamedHost | undefined {
  const { target, hostKey, transport } = options;
  if (target === undefined && hostKey === undefined) {
    if (transport === undefined) return undefined;
    const found = '--target and --host-key are missing: --transport is a property of that host';
    throw refusal({ tried: 'set this client up', found });
  }
  if (target === undefined || hostKey === undefined) {
    const found = `--${target === undefined ? 'target' : 'host-key'} is missing: they belong together`;
    throw refusal({ tried: 'set this client up', found });
  }
  const tried = `call the host "${escapeText(target, 100)}"`;
  if (!TARGET.test(target))
    throw refusal({ tried, found: 'it is not [user@]host or ssh://[user@]host[:port]' });
  const knownAs = knownHostsName(target);
  if (knownAs === undefined) throw refusal({ tried, found: 'there is no such port' });
  const key = parseHostKey(hostKey);
  if ('reason' in key) throw refusal({ tried: "use that as the host's key", found: key.reason });
  return { target, knownAs, key: key.value };
}

function refusal(parts: Pick<FaultParts, 'tried' | 'found'>): Fault {
  return new Fault({ ...parts, next: HOST_HINT, exit: 'usage' });
}

/**
 * Chooses the transport: the named one; otherwise direct, unless the host probably cannot connect back.
 * @returns the transport, and the reason where it is channel without being named
 * @throws Fault (exit 2) where direct is named and the host could not log in to this account
 */
export async function chooseTransport(
  named: CallTransport | undefined,
  { target }: NamedHost,
  interrupt: AbortSignal,
): Promise<{ transport: CallTransport; because?: string | undefined }> {
  if (named === 'direct') requireLogin();
  if (named !== undefined) return { transport: named };
  const { name } = ownAccount();
  if (!LOGIN.test(name))
    return {
      transport: 'channel',
      because: `a host cannot connect back to an account with the name "${escapeText(name)}"`,
    };
  const way = await wayTo(targetPlace(target).host, interrupt);
  const because = way && findNat(way);
  return { transport: because === undefined ? 'direct' : 'channel', because };
}

/** A name service that takes longer is ignored. */
const LOOKUP_MS = 5_000;

/** The two ends of a call, by the name service and the routes of this machine. The host receives no packet. */
async function wayTo(host: string, interrupt: AbortSignal): Promise<Way | undefined> {
  const late = (): Fault => new Fault({ tried: `resolve "${host}"`, found: 'no answer' });
  const peers = await withTimeout(interrupt, LOOKUP_MS, addressesOf(host), late).catch(() => []);
  interrupt.throwIfAborted();
  for (const peer of peers) {
    const source = await sourceTowards(peer);
    if (source !== undefined) return { source: unfold(source), peer: unfold(peer) };
  }
  return undefined; // The first backup reports that it cannot call the host.
}
