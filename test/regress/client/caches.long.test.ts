// Goal: as client/caches, a large file that changed in most of the last runs.
import './caches.test.ts';
