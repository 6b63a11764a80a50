/** The commands that a document shows, for tests that follow it. */

/** A line such as `root@rescue:~# mount /dev/sda2 /mnt` in a block of the language `console`. */
export interface DocumentCommand {
  user: string;
  /** The machine. */
  at: string;
  command: string;
}

/**
 * Finds the commands in a part of a document.
 * @param heading of the part, which ends at the next heading of the same or a higher level
 * @throws Error where the document has no such heading, or no command there
 */
export function commandsOf(text: string, heading: string): DocumentCommand[] {
  const lines = text.split('\n');
  const first = lines.findIndex(line => /^#+ /.test(line) && line.replace(/^#+ /, '') === heading);
  if (first < 0) throw new Error(`Cannot find the heading "${heading}"`);
  const level = lines[first]?.indexOf(' ') ?? 0;
  const commands: DocumentCommand[] = [];
  let isConsole = false;
  for (const line of lines.slice(first + 1)) {
    if (line.startsWith('```')) isConsole = line === '```console';
    else if (isConsole) {
      const [, user, at, command] = /^([a-z]+)@([a-z]+):\S*[#$] (.+)$/.exec(line) ?? [];
      if (user !== undefined && at !== undefined && command !== undefined)
        commands.push({ user, at, command });
    } else if (/^#+ /.test(line) && line.indexOf(' ') <= level) break;
  }
  if (commands.length === 0) throw new Error(`Cannot find a command below "${heading}"`);
  return commands;
}
