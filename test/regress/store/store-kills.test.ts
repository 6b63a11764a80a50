// Goal: whatever tends the store (prune, the deleting of trash, verify with its manifests, the index, what grab leaves to be
// done after the commit) may be killed with SIGKILL at any moment: no finished snapshot that the policy wants is lost or
// changed, nothing that it does not want comes back, and the next command carries on unaided.
// Here prune is killed once; store/store-kills.long has the others, and many kills of each.
import { storeKillsSuite } from '../../support/store-kills.ts';

storeKillsSuite('kills of what tends the store', {
  prune: 1,
  pruneWithoutIndex: 0,
  verify: 0,
  run: 0,
  snapshots: 7,
});
