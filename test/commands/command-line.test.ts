import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Fault } from '../../src/fault.ts';
import { ANY_CHARACTER } from '../support/any-character.ts';
import { readLine, readWords, refusalOf } from '../support/command-line.ts';
import { matching, says } from '../support/wording.ts';

const PLAIN = { config: undefined, json: false };
const BACKUP = {
  verb: 'backup',
  ...PLAIN,
  state: undefined,
  remote: undefined,
  dryRun: false,
  volume: 'normal',
};
const ENROLL = {
  config: undefined,
  store: undefined,
  replace: false,
  authorizedKeys: undefined,
  from: undefined,
  json: false,
  rotate: false,
};
const INIT = {
  verb: 'init',
  name: undefined,
  target: undefined,
  hostKey: undefined,
  transport: undefined,
  config: undefined,
  ...{ from: undefined, batch: false, json: false },
};
const RESTORE = {
  verb: 'restore',
  ...PLAIN,
  snapshot: 'latest',
  paths: [],
  to: '/d',
  force: false,
  inert: false,
  dryRun: false,
};

const LS = {
  verb: 'ls',
  ...PLAIN,
  client: 'a',
  snapshot: 'latest',
  paths: [],
  isRecursive: false,
  isItself: false,
};
const DIFF = { verb: 'diff', ...PLAIN, before: '1', after: '2', paths: [] };

const PACKAGES = {
  ...{ verb: 'packages', write: undefined, putBack: undefined, archives: undefined },
  ...{ system: '/', json: false },
};
const OFFERS = { verb: 'offer', client: 'a', snapshot: 'latest', paths: [], ...PLAIN };
const OFFER = { ...OFFERS, does: 'make', validMs: 86_400_000, keyFile: undefined };
const FETCHED = {
  ...{ verb: 'fetch', code: '7K3M', to: '/d', isInPlace: false, dryRun: false },
  ...{ target: undefined, hostKey: undefined, identity: undefined, ...PLAIN },
};

const ROTATE = {
  ...{ verb: 'rotate-key', config: undefined, identity: undefined },
  ...{ cancel: false, batch: false, json: false },
};
const FOR_KEYS = { config: undefined, authorizedKeys: undefined, json: false };

