/** Whether the hooks of a config can run, and whether other accounts can change them. */
import { type Hooks, MOMENTS, requireProgram } from '../shared/hooks.ts';
import { escapeText } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

/** What `doctor` says of each hook. @param side whose hooks these are */
export function collectHooks(side: 'client' | 'host', hooks: Hooks): Finding[] {
  const topic = new Topic(
    `${side}.hooks`,
    'a hook that cannot be run ends every backup, and who can change one can do what this account can',
  );
  return MOMENTS.flatMap(moment => {
    const found = hooks[moment];
    if (!found) return [];
    try {
      requireProgram(moment, found);
      return [topic.ok(`${moment}: "${escapeText(found.path)}" is safe from others`)];
    } catch (error) {
      return [topic.fault(error, `put the program there, or change \`${moment}\` in [hooks]`)];
    }
  });
}
