// Goal: whatever a client puts into rsync's stream beside its files (messages, exit statuses, greetings, an early end, or no
// end at all), its host ends soon, with a line in that client's journal, and nothing in a log that a terminal obeys.
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe } from 'node:test';
import { stretch } from '../../support/fair-time.ts';
import {
  type Attack,
  entry,
  FILE,
  FOLDER,
  int,
  MSG,
  type Sender,
  varint,
} from '../../support/hostile-client.ts';
import {
  A_FILE,
  afterList,
  forever,
  hostileSuite,
  kinds,
  listing,
  MARK,
  NASTY,
  plays,
  type Row,
  rows,
  spoken,
  TOP,
} from '../../support/lanes.ts';
import { some } from '../../support/long.ts';
import { says } from '../../support/wording.ts';

/** An honest run, with one message in its middle. */
function telling(tag: number, content: Buffer | string): Attack['play'] {
  return afterList(async sender => {
    await sender.message(tag, content);
    await sender.serve();
  });
}
const exiting = (status: number): Attack['play'] =>
  afterList(sender => sender.message(MSG.ERROR_EXIT, int(status)));

/** What the launcher, the relay and the host say of themselves. */
const FORGED = [
  'dialback-launch: landlock_abi 99 own_root',
  'dialback-relay: first byte',
  'dialback-event: {"event":"phase","phase":"committing"}',
  '',
].join('\n');
const NINES = '9'.repeat(400);
const STATISTICS = [
  `Number of files: ${NINES} (dir: ${NINES})`,
  `Total file size: ${NINES} bytes`,
  `${NINES} 100% x`,
  `>f+++++++++ ${NINES}`,
  '',
].join('\n');

const MESSAGES: Row[] = [
  plays('the exit status 126', exiting(126), 'rsync', /exit status is 126/),
  plays('the exit status 127', exiting(127), 'rsync', /exit status is 127/),
  plays('the exit status 0, before anything is copied', exiting(0), 'rsync', /did not report/),
  plays('the exit status 24, before anything is copied', exiting(24), 'rsync', /did not report/),
  plays('the exit status 23, before anything is copied', exiting(23), 'nothing', says('none-of-the-roots')),
  plays('an exit status that is none', exiting(-1), 'broken'),
  plays(
    'an exit status of 8 bytes',
    telling(MSG.ERROR_EXIT, Buffer.alloc(8)),
    'broken',
    /invalid multi-message/,
  ),
  plays('an error full of escapes', telling(MSG.ERROR, `${NASTY}\n`), 'full', /reported errors \(\d+\): /),
  plays(
    'errors in the words of our own programs',
    telling(MSG.ERROR, FORGED),
    'full',
    /reported errors \(\d+\): /,
  ),
  plays(
    'a full disk, in words',
    telling(MSG.ERROR_XFER, 'rsync: [receiver] write failed on "/x": No space left on device (28)\n'),
    'no-space',
    /No space left/,
  ),
  plays('statistics beyond all numbers, in words', telling(MSG.INFO, STATISTICS), 'full'),
  plays(
    'statistics of 8 EiB',
    afterList(sender => sender.serve(undefined, undefined, [-1n, 1n, (1n << 63n) - 1n, -1n, -1n])),
    'full',
  ),
  plays(
    'a line for the log, full of escapes',
    telling(MSG.LOG, `${NASTY}\n`),
    'broken',
    /invalid multi-message/,
  ),
  plays(
    'a line for the client, full of escapes',
    telling(MSG.CLIENT, `${NASTY}\n`),
    'broken',
    /invalid multi/,
  ),
  plays('a file that is to be deleted', telling(MSG.DELETED, `../../../${MARK}\0`), 'full'),
  plays('a file to do once more', telling(MSG.REDO, int(0x7fffffff)), 'broken', /invalid multi-message/),
  plays(
    'statistics in the middle',
    telling(MSG.STATS, Buffer.alloc(8, 0xff)),
    'broken',
    /invalid multi-message/,
  ),
  plays('a file that is not sent', telling(MSG.NO_SEND, int(0x7fffffff)), 'rsync', /File-list index/),
  plays('all input errors at once', telling(MSG.IO_ERROR, int(-1)), 'incomplete'),
  plays(
    'a timeout of 0, of -1, of 68 years',
    afterList(async sender => {
      for (const value of [0, -1, 0x7fffffff]) await sender.message(MSG.IO_TIMEOUT, int(value));
      await sender.serve();
    }),
    'full',
  ),
  plays('a message that there is not', telling(200, 'x'), 'broken', /unexpected tag/),
  plays('a message below all messages', telling(-7, 'x'), 'broken', /unexpected tag/),
  plays(
    'a message longer than they are',
    telling(MSG.ERROR, 'x'.repeat(100_000)),
    'broken',
    /multiplexing overflow/,
  ),
  plays(
    'half a message',
    afterList(sender => sender.message(MSG.ERROR, 'x', 5000)),
    'broken',
  ),
];

