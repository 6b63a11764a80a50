/**
 * Whether the file that runs is a soak. NAME.long.test.ts imports NAME.test.ts, whose tests are the same but for their
 * numbers, which they choose by this.
 */
export const IS_LONG = (process.argv[1] ?? '').endsWith('.long.test.ts');
