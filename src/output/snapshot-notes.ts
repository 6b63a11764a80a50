/** Notes on the snapshot that a restore or an export reads. */
import type { SnapshotFacts } from '../store/restore-selection.ts';
import { showAge } from './units.ts';

/** @returns the notes; none for a full snapshot that is the newest or was named */
export function snapshotNotes({ state, age_ms, newer }: SnapshotFacts): string[] {
  return [
    ...(state === 'incomplete' ? ['the snapshot is incomplete'] : []),
    ...(newer.length > 0
      ? [`it is ${showAge(age_ms)} old; newer ones are incomplete or from the future: ${newer.join(', ')}`]
      : []),
  ];
}
