// Goal: as store/store-kills, at three times as many points and more. KILLS=100 (the default is 30) is how many in all.
import { storeKillsSuite } from '../../support/store-kills.ts';

const share = (percent: number): number => Math.ceil((Number(process.env.KILLS ?? 30) * percent) / 100);

storeKillsSuite('kills of what tends the store, at many points', {
  prune: share(40),
  pruneWithoutIndex: share(15),
  verify: share(30),
  run: share(15),
  snapshots: 8,
});
