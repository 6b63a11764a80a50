/** The hooks of a config: whether they can run, and whether other accounts can change them. */
import { type Hooks, type HostHooks, MOMENTS, requireProgram } from '../shared/hooks.ts';
import { escapeText } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

/**
 * Checks each hook as a run does.
 * @param side whose config has the hooks
 */
export function collectHooks(side: 'client' | 'host', hooks: Hooks | HostHooks): Finding[] {
  const topic = new Topic(
    `${side}.hooks`,
    'each backup fails if a hook cannot run, and an account that can change a hook can do everything that this account can',
  );
  return MOMENTS.flatMap(moment => {
    const found = (hooks as HostHooks)[moment];
    if (!found) return [];
    try {
      requireProgram(moment, found);
      return [topic.ok(`${moment}: other accounts cannot change "${escapeText(found.path)}"`)];
    } catch (error) {
      return [topic.fault(error, `put the program there, or change \`${moment}\` in [hooks]`)];
    }
  });
}
