// Makes the manual pages in docs/man: dialback(1), dialback.toml(5) and dialback-hooks(7): `node tools/man.ts` writes them. The
// commands, the keys of the configs with their samples, the exit statuses and the description of hooks come from the program, so
// that a page has each of them. test/man.test.ts compares the pages.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command, Option } from '../src/commands/command.ts';
import { loadCommands } from '../src/commands/table.ts';
import { EXIT, EXIT_MEANINGS, type ExitName } from '../src/fault.ts';
import { type Block, HOOK_SECTIONS, HOOKS_SUMMARY } from '../src/shared/hooks-text.ts';
import { configSections } from './man-config.ts';
import { ARGUMENTS, DESCRIPTION, EXAMPLES, FILES, RULES } from './man-text.ts';
import {
  bold,
  escapeRoff,
  example,
  fill,
  heading,
  italic,
  item,
  paragraph,
  subheading,
  usageText,
} from './roff.ts';

const TOP = join(import.meta.dirname, '..');
/** The folder of the pages. */
export const FOLDER = 'docs/man';

const { version } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8')) as { version: string };

/** A page without its first line, which has the date. */
type Page = { name: string; section: string; body: string };

/** The pages, with the name of each file. */
export async function manualPages(): Promise<Map<string, Page>> {
  const pages = [commandsPage(await loadCommands()), configPage(), hooksPage()];
  return new Map(
    pages.map(page => [`${page.name}.${page.section}`, { ...page, body: withoutGaps(page.body) }]),
  );
}

/** A paragraph directly below a heading needs no request of its own. */
function withoutGaps(body: string): string {
  return body.replaceAll(/^(\.S[HS] .*\n)\.PP\n/gm, '$1');
}

/** The first lines of a page. Without hyphens in words, names of files and keys stay whole. */
function title({ name, section }: Page, date: string): string {
  return `.TH ${escapeRoff(name.toUpperCase())} ${section} ${date} "dialback ${version}" "dialback"\n.nh\n`;
}

/**
 * A page with its date.
 * @param old the page as it is in the repository. Its date stays while nothing else changes
 */
export function datedPage(page: Page, old: string, today: string): string {
  const date = /^\.TH \S+ \S+ (\S+) /.exec(old)?.[1] ?? today;
  const unchanged = title(page, date) + page.body;
  return unchanged === old ? old : title(page, today) + page.body;
}

function nameSection(name: string, what: string): string {
  return `${heading('NAME')}${fill(`${escapeRoff(name)} \\- ${escapeRoff(what)}`)}\n`;
}

function seeAlso(own: string): string {
  const pages = ['dialback(1)', 'dialback.toml(5)', 'dialback-hooks(7)', 'rsync(1)', 'ssh(1)', 'sshd(8)'];
  const links = pages
    .filter(each => each !== own)
    .map(each =>
      each.replace(/^(.*)\((\d)\)$/, (_, name: string, section: string) => `${bold(name)}(${section})`),
    );
  return `${heading('SEE ALSO')}${fill(links.join(', '))}\n`;
}

function commandsPage(commands: readonly Command[]): Page {
  const statuses = (Object.keys(EXIT) as ExitName[]).map(name =>
    item([bold(String(EXIT[name]))], `${EXIT_MEANINGS[name]}.`),
  );
  const body = [
    nameSection('dialback', 'backups that the client asks for and the backup host fetches'),
    heading('SYNOPSIS'),
    `${usageText('dialback COMMAND')} [${italic('ARGUMENT')} ...]\n.br\n${usageText('dialback help')} [${italic('COMMAND')}]\n`,
    heading('DESCRIPTION'),
    ...DESCRIPTION.map(paragraph),
    heading('ARGUMENTS'),
    ...ARGUMENTS.map(([name, text]) => item([usageText(name)], text)),
    ...RULES.map(paragraph),
    heading('COMMANDS'),
    ...commands.map(commandText),
    heading('EXIT STATUS'),
    ...statuses,
    paragraph(
      'The statuses of `doctor` and `status` are those of monitoring plugins: 0 ok, 1 warning or unknown, 2 critical.',
    ),
    heading('FILES'),
    ...FILES.map(([path, text]) => item([italic(path)], text)),
    heading('EXAMPLES'),
    ...EXAMPLES.flatMap(([text, lines]) => [paragraph(text), example(lines)]),
    seeAlso('dialback(1)'),
  ];
  return { name: 'dialback', section: '1', body: body.join('') };
}

const SIDES = { client: 'On the client:', host: 'On the backup host:', both: 'On either machine:' };

function commandText({ name, usage, side, summary, options }: Command): string {
  const line = usageText(`dialback ${usage}`);
  return `${subheading(escapeRoff(name))}${fill(line)}\n${paragraph(`${SIDES[side]} ${summary}.`)}${options.map(optionText).join('')}`;
}

function optionText({ name, short, value, help }: Option): string {
  const letters = short === undefined ? [] : [bold(`-${short}`)];
  const argument = value === undefined ? '' : ` ${usageText(value)}`;
  return item([[...letters, bold(`--${name}`)].join(', ') + argument], `${help}.`);
}

function configPage(): Page {
  const body = [
    nameSection('dialback.toml', 'client.toml and host.toml, the configs of dialback'),
    configSections(),
    seeAlso('dialback.toml(5)'),
  ];
  return { name: 'dialback.toml', section: '5', body: body.join('') };
}

function hooksPage(): Page {
  const sections = HOOK_SECTIONS.map(
    ({ title: name, blocks }) => heading(name.toUpperCase()) + blocks.map(blockText).join(''),
  );
  const body = [
    nameSection('dialback-hooks', HOOKS_SUMMARY),
    heading('DESCRIPTION'),
    paragraph(`Hooks are ${HOOKS_SUMMARY}. \`dialback help hooks\` shows the same text.`),
    ...sections,
    seeAlso('dialback-hooks(7)'),
  ];
  return { name: 'dialback-hooks', section: '7', body: body.join('') };
}

function blockText(block: Block): string {
  if ('text' in block) return paragraph(block.text);
  if ('code' in block) return example(block.code);
  return block.items
    .map(([name, text]) => item([bold(name)], /[.?]$/.test(text) ? text : `${text}.`))
    .join('');
}

if (import.meta.main) {
  const folder = join(TOP, FOLDER);
  mkdirSync(folder, { recursive: true });
  const today = new Date().toISOString().slice(0, 10);
  for (const [file, page] of await manualPages()) {
    const path = join(folder, file);
    writeFileSync(path, datedPage(page, existsSync(path) ? readFileSync(path, 'utf8') : '', today));
  }
}
