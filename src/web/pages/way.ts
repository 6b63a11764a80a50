/** The way to a page: the links from the client down to a path. */
import { addressOf, splitPath } from './address.ts';
import { nameOf } from './html.ts';
import type { Step } from './layout.ts';

/** The client. */
export function clientStep(client: string): Step {
  return { shown: client, address: addressOf('client', [client]) };
}

/** The steps of a path; the last one is the page itself. @param top the text for the top of the tree */
export function pathSteps(page: string, segments: readonly string[], top: string, path: Buffer): Step[] {
  const names = path.length === 0 ? [] : splitPath(path);
  const steps: Step[] = [{ shown: top, address: addressOf(page, segments) }];
  let end = 0;
  for (const name of names) {
    end += name.length + (end === 0 ? 0 : 1);
    steps.push({ shown: nameOf(name), address: addressOf(page, [...segments, path.subarray(0, end)]) });
  }
  return steps.map((step, at) => (at === steps.length - 1 ? { ...step, address: undefined } : step));
}
