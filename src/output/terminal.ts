/** Texts for the character set of a terminal or a mail. */

/** Replaces the only character of our own texts that is not ASCII where the reader does not read UTF-8 (cron's mail, say). */
export function plainText(text: string, isUtf8: boolean): string {
  return isUtf8 ? text : text.replaceAll('…', '...');
}
