// The sections of dialback.toml(5): the keys come from the schemas, their descriptions from the samples in share/.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type * as v from 'valibot';
import { CLIENT_SCHEMA } from '../src/client/config.ts';
import { HOST_SCHEMA } from '../src/host/config.ts';
import { ANY, type ConfigKey, configKeys } from '../src/shared/config-keys.ts';
import {
  bold,
  escapeRoff,
  example,
  fill,
  heading,
  inline,
  italic,
  item,
  paragraph,
  subheading,
} from './roff.ts';

const TOP = join(import.meta.dirname, '..');

/** A comment of a sample, and the settings right below it. */
interface Passage {
  /** The path of the table, with {@link ANY} for a name that the user chooses; '' for the top. */
  table: string;
  /** The header, where the passage is the one of a table. */
  header: string | undefined;
  text: string;
  /** The names of the settings. */
  keys: string[];
}

/** A sentence of a sample about the value that it shows, which a page does not. */
const OF_VALUES = / (?:This is an example|These are examples)\.(?= |$)/g;

/** The passages of a sample: its comments, each with the settings up to the next empty line. */
function passagesOf(sample: string): Passage[] {
  const found: Passage[] = [];
  let table = '';
  for (const block of sample.split(/\n{2,}/)) {
    const lines = block.split('\n').filter(Boolean);
    const text = lines
      .filter(line => /^#( |$)/.test(line))
      .map(line => line.slice(2))
      .join(' ')
      .replaceAll(OF_VALUES, '');
    const header = lines.find(line => line.startsWith('['));
    if (header !== undefined) table = tableOf(header);
    const keys = lines.flatMap(line => /^#?([a-z_]+) = /.exec(line)?.[1] ?? []);
    found.push({ table, header, text, keys });
  }
  return found;
}

/** `remote.*` for `[[remote]]`, `client.*.space` for `[client."laptop".space]`. */
function tableOf(header: string): string {
  const name = header.replace(/^\[+|\]+$/g, '').replace(/"[^"]*"/, ANY);
  return header.startsWith('[[') ? `${name}.${ANY}` : name;
}

function headerOf(table: string): string {
  if (table === '') return 'Top-level keys';
  if (table.endsWith(`.${ANY}`) && !table.startsWith('client')) return `[[${table.slice(0, -2)}]]`;
  return `[${table.replace(ANY, '"NAME"')}]`;
}

/** The values of a key, and its default. */
function factsOf({ takes, fallback, isRequired }: ConfigKey): string {
  if (isRequired) return `${takes}. Required`;
  return fallback === undefined ? takes : `${takes}. Default: \`${JSON.stringify(fallback)}\``;
}

/** The table's own passages and its keys. @throws Error for a key without a description */
function tableSection(table: string, keys: readonly ConfigKey[], passages: readonly Passage[]): string {
  const own = passages.filter(each => each.table === table);
  const described = new Set(own.flatMap(each => each.keys));
  const lost = keys.filter(({ path }) => !described.has(path.at(-1) ?? ''));
  if (lost.length > 0)
    throw new Error(`share/ has no text for: ${lost.map(({ path }) => path.join('.')).join(' ')}`);
  const parts: string[] = [];
  const isOfClient = table.startsWith(`client.${ANY}`);
  const done = new Set<string>();
  for (const { text, keys: names } of own) {
    const here = names.flatMap(
      name => keys.find(({ path }) => path.at(-1) === name && !done.has(name)) ?? [],
    );
    for (const { path } of here) done.add(path.at(-1) ?? '');
    if (here.length === 0) parts.push(text === '' ? '' : paragraph(text));
    else if (isOfClient) parts.push(text === '' ? '' : paragraph(text), namesOnly(here));
    else parts.push(keyItem(here, text));
  }
  return `${subheading(escapeRoff(headerOf(table)))}${parts.join('')}`;
}

function keyItem(keys: readonly ConfigKey[], text: string): string {
  const tags = keys.map(({ path }) => bold(path.at(-1) ?? ''));
  const facts = keys.map((key, at) => {
    const line = fill(`${keys.length === 1 ? 'Value' : tags[at]}: ${inline(`${factsOf(key)}.`)}`);
    return `.br\n${line}\n`;
  });
  return item(tags, text) + facts.join('');
}

/** The keys of a client's own tables have the meaning of those for all clients. */
function namesOnly(keys: readonly ConfigKey[]): string {
  return `.PP\n${fill(keys.map(({ path }) => bold(path.at(-1) ?? '')).join(', '))}\n`;
}

/** Sentences of a sample's first comment that are about the sample itself. */
const OF_SAMPLE = /\bsample\b|^A line that begins/;

/**
 * The section of one config.
 * @param sample the text of its sample
 * @throws Error for a key that the sample does not describe
 */
export function fileSection(name: string, schema: v.GenericSchema, sample: string): string {
  const [intro, ...others] = passagesOf(sample);
  if (intro === undefined) throw new Error(`share/${name} is empty`);
  const sentences = intro.text.split(/(?<=[.])\s+/).filter(each => !OF_SAMPLE.test(each));
  const tables = Map.groupBy(configKeys(schema), ({ path }) => path.slice(0, -1).join('.'));
  const sections = [...tables].map(([table, keys]) => tableSection(table, keys, others));
  return `${heading(name.toUpperCase())}${paragraph(sentences.join(' '))}${sections.join('')}`;
}

const sampleOf = (name: string): string => readFileSync(join(TOP, 'share', name), 'utf8');

/** All sections between the name of the page and its links. */
export function configSections(): string {
  return [
    heading('DESCRIPTION'),
    paragraph(
      'dialback has a config for each side, in TOML: client.toml on the machine that is backed up, host.toml on the backup host. `dialback init` and `dialback enroll` write short ones.',
    ),
    paragraph(
      '`dialback config check` names every problem of a config. `dialback config show` prints the value of each key and where it comes from.',
    ),
    paragraph(
      'Sizes are texts such as "500K", "20M" or "1G" (powers of 1024), times are texts such as "90s", "15m", "36h" or "7d". An unknown key, a wrong type and a combination without effect are refused with the line and the key.',
    ),
    heading('FILES'),
    item(
      [italic('~/.config/dialback/client.toml'), italic('~/.config/dialback/host.toml')],
      'The configs of an account.',
    ),
    item(
      [italic('/etc/dialback/client.toml'), italic('/etc/dialback/host.toml')],
      'They are read if the account has none of its own. The two are never merged.',
    ),
    item(
      [italic('/etc/dialback/client.toml.sample'), italic('/etc/dialback/host.toml.sample')],
      'Samples with every key.',
    ),
    fileSection('client.toml', CLIENT_SCHEMA, sampleOf('client.toml')),
    fileSection('host.toml', HOST_SCHEMA, sampleOf('host.toml')),
    heading('EXAMPLES'),
    paragraph('A client.toml for a home folder:'),
    example([
      '[[remote]]',
      'target = "dialback@backup.example.org"',
      '',
      '[scope]',
      'roots = ["/home/anna"]',
      'exclude = [".cache/"]',
    ]),
    paragraph('A host.toml that keeps a week of days and a year of months:'),
    example(['store = "/srv/dialback"', '', '[retention]', 'daily = 7', 'monthly = 12', 'min_keep = 3']),
  ].join('');
}
