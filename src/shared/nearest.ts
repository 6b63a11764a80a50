/** Finds the word that a misspelled one was probably meant to be. Pure. */

/** A word of this number of letters, or of more, may have one more mistake than a shorter one. */
const LETTERS_PER_MISTAKE = 4;
const MOST_MISTAKES = 3;
/** No known word is longer; the time grows with the square of the length. */
const LONGEST = 64;

/**
 * Finds the nearest word by the number of letters that are missing, extra, wrong, or swapped with their neighbor (the optimal
 * string alignment distance).
 * @returns undefined if no word is near, and if the word is one of them
 */
function nearest(word: string, known: readonly string[]): string | undefined {
  if (word.length > LONGEST) return undefined;
  const most = Math.min(MOST_MISTAKES, Math.max(1, Math.floor(word.length / LETTERS_PER_MISTAKE)));
  let best: string | undefined;
  let least = most + 1;
  for (const each of known) {
    const mistakes = distance(word.toLowerCase(), each.toLowerCase());
    if (mistakes >= least || each === word) continue;
    [best, least] = [each, mistakes];
  }
  return best;
}

/** The text to put behind "unknown …": ` (did you mean "…"?)`, or nothing. */
export function suggestion(word: string, known: readonly string[]): string {
  const found = nearest(word, known);
  return found === undefined ? '' : ` (did you mean "${found}"?)`;
}

function distance(a: string, b: string): number {
  let before: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const isSame = a[i - 1] === b[j - 1];
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row[j] = Math.min(
        (above[j] ?? 0) + 1,
        (row[j - 1] ?? 0) + 1,
        (above[j - 1] ?? 0) + (isSame ? 0 : 1),
        isSwapped ? (before[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    [before, above] = [above, row];
  }
  return above[b.length] ?? 0;
}
