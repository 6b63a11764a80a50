/**
 * Keeps node's compiled TypeScript between runs, which saves 0.3 s of CPU time for each test file. The processes of a test would
 * inherit NODE_COMPILE_CACHE, so this calls the function instead.
 */
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

enableCompileCache(join(import.meta.dirname, '../../node_modules/.cache/dialback-test'));
