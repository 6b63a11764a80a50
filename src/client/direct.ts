/**
 * The transport `direct`: the call gives the host a one-time key, the host connects back with it (client/endpoint.ts), and the
 * gate behind the one-time sshd becomes rsync.
 */
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { abortable, settleAll, withTimeout } from '../os/async.ts';
import { addressesOf } from '../os/network.ts';
import { encodeRequest } from '../wire/request.ts';
import type { CallOptions } from '../wire/ssh.ts';
import { escapeText, LOGIN, unfold } from '../wire/text.ts';
import { parseFrom, type Range } from './addresses.ts';
import { overSsh, placeCall, resolveCall } from './call.ts';
import { clientName, type Remote } from './config.ts';
import { type Endpoint, openEndpoint } from './endpoint.ts';
import { makeOneTimeKey, prepareSshd } from './one-time-keys.ts';
import { forcedCommand, gateCommand } from './ticket.ts';
import {
  type Attempt,
  type AttemptOutcome,
  awaitOutcome,
  type CallPlan,
  type OpenTransport,
  planCalls,
  requireCapability,
  TAKEN_MS,
} from './transport.ts';

/** Opens the transport `direct`. @throws Fault where the host cannot log in to this account, or a key file is missing */
export const openDirect: OpenTransport = async run => {
  requireLogin();
  const planCall = planCalls(run);
  return {
    prepare: async runFolder => {
      const plan = planCall(runFolder);
      // Both programs name an option that they do not accept.
      const [hostKey] = await settleAll([
        prepareSshd(run.interrupt, runFolder),
        resolveCall({ ...plan, command: '' }),
      ]);
      return async (held, attempt) => await carry(held, attempt, plan, hostKey);
    },
  };
};

/** @param hostKey the public key of the one-time sshd */
async function carry(
  held: AsyncDisposableStack,
  attempt: Attempt,
  plan: CallPlan,
  hostKey: string,
): Promise<AttemptOutcome> {
  const { run, runFolder, host } = attempt;
  const { remote, interrupt, events } = run;
  events.phase('keys');
  const [key, from] = await settleAll([
    makeOneTimeKey(interrupt, runFolder),
    abortable(interrupt, allowedPeers(remote, { ...plan, command: '' })),
    requireCapability(attempt),
  ]);
  const endpoint = await openEndpoint(held, {
    runFolder,
    from,
    listen: remote.listen,
    publicKey: key.publicKey,
    forcedCommand: forcedCommand(gateCommand(attempt.capability, runFolder)),
    orders: attempt.orders,
    idleSeconds: plan.idleSeconds,
    openMs: TAKEN_MS,
    warn: message => events.warning(message),
    interrupt,
  });
  events.phase('calling');
  const request = encodeRequest({
    header: {
      ...attempt.header,
      transport: 'direct',
      user: ownAccount().name,
      host_key: hostKey,
      key_bytes: key.privateKey.length,
    },
    key: key.privateKey,
    excludes: attempt.excludes,
  });
  const command = `${clientName(run.config)}:${endpoint.port}`;
  const callee = await overSsh(held, { ...plan, command });
  const call = await placeCall(held, callee, request, event => host.receive(event));
  // Released before the call: no session is let in while the call hangs up.
  held.defer(() => endpoint.close());
  const letIn = withTimeout(interrupt, TAKEN_MS, endpoint.taken, () => notDialled(events.remote, endpoint));
  const reported = await awaitOutcome(attempt, call, letIn);
  return { ...reported, sshdWords: endpoint.attempts().lastWords };
}

/** Explains why the host did not take the ticket in time. */
function notDialled(remote: string, endpoint: Endpoint): Fault {
  const { turnedAway, failed, lastWords } = endpoint.attempts();
  const others = turnedAway > 0 ? `; ${turnedAway} connections from elsewhere were closed unread` : '';
  const words =
    failed > 0 ? `; ${failed} did not get in${lastWords ? ` (sshd: ${escapeText(lastWords)})` : ''}` : '';
  return new Fault({
    tried: `back up to "${remote}"`,
    found: `the backup host did not connect back within ${TAKEN_MS / 1000} s${others}${words}`,
    next: 'see that it can reach the port in `listen`, and that `from` names its address',
    exit: 'unreachable',
  });
}

/** Refuses an account whose login name the host would refuse to log in to. @throws Fault (exit 2) */
export function requireLogin(): void {
  const { name } = ownAccount();
  if (LOGIN.test(name)) return;
  throw new Fault({
    tried: `let the backup host log in as "${escapeText(name)}"`,
    found: 'a login name must be 1 to 32 of a-z, 0-9, "_", "-", and begin with a letter or "_"',
    next: 'run it as an account with such a name, or use transport = "channel"',
    exit: 'usage',
  });
}

/**
 * The addresses that may connect back: `from`, or else all addresses of the host that ssh would connect to.
 * @throws Fault where ssh does not accept an option, or the name has no address
 */
export async function allowedPeers(remote: Remote, options: CallOptions): Promise<Range[]> {
  // ssh is asked even if `from` is set, because it names an option that it does not accept.
  const { hostName } = await resolveCall(options);
  const named = remote.from ?? (await addressesOf(hostName));
  return named.flatMap(each => parseFrom(unfold(each)) ?? []);
}
