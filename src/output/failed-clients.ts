/** The clients for which a command failed that goes through several of them. */

/**
 * @param verb the command; it takes the name of a client as its argument
 * @param clients all clients of the run; `failed` is the reason, or null
 * @returns '' where the command failed for no client
 */
export function failedClientsText(
  verb: string,
  clients: { client: string; failed: string | null; next?: string }[],
): string {
  const failed = clients.filter(each => each.failed !== null);
  if (failed.length === 0) return '';
  const lines = failed.map(each => `  ${each.client}: ${each.failed}\n`);
  // The same command for only one client prints that client's own next step.
  const next = failed[0]?.next ?? `dialback ${verb} ${failed[0]?.client}`;
  return `dialback: Cannot ${verb} ${failed.length} of ${clients.length} clients:\n${lines.join('')}next: ${next}\n`;
}
