/** `dialback receive-adopted`, which `adopt` starts as the account that owns the store: writes one adopted snapshot. */
import { type ExitName, Fault, firstError } from '../fault.ts';
import { takeOrder } from '../host/receive-adopted.ts';
import { whatFailed } from '../os/files.ts';
import { readToEnd } from '../os/streams.ts';
import { decodeOrder, encodeAnswer, ORDER_DESCRIPTOR, RECEIVE_ADOPTED } from '../wire/adopt.ts';
import { type Command, noSuchCommand } from './command.ts';

/** Bytes of an order with the names of all doubtful files. */
const ORDER_LIMIT = 1024 * 1024 * 1024;

export const receiveAdopted: Command<null> = {
  name: RECEIVE_ADOPTED,
  usage: RECEIVE_ADOPTED,
  side: 'host',
  summary: 'write an adopted snapshot',
  options: [],
  positionals: [],

  parse(words) {
    if (words.length > 0) throw noSuchCommand(RECEIVE_ADOPTED);
    return null;
  },

  /** Standard output is the connection to rsync, so the answer goes to standard error, an error too. */
  async run(_, io): Promise<ExitName> {
    const tried = 'read the order of adopt';
    try {
      const decoded = decodeOrder(readToEnd(ORDER_DESCRIPTOR, ORDER_LIMIT, tried));
      if ('reason' in decoded) throw new Fault({ tried, found: decoded.reason });
      const { order, doubtful } = decoded.value;
      io.warn(encodeAnswer(await takeOrder(order, doubtful, io.interruption())));
      return 'done';
    } catch (caught) {
      const error = firstError(caught);
      const fault =
        error instanceof Fault ? error : new Fault({ tried: 'adopt a tree', found: whatFailed(error) });
      io.warn(encodeAnswer(fault));
      return fault.exit;
    }
  },
};
