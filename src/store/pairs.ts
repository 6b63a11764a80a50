/** Two sorted lists side by side. */

/** One place of two lists: at least one of them has something there. */
export interface Pair<One, Other> {
  one: One | undefined;
  other: Other | undefined;
}

/**
 * Pairs what is equal in two sorted lists.
 * @param order below 0 where `one` comes first, above 0 where `other` does, 0 where they belong together
 * @returns all of both lists, in their order; ends both when the caller ends it
 */
export async function* pairSorted<One, Other>(
  ones: AsyncIterable<One>,
  others: AsyncIterable<Other>,
  order: (one: One, other: Other) => number,
): AsyncGenerator<Pair<One, Other>> {
  const [left, right] = [ones[Symbol.asyncIterator](), others[Symbol.asyncIterator]()];
  try {
    let [one, other] = await Promise.all([left.next(), right.next()]);
    while (!one.done || !other.done) {
      const at = one.done ? 1 : other.done ? -1 : order(one.value, other.value);
      yield { one: at <= 0 ? one.value : undefined, other: at >= 0 ? other.value : undefined };
      if (at <= 0) one = await left.next();
      if (at >= 0) other = await right.next();
    }
  } finally {
    await Promise.all([left.return?.(), right.return?.()]);
  }
}
