/** host.toml: where the store is, and what requests may cost. */
import * as v from 'valibot';
import { durationKey, pathKey, readConfig } from '../config.ts';
import { NAME } from '../wire/text.ts';

const CONFIG = v.strictObject({
  store: pathKey,
  metadata: v.optional(v.picklist(['fake-super'], 'should be "fake-super"'), 'fake-super'),
  account_client: v.optional(v.pipe(v.string(), v.regex(NAME, 'should be the name of a client'))),
  syslog: v.optional(v.boolean(), true),
  confined: v.optional(v.boolean()),
  requests: v.optional(v.strictObject({ deadline: v.optional(durationKey(1000), '24h') }), {}),
});

export type HostConfig = v.InferOutput<typeof CONFIG>;

/** The schema, for tests of the sample files. */
export const HOST_SCHEMA = CONFIG;

/** Reads host.toml. @throws Fault (exit 2) that names the key */
export function readHostConfig(path: string): HostConfig {
  return readConfig(path, CONFIG);
}