const ACCEPTED: [line: string, request: object][] = [
  ['backup', BACKUP],
  ['packages', PACKAGES],
  ['packages --write /f --root /d --json', { ...PACKAGES, write: '/f', system: '/d', json: true }],
  ['packages --put-back /f --debs /d', { ...PACKAGES, putBack: '/f', archives: '/d' }],
  ['packages --put-back /f --archives /d', { ...PACKAGES, putBack: '/f', archives: '/d' }],
  ['backup -q', { ...BACKUP, volume: 'quiet' }],
  ['backup --quiet', { ...BACKUP, volume: 'quiet' }],
  ['backup -v', { ...BACKUP, volume: 'verbose' }],
  ['backup --verbose --verbose', { ...BACKUP, volume: 'verbose' }],
  ['backup --dry-run --json', { ...BACKUP, dryRun: true, json: true }],
  ['backup --config /c --state=/s --remote r', { ...BACKUP, config: '/c', state: '/s', remote: 'r' }],
  ['backup --remote=-x', { ...BACKUP, remote: '-x' }],
  ['backup --remote 007', { ...BACKUP, remote: '007' }],
  ['backup --remote=a=b', { ...BACKUP, remote: 'a=b' }],
  ['init', INIT],
  ['init --batch --json --from /v', { ...INIT, from: '/v', batch: true, json: true }],
  ['init --name 007', { ...INIT, name: '007' }],
  [
    'init --name=n --target=-x --host-key=k --config /c',
    { ...INIT, name: 'n', target: '-x', hostKey: 'k', config: '/c' },
  ],
  ['init --transport direct', { ...INIT, transport: 'direct' }],
  ['init --transport=channel --target t', { ...INIT, target: 't', transport: 'channel' }],
  ['gate --run /r/run-x', { verb: 'gate', run: '/r/run-x' }],
  ['gate --check', { verb: 'gate', run: undefined }],
  [
    'grab --client 007 --config /h',
    { verb: 'grab', client: '007', config: '/h', isLocal: false, offer: undefined, key: undefined },
  ],
  [
    'grab --client 1e3 --config /h',
    { verb: 'grab', client: '1e3', config: '/h', isLocal: false, offer: undefined, key: undefined },
  ],
  [
    'grab --client a --config /h --local',
    { verb: 'grab', client: 'a', config: '/h', isLocal: true, offer: undefined, key: undefined },
  ],
  [
    'grab --offer 0123abcd --client a --config /h',
    { verb: 'grab', client: 'a', config: '/h', isLocal: false, offer: '0123abcd', key: undefined },
  ],
  ['init --transport local', { ...INIT, transport: 'local' }],
  ['init --transport local --target /mnt/usb/s/', { ...INIT, transport: 'local', target: '/mnt/usb/s' }],
  ['enroll a --local', { verb: 'enroll', name: 'a', keyFile: undefined, ...ENROLL }],
  [
    'enroll a --local --store /mnt/usb/s',
    { verb: 'enroll', name: 'a', keyFile: undefined, ...ENROLL, store: '/mnt/usb/s' },
  ],
  ['enroll --from -', { verb: 'enroll', name: '', keyFile: undefined, ...ENROLL, from: '-' }],
  [
    'enroll --from /d --json --replace',
    { verb: 'enroll', name: '', keyFile: undefined, ...ENROLL, from: '/d', json: true, replace: true },
  ],
  ['enroll a k', { verb: 'enroll', name: 'a', keyFile: 'k', ...ENROLL }],
  [
    'enroll 007 - --replace',
    {
      verb: 'enroll',
      name: '007',
      keyFile: '-',
      ...ENROLL,
      replace: true,
    },
  ],
  [
    'enroll a k --authorized-keys /f',
    { verb: 'enroll', name: 'a', keyFile: 'k', ...ENROLL, authorizedKeys: '/f' },
  ],
  ['enroll a - --store /s', { verb: 'enroll', name: 'a', keyFile: '-', ...ENROLL, store: '/s' }],
  ['status', { verb: 'status', name: undefined, maxAgeMs: undefined, config: undefined, json: false }],
  [
    'status 007 --max-age 90m --json',
    { verb: 'status', name: '007', maxAgeMs: 5_400_000, config: undefined, json: true },
  ],
  ['metrics', { verb: 'metrics', textfile: undefined, config: undefined }],
  ['metrics --textfile /a/b.prom', { verb: 'metrics', textfile: '/a/b.prom', config: undefined }],
  [
    'prune',
    { verb: 'prune', client: undefined, dryRun: false, isVerbose: false, config: undefined, json: false },
  ],
  [
    'prune a --dry-run -v --json',
    { verb: 'prune', client: 'a', dryRun: true, isVerbose: true, config: undefined, json: true },
  ],
  ['pin a@2026', { verb: 'pin', client: 'a', snapshot: '2026', reason: 'by hand', config: undefined }],
  [
    'pin a@latest --reason before',
    { verb: 'pin', client: 'a', snapshot: 'latest', reason: 'before', config: undefined },
  ],
  ['unpin a@2026', { verb: 'unpin', client: 'a', snapshot: '2026', config: undefined }],
  [
    'remove a@2026 --dry-run',
    {
      ...{ verb: 'remove', client: 'a', snapshot: '2026', confirm: undefined },
      ...{ dryRun: true, config: undefined, json: false },
    },
  ],
  [
    'remove-client a --confirm a --json',
    {
      ...{ verb: 'remove-client', client: 'a', snapshot: undefined, confirm: 'a' },
      ...{ dryRun: false, config: undefined, json: true },
    },
  ],
  [
    'retire a --keep 365d --json',
    {
      verb: 'retire',
      name: 'a',
      keepMs: 31_536_000_000,
      config: undefined,
      authorizedKeys: undefined,
      json: true,
    },
  ],
  ['retire a', { verb: 'retire', name: 'a', keepMs: undefined, ...FOR_KEYS }],
  ['rotate-key', ROTATE],
  [
    'rotate-key --cancel --batch --identity /i --config /c --json',
    { ...ROTATE, cancel: true, batch: true, json: true, identity: '/i', config: '/c' },
  ],
  ['rename a b --config /c', { verb: 'rename', from: 'a', to: 'b', ...FOR_KEYS, config: '/c' }],
  ['unenroll 0x10', { verb: 'unenroll', name: '0x10', config: undefined, authorizedKeys: undefined }],
  ['list', { verb: 'list', name: undefined, ...PLAIN }],
  ['list 007 --json', { verb: 'list', name: '007', config: undefined, json: true }],
  ['list --json 007', { verb: 'list', name: '007', config: undefined, json: true }],
  ['restore a --to /d', { ...RESTORE, client: 'a' }],
  ['restore 2024 --to /d', { ...RESTORE, client: '2024' }],
  ['restore 007@2024 --to /1', { ...RESTORE, client: '007', snapshot: '2024', to: '/1' }],
  ['restore a --inert --to /d', { ...RESTORE, client: 'a', inert: true }],
  ['restore a@latest /x 12 --force --to /d', { ...RESTORE, client: 'a', paths: ['/x', '12'], force: true }],
  ['restore a --to /d -- -x --to --json', { ...RESTORE, client: 'a', paths: ['-x', '--to', '--json'] }],
  ['restore a@b@c --to /d', { ...RESTORE, client: 'a', snapshot: 'b@c' }],
  ['restore a@ --to /d', { ...RESTORE, client: 'a', snapshot: '' }],
  ['offer a', OFFER],
  [
    'offer a@2026 /x 12 --for 90m --json',
    { ...OFFER, snapshot: '2026', paths: ['/x', '12'], validMs: 5_400_000, json: true },
  ],
  ['offer a --key -', { ...OFFER, keyFile: '-' }],
  ['offer a --list', { ...OFFERS, does: 'list' }],
  ['offer a --revoke 0123abcd', { ...OFFERS, does: 'revoke', id: '0123abcd' }],
  ['fetch 7K3M --to /d', FETCHED],
  ['fetch 7K3M --in-place', { ...FETCHED, to: '/', isInPlace: true }],
  ['fetch 7K3M --in-place --to /mnt', { ...FETCHED, to: '/mnt', isInPlace: true }],
  ['fetch 7K3M --dry-run --target r --json', { ...FETCHED, to: '/', dryRun: true, target: 'r', json: true }],
  [
    'fetch 7K3M --to /d --target t --host-key k --identity /i',
    { ...FETCHED, target: 't', hostKey: 'k', identity: '/i' },
  ],
  ['doctor', { verb: 'doctor', ...PLAIN, side: undefined }],
  ['doctor --client --json', { verb: 'doctor', config: undefined, json: true, side: 'client' }],
  ['doctor --host --config /h', { verb: 'doctor', config: '/h', json: false, side: 'host' }],
  ['try', { verb: 'try', folder: undefined }],
  ['try /x', { verb: 'try', folder: '/x' }],
  ['try -- -x', { verb: 'try', folder: resolve('-x') }],
  ['help', { verb: 'help', topic: undefined }],
  ['help hooks', { verb: 'help', topic: 'hooks' }],
  ['help backup', { verb: 'help', topic: 'backup' }],
  ['--help', { verb: 'help', topic: undefined }],
  ['-h', { verb: 'help', topic: undefined }],
  ['backup --help', { verb: 'help', topic: 'backup' }],
  ['restore a --to /d --dry-run', { ...RESTORE, client: 'a', dryRun: true }],
  ['ls a', LS],
  [
    'ls 007@2024 /x -R --json',
    { ...LS, client: '007', snapshot: '2024', paths: ['/x'], isRecursive: true, json: true },
  ],
  ['ls a@ -d -- -x', { ...LS, snapshot: '', isItself: true, paths: ['-x'] }],
  ['cat a@b /x', { verb: 'cat', client: 'a', snapshot: 'b', path: '/x', config: undefined }],
  ['cat a /x --config /h', { verb: 'cat', client: 'a', snapshot: 'latest', path: '/x', config: '/h' }],
  ['diff a@1 2', { ...DIFF, client: 'a' }],
  ['diff 007@1 007@2 /x /y --json', { ...DIFF, client: '007', paths: ['/x', '/y'], json: true }],
  ['restore -h', { verb: 'help', topic: 'restore' }],
  ['version', { verb: 'version' }],
  ['--version', { verb: 'version' }],
  ['relay 300 client rsync --server --daemon .', { verb: 'relay', idleMs: 300_000 }],
  // What minimist would take for the value of the flag before it.
  ['list --json true', { verb: 'list', name: 'true', config: undefined, json: true }],
  ['list --json false', { verb: 'list', name: 'false', config: undefined, json: true }],
  [
    'restore a --force true --json false --to /d',
    { ...RESTORE, client: 'a', paths: ['true', 'false'], force: true, json: true },
  ],
  ['restore --force true --to /d', { ...RESTORE, client: 'true', force: true }],
  ['enroll a --replace false', { verb: 'enroll', name: 'a', keyFile: 'false', ...ENROLL, replace: true }],
  ['backup -q --remote true', { ...BACKUP, volume: 'quiet', remote: 'true' }],
];

