// Goal: many clients call at the same moment a host that takes four runs at once: all are done, in about the order in which they
// came, never more than four are pulled from at once, the host's memory stays within bounds, every snapshot verifies.
// 12 clients, half of them over a channel; 38-burst.long has 20.
import { burstSuite } from '../support/burst.ts';

burstSuite(12);
