/** `dialback init`: makes the key and the config of a client. */
import { type InitValues, readInitValues } from '../client/init-values.ts';
import { type InitResult, initLocal, type LocalInitResult, init as setUp } from '../client/setup.ts';
import { inheritStep } from '../os/install-steps.ts';
import { jsonText } from '../output/json.ts';
import { nextCommandText } from '../output/next-command.ts';
import { encodeEnrollment } from '../wire/enrollment.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import { Arguments, type Command, type Io, JSON_OPTION } from './command.ts';

interface InitRequest {
  name: string | undefined;
  target: string | undefined;
  hostKey: string | undefined;
  /** Undefined: direct, unless the host cannot reach this machine. */
  transport: (typeof TRANSPORTS)[number] | undefined;
  config: string | undefined;
  /** The path of a file with these values. */
  from: string | undefined;
  batch: boolean;
  json: boolean;
}

const TRANSPORTS = ['direct', 'channel', 'local'] as const;

export const init: Command<InitRequest> = {
  name: 'init',
  usage:
    'init [--name NAME] [--target TARGET --host-key KEY] [--transport T] [--from F] [--config F] [--batch|--json]',
  side: 'client',
  summary: 'make the key, and with the values that `enroll` printed also the config; print the next command',
  options: [
    { name: 'name', value: 'NAME', help: "the client's name; without it the host name of this machine" },
    {
      name: 'target',
      value: 'TARGET',
      help: 'the backup host, as `enroll` printed it; with --transport local the folder of the store',
    },
    { name: 'host-key', value: 'KEY', help: "the backup host's key, as `enroll` printed it" },
    {
      name: 'transport',
      value: TRANSPORTS.join('|'),
      help: 'how the data travel: over a connection back, over the call itself, or without ssh on this machine',
    },
    { name: 'config', value: 'F', help: 'write this client.toml' },
    {
      name: 'from',
      value: 'F',
      help: 'take from this TOML file: name, target, host_key, transport, roots, exclude; an option wins',
    },
    { name: 'batch', help: 'for scripts: print only the line for `enroll --from`, on standard output' },
    JSON_OPTION,
  ],
  positionals: [],

  parse(words) {
    const given = new Arguments(init, words);
    const named = given.text('transport');
    const transport = TRANSPORTS.find(each => each === named);
    if (named !== transport)
      throw given.refuse(
        `--transport is "${escapeText(named ?? '', 60)}", and should be "direct", "channel" or "local"`,
      );
    return {
      name: given.text('name'),
      target: transport === 'local' ? given.path('target') : given.text('target'),
      hostKey: given.text('host-key'),
      transport,
      config: given.path('config'),
      from: given.path('from'),
      batch: given.has('batch'),
      json: given.has('json'),
    };
  },

  async run(request, io) {
    const values = request.from === undefined ? {} : readInitValues(request.from);
    const { config } = request;
    const transport = request.transport ?? values.transport;
    const wanted = wantedOf(request, values);
    if (transport === 'local') {
      const result = await initLocal(wanted, io.interruption());
      report(request, io, { name: result.name, local: result }, () => initLocalText(result, config));
    } else {
      const result = await setUp({ ...wanted, transport }, io.interruption());
      report(request, io, { name: result.name, called: result }, () => initText(result, config));
    }
    return 'done';
  },
};

/** The values of the command line, and those of the file in the places that it leaves open. */
function wantedOf({ name, target, hostKey, config }: InitRequest, values: InitValues) {
  return {
    ...{ name: name ?? values.name, target: target ?? values.target, config },
    ...{ hostKey: hostKey ?? values.host_key, roots: values.roots, exclude: values.exclude },
  };
}

/** The result of init, by its transport. */
interface Done {
  name: string;
  called?: InitResult;
  local?: LocalInitResult;
}

/** Prints the result: for a program as JSON or as the line for `enroll --from`, else for a person. */
function report({ json, batch }: InitRequest, io: Io, done: Done, text: () => string): void {
  if (json) io.print(jsonText(initJson(done)));
  else if (!batch) io.print(text());
  else {
    const { called, local } = done;
    if (called) io.print(`${encodeEnrollment(called.name, called.key.publicKey)}\n`);
    const made = called?.setUp ?? local;
    if (made?.jail) io.warn(io.plain(`${jailLines(made).join('\n')}\n`));
  }
}