const REFUSED: [line: string, message: RegExp][] = [
  ['', matching`^Cannot start: ${says('no-command-was-given')}$`],
  ['bakup', matching`^${says('cannot-run-there-is-no', 'bakup')} \(did you mean "backup"\?\)$`],
  ['nonsense', matching`^${says('cannot-run-there-is-no', 'nonsense')}$`],
  ['BACKUP', /no such command/],
  ['--config x backup', matching`^${says('cannot-run-there-is-no', '--config')}$`],
  ['constructor', /no such command/],
  ['toString', /no such command/],
  ['__proto__', /no such command/],
  ['\u001b[31m', matching`^${says('cannot-run-there-is-no', '\\u001b[31m')}$`],
  ['packages x', /unexpected argument "x"/],
  ['packages --debs /d', /--debs needs --put-back/],
  ['packages --archives /d', /--archives needs --put-back/],
  ['packages --put-back /f --archives /d --debs /d', /--archives and --debs/],
  ['packages --write /f --put-back /f', /contradict/],
  ['packages --write', /--write needs a value/],
  ['weigh --ncdu --json', /--ncdu and --json contradict each other/],
  ['weigh --undo --json', /--json shows the sizes only/],
  ['backup x', /unexpected argument "x"/],
  ['backup -- x', /unexpected argument "x"/],
  ['backup --x', /unknown option "--x"/],
  ['backup --Config c', /unknown option "--Config"/],
  ['backup --configs c', /unknown option "--configs"/],
  ['backup --config.x c', /unknown option "--config.x"/],
  ['backup --__proto__ c', /unknown option/],
  ['backup --constructor.prototype.x c', /unknown option/],
  // Names that every object has.
  ['backup --constructor', /unknown option "--constructor"/],
  ['backup --toString=x', /unknown option "--toString=x"/],
  ['try --hasOwnProperty x', /unknown option "--hasOwnProperty"/],
  ['backup --to d', /unknown option "--to"/],
  ['backup -x', /unknown option "-x"/],
  ['backup -qx', /unknown option/],
  ['backup -config c', /unknown option/],
  ['backup -qv', /^Cannot run "backup": -q and -v contradict each other$/],
  ['backup -q --verbose', /contradict/],
  ['backup --json true', /unexpected argument "true"/],
  ['backup --json false', /unexpected argument "false"/],
  ['backup --dry-run false', /unexpected argument "false"/],
  ['backup -q true', /unexpected argument "true"/],
  ['backup -qq false', /unexpected argument "false"/],
  ['backup --json=true', /unknown option "--json=true"/],
  ['doctor --client true', /unexpected argument "true"/],
  ['gate --check false', /unexpected argument "false"/],
  ['backup -v5', /unknown option "-v5"/],
  ['backup -q=1', /unknown option/],
  ['backup --no-json', /unknown option "--no-json"/],
  ['backup --no-config', /unknown option "--no-config"/],
  ['backup --dry-run --no-dry-run', /unknown option "--no-dry-run"/],
  ['backup --dry-run=no', /unknown option "--dry-run=no"/],
  ['backup --json=false', /unknown option "--json=false"/],
  ['backup --config', /--config needs a value/],
  ['backup --config=', /--config needs a value/],
  ['backup --config -q', /--config needs a value/],
  ['backup --config --json', /--config needs a value/],
  ['backup --config -- c', /--config needs a value/],
  ['backup --config a --config b', /--config was given twice/],
  ['backup --config a --config a', /--config was given twice/],
  ['backup --config=a --config', /--config was given twice/],
  ['init laptop', /unexpected argument "laptop"/],
  ['init --batch=x', /unknown option/],
  ['init --from', /--from needs a value/],
  ['init --host-key', /--host-key needs a value/],
  ['init --transport', /--transport needs a value/],
  ['init --transport=', /--transport needs a value/],
  ['init --transport usb', matching`--transport is "usb", and ${says('should-be-direct-channel-or')}`],
  ['enroll --local', says('an-argument-is-missing')],
  ['enroll a - --local', /--local takes no key/],
  ['enroll a k --local', /--local takes no key/],
  ['enroll a --local=x', /unknown option/],
  ['enroll a --local --replace', says('there-is-no-key-to')],
  ['enroll a --local --authorized-keys /f', says('there-is-no-key-to')],
  ['grab --client a --config c --local x', /unexpected argument "x"/],
  ['init --transport Channel', /--transport is "Channel", and should be/],
  ['init --transport direct --transport channel', /--transport was given twice/],
  ['init --target a --target b', /--target was given twice/],
  ['enroll a - --store', /--store needs a value/],
  ['gate', says('it-takes-either-run-or')],
  ['gate --run r --check', says('it-takes-either-run-or')],
  ['gate --run', /--run needs a value/],
  ['gate --run a b', /unexpected argument "b"/],
  ['grab', /--client is missing/],
  ['grab --client a', /--config is missing/],
  ['grab --config c', /--client is missing/],
  ['grab a --config c', /unexpected argument "a"/],
  ['grab --client a --config c --json', /unknown option/],
  ['enroll', says('an-argument-is-missing')],
  ['enroll a', says('an-argument-is-missing')],
  ['enroll a k x', /unexpected argument "x"/],
  ['enroll a k --json', /--json is possible with --from/],
  ['enroll a k --from -', /--from has the names/],
  ['enroll --from - --local', /--from has the names/],
  ['enroll --from=', /--from needs a value/],
  ['retire', says('an-argument-is-missing')],
  ['retire a --keep 1y', /--keep is "1y"/],
  ['retire a --keep 99999w', /--keep is "99999w"/],
  ['retire a --keep', /--keep needs a value/],
  ['rename a', says('an-argument-is-missing')],
  ['rotate-key a', /unexpected argument "a"/],
  ['enroll a k --rotate --replace', /--rotate cannot stand/],
  ['enroll a --local --rotate', /--rotate cannot stand/],
  ['grab --client a --config c --local --key 0123456789abcdef', /--key stands alone/],
  ['rename a b c', /unexpected argument "c"/],
  ['unenroll', says('an-argument-is-missing')],
  ['pin a', says('one-snapshot-by-name')],
  ['unpin a', says('one-snapshot-by-name')],
  ['remove a', says('one-snapshot-by-name')],
  ['remove a@2026 --dry-run --confirm a@2026', /contradict each other/],
  ['remove-client a@2026', says('the-name-of-a-client')],
  ['remove-client', says('an-argument-is-missing')],
  ['pin', says('an-argument-is-missing')],
  ['metrics --textfile /a/b.txt', /\/a\/b\.txt/],
  ['metrics now', /now/],
  ['status --max-age soon', matching`--max-age is "soon", and ${says('should-be-a-time')}`],
  ['status a b', /unexpected argument/],
  ['prune a b', /unexpected argument/],
  ['prune --force', /unknown option/],
  ['unenroll a b', /unexpected argument/],
  ['list a b', /unexpected argument "b"/],
  ['ls', says('an-argument-is-missing')],
  ['ls a -R -d', /-R and -d contradict each other/],
  ['ls a -l', /unknown option "-l"/],
  ['cat a', says('an-argument-is-missing')],
  ['cat a /x /y', /unexpected argument "\/y"/],
  ['cat a /x --json', /unknown option/],
  ['diff a@1', says('an-argument-is-missing')],
  ['diff a 1 2', says('the-first-snapshot-is-not')],
  ['diff a@1 b@2', says('not-of-the-same-client')],
  ['restore', says('an-argument-is-missing')],
  ['restore a', /^Cannot run "restore": --to is missing$/],
  ['restore --to d', says('an-argument-is-missing')],
  ['restore a --to', /--to needs a value/],
  ['restore a --to d --to e', /--to was given twice/],
  ['offer', says('an-argument-is-missing')],
  ['offer a --for soon', /--for takes a duration from 1m to 366d/],
  ['offer a --for 30s', /--for takes a duration from 1m to 366d/],
  ['offer a --for 367d', /--for takes a duration from 1m to 366d/],
  ['offer a --list --revoke x', /--list and --revoke exclude each other/],
  ['offer a@2026 --list', matching`--list ${says('client-name-only')}`],
  ['offer a /x --revoke x', matching`--revoke ${says('client-name-only')}`],
  ['offer a --list --for 1h', matching`--list ${says('client-name-only')}`],
  ['grab --client a --config c --local --offer 0123abcd', says('offer-key-with-local')],
  ['fetch', says('an-argument-is-missing')],
  ['fetch c', /--to or --in-place is missing/],
  ['fetch c d --to e', /unexpected argument "d"/],
  ['fetch c --to', /--to needs a value/],
  ['fetch c --to d --force', /unknown option/],
  ['doctor x', /unexpected argument "x"/],
  ['doctor --client --host', /--client and --host contradict each other/],
  ['doctor --clients', /unknown option/],
  ['doctor --host=1', /unknown option/],
  ['doctor --no-host', /unknown option/],
  ['doctor --config', /--config needs a value/],
  ['doctor -v', /unknown option/],
  ['try a b', /unexpected argument/],
  ['try --json', /unknown option/],
  ['help a b', /unexpected argument/],
  ['help --x', /unknown option/],
  ['version x', /unexpected argument "x"/],
  ['version -v', /unknown option/],
];