/** What is said instead of an honest greeting, and then nothing more. */
const saying =
  (words: string): Attack['play'] =>
  async sender => {
    await sender.say(words);
  };

/** A list for each folder. */
const FOLDER_BY_FOLDER = 0xb9;
const END = [varint(0), varint(0)];
async function folderByFolder(sender: Sender, ...pieces: Buffer[]): Promise<void> {
  await sender.begin({ compatibility: FOLDER_BY_FOLDER });
  await sender.list([TOP, { name: 'd', mode: FOLDER }, { name: 'e', mode: FOLDER }]);
  await sender.data(...pieces);
}

const GREETINGS: Row[] = [
  plays('none', saying(''), 'no-answer'),
  plays(
    'something else, full of escapes',
    saying(`${NASTY}\n`),
    'no-answer',
    says('another-program-than-rsync'),
  ),
  plays('version 19', sender => sender.begin({ protocol: '19.0 md5' }), 'rsync', /protocol version mismatch/),
  plays('version 20', sender => sender.begin({ protocol: '20.0 md5' }), 'rsync', /requires protocol 30/),
  plays('version 29', sender => sender.begin({ protocol: '29.0' }), 'rsync', /requires protocol 30/),
  {
    ...plays(
      'version 29, of a dry run',
      sender => sender.begin({ protocol: '29.0' }),
      'rsync',
      /requires protocol 30/,
    ),
    dryRun: true,
  },
  ...['31.7 md5', '32.7 md5'].map(protocol =>
    plays(
      `a subversion, ${protocol}`,
      async sender => {
        await sender.begin({ protocol });
        await sender.list([TOP, A_FILE]);
        await sender.serve();
      },
      'full',
    ),
  ),
  plays(
    'an error at the end of a list, where that is not agreed upon',
    async sender => {
      await sender.begin({ protocol: '30.0', compatibility: 0x30 });
      await sender.data(Buffer.of(0x04, 0x10), varint(1));
    },
    'rsync',
    /Invalid flist flag/,
  ),
  plays('version 41', sender => sender.begin({ protocol: '41.0 md5' }), 'rsync', /protocol version mismatch/),
  plays(
    'a version beyond all numbers',
    sender => sender.begin({ protocol: `${NINES.slice(0, 20)}.9 md5` }),
    'rsync',
    /protocol/,
  ),
  plays(
    'a line without an end',
    sender => forever(() => sender.say('x'.repeat(65_536))),
    'no-answer',
    /greeting/,
  ),
  plays('a refusal full of escapes', saying(`@RSYNCD: 31.0 md5\n@ERROR: ${NASTY}\n`), 'rsync', /@ERROR/),
  plays('an early goodbye', saying('@RSYNCD: 31.0 md5\n@RSYNCD: EXIT\n'), 'rsync', /did not report/),
  plays('a question for a password', saying('@RSYNCD: 31.0 md5\n@RSYNCD: AUTHREQD x\n'), 'rsync'),
  plays(
    'a message of the day, full of escapes',
    async sender => {
      await sender.begin({ motd: `${NASTY}\n${STATISTICS}` });
      await sender.list([TOP, A_FILE]);
      await sender.serve();
    },
    'full',
  ),
  plays(
    'all the flags that there are',
    async sender => {
      await sender.begin({ compatibility: -1 });
      await sender.list([TOP, A_FILE]);
    },
    'broken',
  ),
  plays(
    'the list of a folder that there is not',
    sender => folderByFolder(sender, Buffer.of(0xff, 120)),
    'rsync',
    /Invalid dir index/,
  ),
  plays(
    'the list of another folder',
    sender => folderByFolder(sender, Buffer.of(0xff, 101), entry({ name: `e/${MARK}`, mode: FILE }), ...END),
    'rsync',
    /invalid path from sender/,
  ),
];

