// Goal: many clients call at the same moment a host that takes four runs at once: all are done, in about the order in which they
// came, never more than four are pulled from at once, the host's memory stays within bounds, every snapshot verifies.
// 20 clients, half of them over a channel; or as many as BURST= says.
import { burstSuite } from '../../support/burst.ts';

burstSuite(Number(process.env.BURST ?? 20));
