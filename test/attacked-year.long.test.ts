// As attacked-year, and a year with a request every minute: half a million of them for each of two attacks.
import { describe } from 'node:test';
import './attacked-year.test.ts';
import { ATTACKS, attackedYear } from './support/attacked-year.ts';

describe('a client that requests every minute for a year', () => {
  attackedYear(ATTACKS.slice(0, 2), 60_000);
});
