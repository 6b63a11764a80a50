// Counts habits of language that make the project hard to read: `node tools/language.ts` exits 1 and prints
// file:line for each, where a file has more of them than tools/language.json allows it.
//
//   --list [FILE…]  prints all of them, allowed or not; FILE: a path, or the beginning of one; --comments, --messages or --docs
//                   prints only those
//   --totals        prints a sum for each folder and kind of text
//   --update        lowers the numbers to what there is. It never raises one. Without tools/language.json it makes the file.

import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseFiles } from './parse.ts';
import { commentsOf, hashComments, markdownPassages, type Passage, passagesOfC, stringsOf } from './texts.ts';

/** A habit that was found. `kind`: where it stands. */
export interface Habit {
  line: number;
  habit: string;
  excerpt: string;
}

/** A pattern of a habit. `unless`: a sentence that matches it too has a reason. */
interface Rule {
  habit: string;
  pattern: RegExp;
  unless?: RegExp;
}

const NOUNS = 'what|who|whoever|whose';
const PREPOSITIONS =
  'of|to|for|from|with|by|in|on|at|about|than|as|behind|beside|before|after|without|between|into|through|below|above|against|like|over|under';
/** The beginning of a sentence or of a part of one. */
const CLAUSE = String.raw`(?:^|[;:(–—]\s+|\()`;