/**
 * Messages as of protocol 30, which has no exit status among them: it takes that of 31 and 32 for the end. Those two have
 * the same messages.
 */
const OLDER: Row[] = spoken('3.0', MESSAGES).map(row =>
  /^the exit status \d/.test(row.what)
    ? { ...row, ends: 'broken', says: /connection unexpectedly closed/ }
    : row,
);

/** An honest conversation, cut off. */
const CUT: Row[] = [1, 20, 60, 70, 100, 130].map(bytes =>
  plays(
    `after ${bytes} bytes`,
    async sender => {
      sender.limit = bytes;
      await listing([TOP, A_FILE])(sender);
    },
    // Of a greeting of one byte nobody can tell that it was rsync's.
    bytes === 1 ? 'no-answer' : bytes < 40 ? 'rsync' : 'broken',
  ),
);

const ENDLESS: Row[] = [
  plays(
    'silence',
    afterList(sender => sender.untilOver()),
    'deadline',
  ),
  plays(
    'a file',
    afterList(sender =>
      sender.serve(async ({ head, sums }) => {
        const piece = Buffer.concat([int(32_764), Buffer.alloc(32_764)]);
        await sender.data(head, sums);
        await forever(() => sender.data(piece));
      }),
    ),
    'deadline',
  ),
  plays(
    'a list',
    async sender => {
      let count = 0;
      const some = () => Array.from({ length: 200 }, () => ({ name: `f${count++}`, mode: FILE }));
      await sender.begin();
      await forever(() => sender.entries(some()));
    },
    'deadline',
  ),
  plays(
    'messages',
    afterList(sender => forever(() => sender.message(MSG.INFO, `${NASTY}\n`.repeat(50)))),
    'deadline',
  ),
  plays(
    'errors, and words on standard error',
    afterList(sender =>
      forever(async () => {
        await sender.message(MSG.ERROR, `${NASTY}\n`.repeat(50));
        await sender.complain(`${NASTY}\n${FORGED}`.repeat(50));
      }),
    ),
    'deadline',
  ),
  plays(
    'keep-alives',
    afterList(sender => forever(() => sender.message(MSG.DATA, ''))),
    'deadline',
  ),
];

hostileSuite('a hostile client: what is in the stream', lanes => {
  kinds(lanes, [
    { title: 'messages', all: MESSAGES, nth: 10 },
    { title: 'greetings', all: GREETINGS, nth: 10 },
    { title: 'messages of an older version', all: OLDER, nth: 24 },
    { title: 'the end', all: CUT, nth: 8 },
  ]);

  describe('no end, until the deadline that the host has set', () => {
    let line: string;
    before(() => {
      // An honest run must fit into it too, and takes longer on a busy machine.
      line = `deadline = "${Math.ceil(4 * stretch())}s"`;
      writeFileSync(lanes().world.hostToml, `[requests]\n${line}\n`, { flag: 'a' });
    });
    after(() => {
      const { hostToml } = lanes().world;
      writeFileSync(hostToml, readFileSync(hostToml, 'utf8').replace(line, ''));
    });
    rows('of', lanes, some(ENDLESS, 12));
  });
});
