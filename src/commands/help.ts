/** `dialback help`: all text of help is made from the commands themselves. */
import { EXIT, EXIT_MEANINGS, type ExitName } from '../fault.ts';
import { hooksHelp } from '../shared/hooks-text.ts';
import { escapeText } from '../wire/text.ts';
import { Arguments, type Command, type Option, usage } from './command.ts';
import { loadCommands } from './table.ts';

interface HelpRequest {
  /** A command or one of TOPICS; undefined: the list of all commands. */
  topic: string | undefined;
}

/** Texts of help that do not belong to one command. */
export const TOPICS: Record<string, () => string> = { hooks: hooksHelp };

export const help: Command<HelpRequest> = {
  name: 'help',
  usage: 'help [TOPIC]',
  side: 'both',
  summary: 'show this text; TOPIC: a command, or `hooks`, the programs that run before and after a backup',
  options: [],
  positionals: [{ name: 'TOPIC', isOptional: true }],

  parse(words) {
    const [topic] = new Arguments(help, words).positionals;
    return { topic };
  },

  async run({ topic }, io) {
    const commands = await loadCommands();
    io.print(io.plain(`${topic === undefined ? '' : topicHelp(topic, commands)}${helpText(commands)}`));
    return 'done';
  },
};

/** @throws Fault `usage` where there is no such topic */
function topicHelp(topic: string, commands: readonly Command[]): string {
  const command = commands.find(each => each.name === topic);
  if (command) return commandHelp(command);
  const text = Object.hasOwn(TOPICS, topic) ? TOPICS[topic]?.() : undefined;
  if (text !== undefined) return text;
  throw usage(
    'run "help"',
    `"${escapeText(topic, 60)}" is neither a topic (${Object.keys(TOPICS).join(', ')}) nor a command`,
    'dialback help',
  );
}

/** All commands, and the rules for all of them. */
function helpText(commands: readonly Command[]): string {
  const lines = commands.map(
    each => `${wrapped(`  dialback ${each.usage}`)}\n      ${each.side}: ${each.summary}`,
  );
  const statuses = (Object.keys(EXIT) as ExitName[]).map(
    name => `  ${String(EXIT[name]).padStart(3)}  ${EXIT_MEANINGS[name]}`,
  );
  return [
    'dialback: backups that the client asks for and the backup host fetches; no port stays open on the client',
    '',
    'Commands:',
    ...lines,
    '',
    'NAME is the name of a client. SNAPSHOT is the time that `list` shows, the beginning of it, or `latest`.',
    '--config F: client.toml or host.toml; without it the one in ~/.config/dialback/, else the one in /etc/dialback/.',
    '`dialback help COMMAND` explains the options of a command.',
    '',
    'Exit statuses:',
    ...statuses,
    'The statuses of `doctor` and `status` are those of monitoring plugins: 0 ok, 1 warning or unknown, 2 critical.',
    '',
  ].join('\n');
}

const COLUMNS = 118;

/** Breaks a long usage in front of an option. */
function wrapped(line: string): string {
  if (line.length <= COLUMNS) return line;
  const at = line.lastIndexOf(' [', COLUMNS);
  return at <= 0 ? line : `${line.slice(0, at)}\n${wrapped(`         ${line.slice(at)}`)}`;
}

/** One command with its options. It stands before the text on all commands. */
function commandHelp(command: Command): string {
  const names = command.options.map(optionText);
  const width = Math.max(0, ...names.map(name => name.length));
  const options = command.options.map((each, at) => `  ${(names[at] ?? '').padEnd(width)}  ${each.help}\n`);
  return [
    `dialback ${command.usage}\n`,
    `${command.side}: ${command.summary}\n\n`,
    ...(options.length > 0 ? ['Options:\n', ...options, '\n'] : []),
  ].join('');
}

function optionText({ name, short, value }: Option): string {
  return `${short === undefined ? '    ' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`;
}
