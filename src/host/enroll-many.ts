/** `dialback enroll --from`: many clients at once, from lines or from a folder of public keys. */
import { Fault, type FaultParts, type Parsed } from '../fault.ts';
import { readWhole } from '../os/content.ts';
import { readdir, stat } from '../os/files.ts';
import { readStandardInput } from '../os/streams.ts';
import { decodeEnrollment, type Enrollment } from '../wire/enrollment.ts';
import { parsePublicKey } from '../wire/key.ts';
import { escapeText, NAME, quoteForShell } from '../wire/text.ts';
import { type ClientsEnrolled, type EnrollPlace, enrollClients, type RefusedEntry } from './enroll.ts';

/** Bytes of standard input that are read. */
const INPUT_LIMIT = 16 * 1024 * 1024;
/** Bytes of a key file that are read. */
const KEY_LIMIT = 16 * 1024;
/** Clients of one call. */
const MOST_CLIENTS = 10_000;

interface ManyOptions extends EnrollPlace {
  /** `-` for standard input, or the path of a folder. */
  from: string;
}

/** A part of the input that is not enrolled. */
export interface EnrollProblem {
  /** `line 3`, or the name of a file. */
  where: string;
  /** The client's name, if the input has one. */
  client: string | null;
  found: string;
  next: string;
}

/** The fault of `enrollMany()`, with all that is wrong in the input. */
export class EnrollProblems extends Fault {
  readonly problems: readonly EnrollProblem[];

  constructor(problems: readonly EnrollProblem[], parts: FaultParts) {
    super(parts);
    this.problems = problems;
  }
}

/** A client of the input, and the place that names it. */
interface Sourced extends Enrollment {
  where: string;
}

type Source = { where: string; client: string | null } & Parsed<Enrollment>;

const PRINT_AGAIN = 'on that client: dialback init --batch (it prints the line)';

/**
 * Enrolls all clients of the input, or none: all are checked before anything is written.
 * @throws EnrollProblems `usage` if the input has an error, `refused` if authorized_keys has something against it; else as
 *   `enrollClients()`
 */
export async function enrollMany(options: ManyOptions): Promise<ClientsEnrolled> {
  const { from } = options;
  const verb = `enroll --from ${from === '-' ? '-' : quoteForShell(from)}`;
  let count = 0;
  const read = (): Sourced[] => {
    const sources = from === '-' ? readLines() : readFolder(from);
    count = sources.length;
    return checkSources(sources, from);
  };
  return await enrollClients({ ...options, verb }, read, refused =>
    problemsFault(refused.map(asProblem), { from, count, exit: 'refused' }),
  );
}

function asProblem({ entry, reason, next }: RefusedEntry<Sourced>): EnrollProblem {
  return { where: entry.where, client: entry.name, found: reason, next };
}

/** Reads enrollments from a text: one a line. Empty lines and those that begin with # are passed over. Pure. */
function parseLines(text: string): Source[] {
  return text.split('\n').flatMap((each, index) => {
    const line = each.replace(/\r$/, '').trim();
    if (line === '' || line.startsWith('#')) return [];
    const decoded = decodeEnrollment(line);
    const client = 'value' in decoded ? decoded.value.name : null;
    return [{ where: `line ${index + 1}`, client, ...decoded }];
  });
}

function readLines(): Source[] {
  return parseLines(readStandardInput(INPUT_LIMIT).toString('utf8'));
}

/** Reads the files NAME.pub of a folder. Hidden files are passed over, and other files are refused. */
function readFolder(folder: string): Source[] {
  const names = readdir(folder).filter(each => !each.startsWith('.'));
  return names.sort().map(file => {
    const name = file.replace(/\.pub$/, '');
    const where = `"${escapeText(file, 100)}"`;
    const refuse = (reason: string): Source => ({ where, client: null, reason });
    if (name === file || !NAME.test(name))
      return refuse('a key file is called NAME.pub, with the name of the client');
    if (!stat(`${folder}/${file}`).isFile()) return refuse('it is not a plain file');
    const key = parsePublicKey(readWhole(`${folder}/${file}`, KEY_LIMIT).toString('utf8'));
    return { where, client: name, ...('value' in key ? { value: { name, key: key.value } } : key) };
  });
}

/** @returns the clients of the input @throws EnrollProblems if a part of it is wrong, or if there is none */
function checkSources(sources: readonly Source[], from: string): Sourced[] {
  const count = sources.length;
  if (count === 0 || count > MOST_CLIENTS)
    throw new Fault({
      tried: `enroll clients from ${placeText(from)}`,
      found: count === 0 ? 'there is no client in it' : `it has more than ${MOST_CLIENTS} clients`,
      next: count === 0 ? PRINT_AGAIN : 'divide it',
      exit: 'usage',
    });
  const good: Sourced[] = [];
  const problems: EnrollProblem[] = [];
  const seen = new Map<string, Sourced>();
  for (const source of sources) {
    const { where, client } = source;
    if ('reason' in source) {
      problems.push({ where, client, found: source.reason, next: PRINT_AGAIN });
      continue;
    }
    const entry = { where, ...source.value };
    const same = seen.get(entry.name) ?? seen.get(entry.key.blob);
    if (same === undefined) good.push(entry);
    else problems.push(repeatedProblem(entry, same));
    seen.set(entry.name, same ?? entry).set(entry.key.blob, same ?? entry);
  }
  if (problems.length > 0) throw problemsFault(problems, { from, count, exit: 'usage' });
  return good;
}

/** @param same the earlier entry with the same name or the same key */
function repeatedProblem({ where, name }: Sourced, same: Sourced): EnrollProblem {
  const what = same.name === name ? `"${name}" already` : `the same key, for "${same.name}"`;
  return {
    where,
    client: name,
    found: `${same.where} has ${what}`,
    next: 'remove one of them; every client needs its own key',
  };
}

function problemsFault(
  problems: readonly EnrollProblem[],
  { from, count, exit }: { from: string; count: number; exit: 'usage' | 'refused' },
): EnrollProblems {
  return new EnrollProblems(problems, {
    tried: `enroll ${problems.length} of ${count} clients from ${placeText(from)}`,
    found: 'see above; no client was enrolled',
    next: 'correct these, and run the command again',
    exit,
  });
}

function placeText(from: string): string {
  return from === '-' ? 'standard input' : `"${escapeText(from)}"`;
}