function initJson({ name, called, local }: Done) {
  const made = called?.setUp ?? local;
  const key = called?.key;
  return {
    client: name,
    changed: (key?.isNew ?? false) || (called?.setUp?.isHostKeyNew ?? false) || (made?.isNew ?? false),
    enroll: key === undefined ? null : encodeEnrollment(name, key.publicKey),
    key_file: key?.path ?? null,
    config: made?.config ?? null,
    target: made?.target ?? null,
    transport: local ? 'local' : (called?.setUp?.transport ?? null),
    host_key_fingerprint: called?.setUp?.fingerprint ?? null,
    roots: made?.roots ?? null,
    confined: made?.isConfined ?? null,
    jail: made?.jail?.found ?? null,
  };
}

/**
 * The output of init: its result, and the next command.
 * @param namedConfig the value of --config, which the next command has to repeat
 */
export function initText(result: InitResult, namedConfig: string | undefined): string {
  const { name, key, setUp: made } = result;
  const enroll = nextCommandText(
    'on the backup host, as the account that receives',
    `echo ${quoteForShell(`${key.publicKey} ${name}`)} | dialback enroll ${name} -`,
  );
  const keyLine = `${key.isNew ? 'made the key' : 'the key is'} "${key.path}"\n`;
  if (!made) return `${keyLine}${enroll}`;
  const told = [
    `the host's key: ${made.fingerprint} (compare it with the one that \`enroll\` printed on the host)`,
    `${configLine(made, made.target)}`,
    ...jailLines(made),
    ...(made.channelBecause === undefined
      ? []
      : [
          `with transport = "channel" in it: ${escapeText(made.channelBecause)} (if the host can reach it nevertheless, write "direct" there)`,
        ]),
    '',
  ].join('\n');
  const backup = `${backupCommand(made.config, namedConfig)}\n`;
  // A key that was made just now is not enrolled anywhere.
  return key.isNew ? `${keyLine}${told}${enroll}then: ${backup}` : `${told}next: ${backup}`;
}

/** The same for a store on this machine. */
function initLocalText(result: LocalInitResult, namedConfig: string | undefined): string {
  const { name, config, target, isEnrolled } = result;
  const told = [configLine(result, target), ...jailLines(result), ''].join('\n');
  const backup = `${backupCommand(config, namedConfig)}\n`;
  if (isEnrolled) return `${told}next: ${backup}`;
  const enroll = `dialback enroll ${name} --local --store ${quoteForShell(target)}`;
  return `${told}${nextCommandText('as this account, with the disk in its place', enroll)}then: ${backup}`;
}

function backupCommand(config: string, namedConfig: string | undefined): string {
  return `dialback backup${namedConfig === undefined ? '' : ` --config ${quoteForShell(config)}`}`;
}

type Made = Pick<NonNullable<InitResult['setUp']>, 'config' | 'isNew' | 'roots' | 'isConfined' | 'jail'>;

function configLine(made: Made, target: string): string {
  const roots = made.roots.map(root => `"${escapeText(root)}"`).join(', ');
  const did = made.isNew ? 'wrote' : 'it is set up already, by';
  return `${did} "${made.config}": ${roots} to "${target}", ${readingText(made)}`;
}

function readingText({ isConfined, jail }: Made): string {
  if (isConfined) return "in the kernel's jail";
  return jail?.capability === 'inherited' ? 'without a jail' : 'as far as this account may read';
}

function jailLines({ config, jail }: Made): string[] {
  if (!jail) return [];
  if (jail.capability === 'inherited')
    return [`with capability = "inherited" in it: ${jail.found}; rsync has a file capability instead`];
  if (jail.capability === 'confined')
    return [`the jail does not work yet: ${jail.found}`, `to repair it: ${jail.next ?? 'dialback doctor'}`];
  return [
    `with capability = "none" in it: ${jail.found}`,
    `for the whole machine: boot a kernel with Landlock, or ${inheritStep()}; then rm ${quoteForShell(config)}, and run this init again`,
  ];
}
