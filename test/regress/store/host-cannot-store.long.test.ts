// Goal: as store/host-cannot-store, with all of its tests.
import './host-cannot-store.test.ts';
