/** The file of `init --from`: the values of its options, and of the scope, for a program that sets clients up. */
import * as v from 'valibot';
import { readWhole } from '../os/content.ts';
import { CONFIG_LIMIT, parseConfig } from '../shared/toml.ts';

const text = v.pipe(v.string(), v.minLength(1, 'should not be empty'));
const texts = v.array(text);

const VALUES = v.strictObject({
  name: v.optional(text),
  target: v.optional(text),
  host_key: v.optional(text),
  transport: v.optional(
    v.picklist(['direct', 'channel', 'local'], 'should be "direct", "channel" or "local"'),
  ),
  roots: v.optional(v.pipe(texts, v.minLength(1, 'must name at least one root'))),
  exclude: v.optional(texts),
});

/** The values, all of them optional. Their users check them. */
export type InitValues = v.InferOutput<typeof VALUES>;

/** @throws Fault (exit 2) that names the file, and the key if one is wrong */
export function readInitValues(path: string): InitValues {
  const content = readWhole(path, CONFIG_LIMIT).toString('utf8');
  return parseConfig(content, path, VALUES, `use ${Object.keys(VALUES.entries).join(', ')}`);
}