const RULES: Rule[] = [
  {
    habit: 'a clause as a noun',
    pattern: new RegExp(String.raw`${CLAUSE}(?:${NOUNS})\s+(?=\w)`, 'gi'),
    unless: /\?["')]*$/,
  },
  {
    habit: 'a clause as a noun',
    pattern: new RegExp(String.raw`\b(?:${PREPOSITIONS})\s+(?:${NOUNS})\b`, 'gi'),
  },
  {
    habit: 'a clause as a noun',
    pattern: /\b(?:and|or|but)\s+(?:what|who|whoever)\b/gi,
    unless: /\?["')]*$/,
  },
  {
    habit: 'a clause as a noun',
    pattern: /(?<![;:(–—]\s+)(?<=\w,?\s+)(?<!\b(?:and|or|but)\s+)\bwhoever\b/gi,
  },
  { habit: 'hence', pattern: /\bhence\b/gi },
  { habit: 'anew', pattern: /\banew\b/gi },
  { habit: 'in vain', pattern: /\bin vain\b/gi },
  { habit: 'of late', pattern: /\bof late\b/gi },
  { habit: 'so many', pattern: /\bso (?:many|much|long|often)\b(?! (?:\w+ )?(?:that|as)\b)/gi },
  {
    habit: 'alone',
    pattern: /(?<!\b(?:left|leaves?|leaving|let|lets|stands?|standing)\s+(?:\w+\s+){0,3})\balone\b/gi,
  },
  { habit: 'mend', pattern: /\bmend(?:s|ed|ing)?\b/gi },
  {
    habit: 'hole',
    pattern: /\bholes?\b/gi,
    unless: /\b(?:sparse|zeros?|blocks?|allocat\w+|SEEK_\w+|lseek)\b/i,
  },
  {
    habit: 'told',
    pattern: /\b(?:is|are|was|were|be|been|being|am|gets?)\s+(?:\w+ly\s+|never\s+|not\s+)?told\b/gi,
  },
  { habit: 'hear', pattern: /\b(?:hears?|heard|hearing)\b/gi },
  { habit: 'put aside', pattern: /\bput(?:s|ting)?\b(?:\s+\S+){0,3}?\s+aside\b/gi },
  { habit: 'turn', pattern: /\b(?:its|their|his|her|our|your|my)\s+turns?\b/gi },
  { habit: 'nobody', pattern: /\bnobody\b/gi },
  { habit: 'none that', pattern: /\bnone\s+(?:that|of\s+(?:what|which))\b/gi },
  {
    habit: 'nothing as a subject',
    pattern: /\bnothing\s+(?:is|are|was|were|has|had|can|could|may|might|will|must|that|of)\b/gi,
  },
  {
    habit: 'ended',
    pattern: /\b(?:is|are|was|were|be|been|being|gets?)\s+(?:\w+ly\s+|never\s+|not\s+)?ended\b/gi,
  },
  {
    habit: 'a double negative',
    pattern:
      /\b(?:not|never|no|nobody|nothing|none|cannot|\w+n't)\b(?:[^.,;:()?!]{0,30}?\s)(?:nobody|nothing|none|neither)\b/gi,
  },
  {
    habit: 'a double negative',
    pattern: /\b(?:not|never|nobody|nothing|none)\s+(?:\w+\s+){0,2}without\b/gi,
  },
  { habit: 'a double negative', pattern: /\b(?:nothing|nobody|none|no\s+\w+)\s+but\b/gi },
  { habit: 'a double negative', pattern: /\bnot\s+un(?!der|til|i|less)\w+/gi },
  {
    habit: 'an inversion',
    pattern:
      /(?:^|[;:]\s+|,\s+(?=nor|neither|only))(?:so|only then|only so|nor|thus)\s+(?:is|are|was|were|does|do|did|has|have|had|can|could|may|must|will|would|should)\b/gi,
  },
  {
    habit: 'an inversion',
    pattern:
      /(?:^|[;:]\s+)(?:not\s+(?:by|to|for|in|with|where|when|what|from|on)|of\s+(?:these|those|a|an|the|each|all|one|two|more|what|its))\b/gi,
  },
  {
    habit: 'an inversion',
    pattern:
      /(?:^|[;:]\s+)(?:in|on|at|behind|beside|below|above|before|after|between|from|to|there|here)\s+(?:\w+\s+){0,3}(?:stands?|lies|lie|goes|go|comes|come|belongs?)\s+(?:a|an|the|what|its|their|no|one)\b/gi,
  },
  {
    habit: 'an inversion',
    pattern: /(?:^|[;:]\s+)(?:had|were|should)\s+(?:it|the|a|an|they|this|that)\b/gi,
    unless: /\?["')]*$/,
  },
  {
    habit: 'British spelling',
    pattern:
      /\b(?:(?:colour|behaviour|favour|honour|neighbour|labour|harbour|rumour|flavour)\w*|centre[sd]?|defence|offence|licence|grey|catalogue\w*|artefacts?|judgement|programmes?|learnt|spelt|burnt|ageing|whilst|amongst|enrol|enrols|enrolments?|fulfil|fulfils|fulfilment|(?:cancel|signal|label|model|tunnel|travel|total|channel)l(?:ed|ing)|analys(?:e|es|ed|ing)|(?:organ|recogn|real|normal|initial|serial|synchron|optim|minim|maxim|summar|general|author|priorit|util|character|custom|final|standard|emphas|parallel|categor|capital|random|apolog|critic|visual|special|neutral|stabil|central|local|formal|material|final|token|sanit|item|penal)is(?:e|es|ed|er|ers|ing|ation|ations))\b/gi,
  },
];

/** Words of a sentence; more is too long for one idea. */
export const LONGEST_SENTENCE = 30;

/** What stands where code stood: one word. */
const CODE_WORD = 'CODE';

/**
 * The habits of one text.
 * @param text a comment, a message or a paragraph
 * @param line the line of its beginning
 */
export function habitsOf({ text, line }: Passage): Habit[] {
  const isHeading = /^#+ /.test(text);
  const found: Habit[] = [];
  for (const { start, words } of sentencesOf(text)) {
    const at = line + (text.slice(0, start).match(/\n/g)?.length ?? 0);
    const add = (habit: string, index: number, length: number): void => {
      const before = words.slice(0, index).match(/\n/g)?.length ?? 0;
      const excerpt = words.slice(Math.max(0, index - 20), index + length + 30).replace(/\s+/g, ' ');
      found.push({ line: at + before, habit, excerpt: excerpt.trim() });
    };
    for (const { habit, pattern, unless } of RULES) {
      if (unless?.test(words.trim()) || (isHeading && habit === 'a clause as a noun')) continue;
      for (const match of words.matchAll(pattern)) add(habit, match.index, match[0].length);
    }
    const count = words.split(/\s+/).filter(word => /\w/.test(word)).length;
    if (count > LONGEST_SENTENCE) add(`${count} words in a sentence`, 0, 30);
  }
  return found.sort((a, b) => a.line - b.line);
}

/** The sentences of a text, with code in them as one word each. The start is the sentence's place in the text. */
function sentencesOf(text: string): { start: number; words: string }[] {
  // As long as before, so that places stay the same; line breaks stay.
  const plain = text
    .replace(/`[^`]*`|\b[\w.-]+\(\)|\bhttps?:\S+|"[^"\n]{0,60}"/g, match =>
      /^"[^"]* [^"]*"$/.test(match) && !match.startsWith('`') ? match : codeAs(match),
    )
    .replace(/@(?:returns|throws)\b/g, match => `¶${' '.repeat(match.length - 1)}`)
    .replace(/@param\s+[\w.]+/g, match => `¶${codeAs(match.slice(1))}`);
  const found: { start: number; words: string }[] = [];
  let start = 0;
  const take = (end: number): void => {
    const words = plain.slice(start, end);
    const lead = /^\s*/.exec(words)?.[0].length ?? 0;
    if (words.trim() !== '') found.push({ start: start + lead, words: words.slice(lead).trimEnd() });
    start = end;
  };
  const ends = /[.?!]["')]*(?=\s|$)|\n\s*\n|\n(?=\s*(?:[-*+•]|\d+\.|[A-Z]+:) )|¶/g;
  for (const match of plain.matchAll(ends)) {
    const isShort = /\b(?:e\.g|i\.e|cf|vs|etc|sect|no|al)\.$/i.test(plain.slice(0, match.index + 1));
    if (!isShort) take(match.index + match[0].length);
  }
  take(plain.length);
  return found.map(each => ({ ...each, words: each.words.replaceAll('¶', ' ') }));
}

/** One word of the same length. */
function codeAs(match: string): string {
  const word = CODE_WORD.padEnd(match.length, '_').slice(0, match.length);
  return match.includes('\n') ? match.replace(/[^\n]/g, '_') : word;
}

/** Kinds of text that are counted apart in the totals. */
type Kind = 'comments' | 'messages' | 'docs';

/** The texts of one file, by their kind. */
export type Texts = Partial<Record<Kind, Passage[]>>;

/** The files that are checked. Lists that tools make of the source's own texts would count these twice. */
const FILES = [
  'src/**/*.{ts,c,h}',
  'tools/*.{ts,sh}',
  'test/support/*.{ts,c}',
  'test/runner/*.ts',
  'test/run.ts',
  'build.ts',
  '*.md',
  'docs/**/*.md',
  'share/**',
];
const GENERATED = new Set(['docs/next-steps.md']);
/** These files quote the habits. */
const QUOTING = new Set(['tools/language.ts', 'docs/glossary.md']);

/** All files of a checkout that are checked. */
export function checkedFiles(top: string): string[] {
  return FILES.flatMap(pattern => globSync(pattern, { cwd: top, withFileTypes: true }))
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name).slice(join(top, '/').length))
    .filter(file => !GENERATED.has(file) && !QUOTING.has(file))
    .sort();
}

/** Reads the texts of files. @param files content by path */
export async function textsOf(files: ReadonlyMap<string, string>): Promise<Map<string, Texts>> {
  const texts = new Map<string, Texts>();
  const typescript = new Map([...files].filter(([file]) => file.endsWith('.ts')));
  for (const [file, source] of await parseFiles(typescript))
    texts.set(file, {
      comments: commentsOf(source),
      // Only the program's own strings are messages: a test's are names of tests and what it does.
      ...(/^(?:src|tools)\/|^build/.test(file) ? { messages: stringsOf(source) } : {}),
    });
  for (const [file, text] of files) {
    if (file.endsWith('.ts')) continue;
    if (/\.[ch]$/.test(file)) {
      const { comments, strings } = passagesOfC(text);
      texts.set(file, { comments, ...(file.startsWith('src/') ? { messages: strings } : {}) });
    } else if (file.endsWith('.md')) texts.set(file, { docs: markdownPassages(text) });
    else texts.set(file, { [file.startsWith('share/') ? 'docs' : 'comments']: hashComments(text) });
  }
  return texts;
}

/** All habits of one file. */
export function habitsOfFile(texts: Texts): Habit[] {
  return Object.values(texts)
    .flatMap(passages => passages.flatMap(habitsOf))
    .sort((a, b) => a.line - b.line);
}

/** How many habits a file may have; one that is not named may have none. */
export type Limits = Record<string, number>;

/** The limits lowered to what there is. A file that has gone, or has none any more, has no limit. */
export function lowered(limits: Limits, counts: ReadonlyMap<string, number>): Limits {
  const entries = Object.entries(limits).map(
    ([file, limit]) => [file, Math.min(limit, counts.get(file) ?? 0)] as const,
  );
  return Object.fromEntries(entries.filter(([, limit]) => limit > 0));
}

/** @returns the files that have more habits than they may have */
export function filesOver(limits: Limits, counts: ReadonlyMap<string, number>): string[] {
  return [...counts].filter(([file, count]) => count > (limits[file] ?? 0)).map(([file]) => file);
}

async function main(words: string[]): Promise<number> {
  const top = join(import.meta.dirname, '..');
  const place = join(top, 'tools/language.json');
  const names = checkedFiles(top);
  const texts = await textsOf(new Map(names.map(name => [name, readFileSync(join(top, name), 'utf8')])));
  const habits = new Map([...texts].map(([file, each]) => [file, habitsOfFile(each)]));
  const counts = new Map([...habits].map(([file, each]) => [file, each.length]));
  const print = (file: string): void => {
    for (const { line, habit, excerpt } of habits.get(file) ?? [])
      console.log(`${file}:${line}: ${habit}: ${excerpt}`);
  };

  if (words.includes('--totals')) {
    for (const [group, count] of totals(texts)) console.log(`${String(count).padStart(6)}  ${group}`);
    return 0;
  }
  if (words.includes('--list')) {
    const wanted = words.filter(word => !word.startsWith('--'));
    const kinds = (['comments', 'messages', 'docs'] as const).filter(kind => words.includes(`--${kind}`));
    if (kinds.length > 0)
      for (const [file, each] of texts)
        habits.set(file, habitsOfFile(Object.fromEntries(kinds.map(kind => [kind, each[kind] ?? []]))));
    for (const file of names)
      if (wanted.length === 0 || wanted.some(each => file.startsWith(each))) print(file);
    return 0;
  }
  const sum = (numbers: Iterable<number>): number => [...numbers].reduce((all, each) => all + each, 0);
  if (words.includes('--update')) {
    const limits = existsSync(place)
      ? lowered(JSON.parse(readFileSync(place, 'utf8')) as Limits, counts)
      : Object.fromEntries([...counts].filter(([, count]) => count > 0));
    const sorted = Object.fromEntries(Object.entries(limits).sort(([a], [b]) => (a < b ? -1 : 1)));
    writeFileSync(place, `${JSON.stringify(sorted, undefined, 2)}\n`);
  }
  const limits: Limits = existsSync(place) ? (JSON.parse(readFileSync(place, 'utf8')) as Limits) : {};
  const over = filesOver(limits, counts);
  for (const file of over) {
    print(file);
    console.log(`${file}: ${counts.get(file)} habits, and ${limits[file] ?? 0} are allowed`);
  }
  console.log(
    `language: ${names.length} files, ${sum(counts.values())} habits, ${sum(Object.values(limits))} allowed, ${over.length} files with too many`,
  );
  return over.length > 0 || names.length === 0 ? 1 : 0;
}

/** The sums by folder and kind, as `src/os comments`. */
function totals(texts: ReadonlyMap<string, Texts>): [string, number][] {
  const sums = new Map<string, number>();
  const add = (group: string, count: number): void => void sums.set(group, (sums.get(group) ?? 0) + count);
  for (const [file, each] of texts) {
    const group = file.endsWith('.md')
      ? file
      : (/^(?:src|test)\/[^/]+(?=\/)|^\w+(?=\/)/.exec(file)?.[0] ?? file);
    for (const [kind, passages] of Object.entries(each)) {
      const count = passages.flatMap(habitsOf).length;
      add(`${group} ${kind}`, count);
      add(`all ${kind}`, count);
    }
  }
  return [...sums].sort(([a], [b]) => (a < b ? -1 : 1));
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
