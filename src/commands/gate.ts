/** `dialback gate`: the command that the one-time sshd of the client runs for the backup host. */
import { gateCheck, gate as openGate } from '../client/gate.ts';
import { Arguments, type Command, exitName } from './command.ts';

interface GateRequest {
  /** The folder of the run; undefined with --check. */
  run: string | undefined;
}

export const gate: Command<GateRequest> = {
  name: 'gate',
  usage: 'gate --run DIR | --check',
  side: 'client',
  summary: 'the one-time sshd runs only this; --check shows what SSH_ORIGINAL_COMMAND would get',
  options: [
    { name: 'run', value: 'DIR', help: 'the folder of the run that is under way' },
    { name: 'check', help: 'run nothing; show the decision about SSH_ORIGINAL_COMMAND' },
  ],
  positionals: [],

  parse(words) {
    const given = new Arguments(gate, words);
    if (given.has('check') === (given.text('run') !== undefined))
      throw given.refuse('it takes either --run or --check');
    return { run: given.text('run') };
  },

  async run({ run }, io) {
    return exitName(run === undefined ? gateCheck(io.environment) : await openGate(run, io.environment));
  },

  /** The backup host reads this. It does not learn the reason. */
  failureForPeer(_words, environment) {
    if (environment.SSH_CONNECTION === undefined) return undefined;
    return { text: 'dialback: Cannot let this in: the gate failed\n', exit: 'refused' };
  },
};
