// As manifest, with every change.
import './manifest.test.ts';
