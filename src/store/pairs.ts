/** Walks two sorted lists side by side. */

/** One position in two lists; at least one of them has an element there. */
export interface Pair<One, Other> {
  one: One | undefined;
  other: Other | undefined;
}

/**
 * Pairs the equal elements of two sorted lists.
 * @param order negative if `one` comes first, positive if `other` does, 0 if they belong together
 * @returns all elements of both lists in order. Ends both lists when the caller stops.
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
