// Goal: a client's rsync that cannot serve files, or that gives away what the scope keeps back, is refused before the host is
// called, with one line that names the rsync and what is wrong with it, and one with the package.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { OtherRsync } from '../../support/other-rsync.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

/** One rsync: a script in its place, with `$real` as the real one, and what the line says. */
interface Kind {
  what: string;
  script: string[];
  found: RegExp;
}

/** The real one, as a daemon with another config; several run at once, so each has its own file. @param edit arguments of sed(1) */
const withConfig = (edit: string): string[] => [
  'case "$*" in *--daemon*) ;; *) exec "$real" "$@" ;; esac',
  'for each; do case $each in --config=*) config=$(echo "$each" | cut -d= -f2-) ;; esac; done',
  `sed ${edit} "$config" >"$config.$$"`,
  'exec "$real" --server --daemon --config="$config.$$" .',
];

const KINDS: Kind[] = [
  {
    what: 'does not go by the filter',
    script: withConfig("-e '/^exclude from/d'"),
    found: matching`rsync 3\S+ ${says('does-not-keep-to-the')} clears the filter$`,
  },
  {
    what: 'takes options that the config refuses',
    script: withConfig("-e '/^refuse options/d'"),
    found: matching`rsync 3\S+ ${says('does-not-keep-to-the')} sends --protect-args$`,
  },
  {
    what: 'takes --protect-args alone',
    script: withConfig("-e 's/ secluded-args protect-args / /'"),
    found: matching`rsync 3\S+ ${says('does-not-keep-to-the')} sends --protect-args$`,
  },
  {
    what: 'refuses all options, since it does not know `!` in `refuse options`',
    script: withConfig("-e 's/^refuse options = .*/refuse options = recursive relative/'"),
    found: matching`rsync 3\S+ ${says('cannot-serve-one-as-a-daemon')}.2.3 and later do: .*refuse`,
  },
  {
    what: 'does not know an option of the request',
    script: [
      'case "$*" in *--daemon*) ;; *) exec "$real" "$@" ;; esac',
      'echo "@ERROR: unknown option --no-msgs2stderr"; exit 1',
    ],
    found: matching`rsync 3\S+ ${says('cannot-serve-one-as-a-daemon')}.2.3 and later do: .*@ERROR: unknown option`,
  },
  {
    what: 'is another program',
    script: ['echo "frobnicate: unknown option -- $1" >&2; exit 1'],
    found: matching`${says('its-version-does-not-say')} ${says('cannot-serve-one-as-a-daemon')}.2.3 and later do: .*frobnicate: unknown option`,
  },
  {
    what: 'is a program that does nothing',
    script: [],
    found: matching`${says('its-version-does-not-say')} ${says('cannot-serve-one-as-a-daemon')}.2.3 and later do: it said nothing`,
  },
  {
    what: 'is openrsync',
    script: [
      '[ "$*" != --version ] || { echo "openrsync: protocol version 29, rsync version 2.6.9 compatible"; exit 0; }',
      'echo "openrsync: unrecognized option \\`--daemon\'" >&2; exit 1',
    ],
    found: matching`it is openrsync, and ${says('cannot-serve-one-as-a')}`,
  },
  {
    what: 'crashes as a daemon',
    script: ['case "$*" in *--daemon*) kill -SEGV $$ ;; esac', 'exec "$real" "$@"'],
    found: matching`rsync 3\S+ ${says('cannot-serve-one-as-a-daemon')}.2.3 and later do: `,
  },
  {
    what: 'crashes always',
    script: ['kill -SEGV $$'],
    found: matching`${says('its-version-does-not-say')} ${says('cannot-serve-one-as-a-daemon')}.2.3 and later do: `,
  },
  {
    what: 'hangs as a daemon',
    script: ['case "$*" in *--daemon*) exec sleep 600 ;; esac', 'exec "$real" "$@"'],
    found: matching`rsync 3\S+ ${says('cannot-serve-one-as-a-daemon')}.2.3 and later do: nothing came within 30 s`,
  },
];

describe("a client's rsync that is refused", { skip: NEEDS_ROOT, concurrency: true }, () => {
  let world: World;
  let other: OtherRsync;
  before(async () => {
    world = await World.make();
    other = new OtherRsync(world);
    world.write(world.client, join(world.data, 'a file'), 'content');
  });
  after(async () => {
    await world.dispose();
    other[Symbol.dispose]();
  });

  for (const [index, kind] of KINDS.entries())
    it(kind.what, async () => {
      const { client } = world;
      const state = join(client.home, `state ${index}`);
      const config = join(client.home, `client ${index}.toml`);
      const text = readFileSync(world.clientToml, 'utf8').replace(`"${world.clientState}"`, `"${state}"`);
      world.write(client, config, text);
      const rsync = other.write([`real=${other.real}`, ...kind.script], `rsync-${index}`);
      const { status, stdout, stderr } = await other.run(rsync, ['backup', '--config', config]);
      const said = stderr.trim().split('\n');
      assert.equal(status, 1, stdout + stderr);
      assert.equal(said.length, 2, stderr);
      assert.match(said[0] ?? '', /^dialback: Cannot .* "\/usr\/bin\/rsync": /);
      assert.match(said[0] ?? '', kind.found);
      assert.match(said[1] ?? '', /^next: .*apt-get install rsync/);
      const journal = readFileSync(join(state, 'journal.jsonl'), 'utf8').trim().split('\n');
      const events = journal.map(line => (JSON.parse(line) as { event: string }).event);
      assert.deepEqual(events, ['started', 'finished']);
      assert.deepEqual(world.journal('host'), [], 'the host has heard nothing');
      assert.ok(
        !/"seen"/.test(existsSync(`${state}/rsync.json`) ? readFileSync(`${state}/rsync.json`, 'utf8') : ''),
      );
    });
});
