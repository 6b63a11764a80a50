// Goal: as store/cache-dir, caches that are lost, and folders that cannot hold them.
import './cache-dir.test.ts';
