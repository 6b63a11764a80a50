/** The next step where it is a command for another account or machine. */

/** @param where the account or machine. The command has a line to itself, so that it can be copied whole */
export function nextCommandText(where: string, command: string): string {
  return `next: ${where}:\n  ${command}\n`;
}