describe('a command line', () => {
  for (const [line, request] of ACCEPTED)
    it(`reads "${line}"`, () => assert.deepEqual(readLine(line), request));

  for (const [line, message] of REFUSED)
    it(`refuses ${JSON.stringify(line)}`, () => {
      const { message: text, next } = refusalOf(line.split(' ').filter(Boolean));
      assert.match(text, message);
      assert.match(next ?? '', /^dialback (help$|[a-z]+\b)/);
    });

  it('makes the paths of options absolute, by the folder that it is called in', () => {
    const request = readLine('backup --config c/../d --state ./s');
    assert.deepEqual([request.config, request.state], [resolve('d'), resolve('s')]);
  });

  it('tells the usage of the verb, when its words are wrong', () => {
    assert.equal(
      refusalOf(['grab']).next,
      'dialback grab [--offer ID|--key ID] --client NAME --config F [--local]',
    );
  });

  it('takes empty words for what they are', () => {
    assert.match(refusalOf(['']).message, matching`^${says('cannot-run-there-is-no', '')}$`);
    assert.match(refusalOf(['backup', '']).message, /unexpected argument ""/);
    assert.match(refusalOf(['backup', '--config', '']).message, /--config needs a value/);
  });

  it('throws nothing but a usage fault of two printable lines, whatever the words', () => {
    const verb = fc.constantFrom(...new Set(ACCEPTED.map(([line]) => line.split(' ')[0] ?? '')));
    const word = fc.oneof(
      fc.constantFrom(
        '--config',
        '--to',
        '-',
        '--',
        '-q',
        '-v',
        '--json',
        '--run',
        '--client',
        'a',
        '--no-x',
        '---',
        '-1',
        '--=',
        '-=',
        'true',
        'false',
      ),
      fc.string({ unit: ANY_CHARACTER, maxLength: 8 }),
    );
    fc.assert(
      fc.property(fc.oneof(verb, word), fc.array(word, { maxLength: 5 }), (first, rest) => {
        try {
          readWords([first, ...rest]);
        } catch (error) {
          assert.ok(error instanceof Fault, String(error));
          assert.equal(error.exit, 'usage');
          assert.doesNotMatch(error.text().replace('\nnext: ', ''), /\p{Cc}/u);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('keeps a name as it was written, when it looks like a number', () => {
    const name = fc.stringMatching(/^[0-9][0-9a-fx._e-]{0,10}$/);
    fc.assert(
      fc.property(name, each => {
        assert.equal(readWords(['list', each]).name, each);
        const { verb, client, config } = readWords(['grab', '--client', each, '--config', each]);
        assert.deepEqual([verb, client, config], ['grab', each, each]);
      }),
    );
  });
});
