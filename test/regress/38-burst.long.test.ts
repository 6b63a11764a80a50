// Goal: as 38-burst, with 20 clients, half of them over a channel; or as many as BURST= says.
import { burstSuite } from '../support/burst.ts';

burstSuite(Number(process.env.BURST ?? 20));
