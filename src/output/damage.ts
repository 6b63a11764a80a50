/** How a stored file differs from its manifest, in words. */
import type { Damage } from '../store/verify-pass.ts';

export const DAMAGES: Record<Damage['differences'][number], string> = {
  content: 'other content',
  attributes: 'other attributes',
  size: 'another size',
  time: 'another time',
  type: 'of another type',
  missing: 'missing',
  extra: 'absent from the manifest',
  unreadable: 'cannot be read',
};
