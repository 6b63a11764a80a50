// Goal: as config/store-in-scope, with excludes, and a root that is a part of a store.
import './store-in-scope.test.ts';
