/** The commands that a person runs on a store: the executable loads them together (table.ts). */
export { cat } from './cat.ts';
export { copyStore } from './copy-store.ts';
export { diff } from './diff.ts';
export { drill } from './drill.ts';
export { explain } from './explain.ts';
export { exportArchive } from './export.ts';
export { find } from './find.ts';
export { list } from './list.ts';
export { ls } from './ls.ts';
export { offer } from './offer.ts';
export { pin } from './pin.ts';
export { prune } from './prune.ts';
export { remove } from './remove.ts';
export { removeClient } from './remove-client.ts';
export { status } from './status.ts';
export { unpin } from './unpin.ts';
export { verify } from './verify.ts';
