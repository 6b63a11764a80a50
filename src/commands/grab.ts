/** `dialback grab`: the command that sshd runs on the backup host for the key of a client. */
import { grab as serveClient } from '../host/grab.ts';
import { encodeEvent, failedOutcome } from '../wire/events.ts';
import { Arguments, type Command, exitName } from './command.ts';
import { HOST_CONFIG } from './host-store.ts';

interface GrabRequest {
  client: string;
  config: string;
  isLocal: boolean;
  /** The id of the offer that the key is bound to. */
  offer: string | undefined;
  /** The id of a key that has come by a rotation. */
  key: string | undefined;
}

export const grab: Command<GrabRequest> = {
  name: 'grab',
  usage: 'grab [--offer ID|--key ID] --client NAME --config F [--local]',
  side: 'host',
  summary:
    "sshd runs only this for a client's key; with --local, `backup` runs it for a store on this machine",
  options: [
    { name: 'client', value: 'NAME', help: 'the client that the key belongs to' },
    HOST_CONFIG,
    { name: 'offer', value: 'ID', help: 'serve only this offer: its key is bound to it' },
    { name: 'key', value: 'ID', help: 'the id of a key that `enroll --rotate` has added' },
    { name: 'local', help: 'serve the client on this machine, without ssh' },
  ],
  positionals: [],

  parse(words) {
    const given = new Arguments(grab, words);
    const [isLocal, offer, key] = [given.has('local'), given.text('offer'), given.text('key')];
    if (key !== undefined && (isLocal || offer !== undefined))
      throw given.refuse('--key stands alone: --local has no key, and that of an offer has no id');
    if (isLocal && offer !== undefined) throw given.refuse('with --local there is no key of an offer');
    return { client: given.need('client'), config: given.need('config'), isLocal, offer, key };
  },

  async run(request, io) {
    const options = { ...request, environment: io.environment };
    return exitName(await serveClient(options, io.interruption()));
  },

  /** The client reads this. It learns only that the run failed. */
  failureForPeer(words, environment) {
    if (!words.includes('--local') && environment.SSH_CONNECTION === undefined) return undefined;
    return INTERNAL_FAILURE;
  },
};

/** The event that tells a client only that its run failed. */
export const INTERNAL_FAILURE = { text: encodeEvent(failedOutcome('internal')) };
