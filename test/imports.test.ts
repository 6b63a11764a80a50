import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findBreaches } from '../tools/imports.ts';

/** The rule that one file with this text breaks, if any. */
async function ruleFor(file: string, text: string): Promise<string | undefined> {
  return (await findBreaches(new Map([[file, text]])))[0]?.rule;
}

const REFUSED: [file: string, text: string, rule: RegExp][] = [
  // The two sides never meet, whatever the form of the import.
  ['src/client/backup.ts', "import { grab } from '../host/grab.ts'", /client\/ does not import host\//],
  [
    'src/client/backup.ts',
    "import type { Store } from '../host/store.ts'",
    /client\/ does not import host\//,
  ],
  ['src/client/backup.ts', "export * from '../host/store.ts'", /client\/ does not import host\//],
  ['src/client/backup.ts', "type S = import('../host/store.ts').Store", /client\/ does not import host\//],
  ['src/client/backup.ts', "import '../wire/../host/store.ts'", /client\/ does not import host\//],
  ['src/client/deep/a.ts', "const b = await import('../../host/b.ts')", /client\/ does not import host\//],
  ['src/client/backup.ts', 'const b = () => import(`../host/b.ts`)', /client\/ does not import host\//],
  ['src/host/grab.ts', "import { gate } from '../client/gate.ts'", /host\/ does not import client\//],

  // The store knows neither side.
  ['src/store/arrival.ts', "import { grab } from '../host/grab.ts'", /store\/ does not import host\//],
  ['src/store/arrival.ts', "import { gate } from '../client/gate.ts'", /store\/ does not import client\//],
  [
    'src/store/arrival.ts',
    "import type { Finding } from '../doctor/finding.ts'",
    /store\/ does not import doctor\//,
  ],
  [
    'src/store/arrival.ts',
    "import { readConfig } from '../shared/toml.ts'",
    /store\/ does not import shared\//,
  ],

  // What a command needs does not know the command, and nothing but doctor knows doctor.
  ['src/store/find.ts', "import { find } from '../commands/find.ts'", /store\/ does not import commands\//],
  ['src/host/grab.ts', "import { grab } from '../commands/grab.ts'", /host\/ does not import commands\//],
  ['src/client/run.ts', "import { Topic } from '../doctor/finding.ts'", /client\/ does not import doctor\//],
  [
    'src/doctor/run.ts',
    "import { doctor } from '../commands/doctor.ts'",
    /doctor\/ does not import commands\//,
  ],
  ['src/shared/hooks.ts', "import { Store } from '../store/store.ts'", /shared\/ does not import store\//],

  // The wire knows nothing but itself.
  ['src/wire/request.ts', "import { readText } from '../os/files.ts'", /wire\/ does not import os\//],
  [
    'src/wire/request.ts',
    "import type { Verb } from '../commands/args.ts'",
    /wire\/ does not import commands\//,
  ],
  ['src/wire/request.ts', "import * as v from 'valibot'", /wire\/ imports no package/],
  ['src/wire/request.ts', "import { createServer } from 'node:net'", /wire\/ imports only pure functions/],
  ['src/wire/request.ts', "import { isIP, connect } from 'node:net'", /wire\/ imports only pure functions/],
  ['src/wire/request.ts', "import { connect as isIP } from 'node:net'", /wire\/ imports only pure functions/],
  ['src/wire/request.ts', "import * as net from 'node:net'", /wire\/ imports only pure functions/],
  ['src/wire/request.ts', "import net, { isIP } from 'node:net'", /wire\/ imports only pure functions/],
  ['src/wire/request.ts', "import { hostname } from 'node:os'", /wire\/ imports only pure functions/],
  ['src/wire/request.ts', "import os from 'os'", /wire\/ imports only pure functions/],

  // The machine is touched in one place.
  ['src/os/files.ts', "import { spawn } from 'node:child_process'", /only os\/process.ts/],
  ['src/host/grab.ts', "import { spawn } from 'child_process'", /only os\/process.ts/],
  ['src/store/file-index.ts', "import { DatabaseSync } from 'node:sqlite'", /only os\/database.ts/],
  ['src/host/grab.ts', "import type { ChildProcess } from 'node:child_process'", /only os\/process.ts/],
  ['src/os/process.ts', "import { readFileSync } from 'node:fs'", /only os\/files.ts/],
  ['src/store/store.ts', "import { rm } from 'node:fs/promises'", /only os\/files.ts/],
  ['src/store/store.ts', "import fs from 'fs'", /only os\/files.ts/],
  ['src/store/store.ts', "import fs = require('node:fs')", /only os\/files.ts/],
  ['src/store/store.ts', "const fs = require('fs')", /only os\/files.ts/],
  ['src/store/store.ts', "const fs = process.getBuiltinModule('node:fs')", /only os\/files.ts/],
  ['src/os/files.ts', "import { Name } from '../wire/request.ts'", /os\/ does not import wire\//],
  ['src/os/files.ts', "import { grab } from '../host/grab.ts'", /os\/ does not import host\//],
  ['src/os/files.ts', "import * as v from 'valibot'", /os\/ imports no package/],

  // A folder without rules imports nothing.
  ['src/other/a.ts', "import '../client/gate.ts'", /other\/ does not import client\//],

  // One exit, one reader of the command line, and no way around the rules.
  ['src/host/grab.ts', 'process.exit(1)', /only main.ts ends the process/],
  ['src/host/grab.ts', 'globalThis.process.exit(1)', /only main.ts ends the process/],
  ['src/host/grab.ts', "process['exit'](1)", /only main.ts ends the process/],
  ['src/host/grab.ts', 'const leave = process.abort', /only main.ts ends the process/],
  ['src/host/grab.ts', 'const { exit: leave } = process', /only main.ts ends the process/],
  ['src/host/grab.ts', "import { exit } from 'node:process'", /do not import node:process/],
  [
    'src/host/grab.ts',
    '// exit relayed: not a place for it\nprocess.exit(1)',
    /only main.ts ends the process/,
  ],
  ['src/os/process.ts', 'process.exit(1)', /only main.ts ends the process/],
  ['src/host/grab.ts', "import minimist from 'minimist'", /only commands\/ imports minimist/],
  ['src/main.ts', "import minimist from 'minimist'", /only commands\/ imports minimist/],
  ['src/host/grab.ts', "import { main } from '../main.ts'", /do not import main.ts/],
  ['src/host/grab.ts', "import { createRequire } from 'node:module'", /do not import node:module/],
  ['src/host/grab.ts', "const name = 'x'\nawait import(name)", /plain string/],
  ['src/host/grab.ts', "await import('../ho' + 'st.ts')", /plain string/],
  ['src/host/grab.ts', "import { x } from '../../test/x.ts'", /outside src\//],
  ['src/host/grab.ts', "import { x } from '/etc/x.ts'", /outside src\//],
  ['src/host/grab.ts', "import { x } from '#x'", /outside src\//],
  ['src/fault.ts', "import { print } from './commands/find.ts'", /fault.ts does not import other files/],
];

const ACCEPTED: [file: string, text: string][] = [
  [
    'src/client/backup.ts',
    "import { encode } from '../wire/request.ts'\nimport { run } from '../os/process.ts'",
  ],
  ['src/client/backup.ts', "import { Gate } from './gate.ts'\nimport { Fault } from '../fault.ts'"],
  ['src/client/direct.ts', "import { createServer } from 'node:net'\nimport * as v from 'valibot'"],
  [
    'src/wire/request.ts',
    "import { isIP, isIPv4 as four } from 'node:net'\nimport { Buffer } from 'node:buffer'",
  ],
  ['src/wire/rsync.ts', "import { Fault } from '../fault.ts'\nimport { NAME } from './request.ts'"],
  ['src/os/process.ts', "import { spawn } from 'node:child_process'\nimport { open } from './files.ts'"],
  ['src/os/files.ts', "import fs from 'node:fs'\nimport { rm } from 'node:fs/promises'"],
  ['src/os/process.ts', '// exit relayed: the child ended so, and so do we\nprocess.exit(3)'],
  ['src/commands/args.ts', "import minimist from 'minimist'"],
  ['src/main.ts', "import './client/a.ts'\nimport './host/b.ts'\nprocess.exit(0)"],
  // What only looks like a breach.
  ['src/host/grab.ts', "// import '../client/gate.ts'\nconst text = \"import '../client/gate.ts'\""],
  ['src/host/grab.ts', "const text = `process.exit(1)`\nprocess.exitCode = 1\nprocess.on('exit', () => {})"],
  ['src/main.ts', "import './client/gate.ts'"],
  [
    'test/gate.test.ts',
    "import fs from 'node:fs'\nimport '../src/client/gate.ts'\nimport '../src/host/grab.ts'",
  ],
];

describe('findBreaches()', () => {
  for (const [file, text, rule] of REFUSED)
    it(`refuses ${JSON.stringify(text)} in ${file}`, async () =>
      assert.match((await ruleFor(file, text)) ?? 'accepted', rule));

  for (const [file, text] of ACCEPTED)
    it(`accepts ${JSON.stringify(text)} in ${file}`, async () =>
      assert.equal(await ruleFor(file, text), undefined));

  it('names each breach by file and line', async () => {
    const files = new Map([
      ['src/host/a.ts', "\n\nimport '../client/b.ts'\nprocess.exit(1)\n"],
      ['src/client/b.ts', "/* one\n two */ import '../host/a.ts'"],
    ]);
    const places = (await findBreaches(files)).map(({ file, line }) => `${file}:${line}`);
    assert.deepEqual(places, ['src/client/b.ts:2', 'src/host/a.ts:3', 'src/host/a.ts:4']);
  });

  it('reads a file that does not parse to its end', async () => {
    assert.match(
      (await ruleFor('src/host/a.ts', "const = (\nimport '../client/b.ts'")) ?? 'accepted',
      /does not import/,
    );
  });
});
