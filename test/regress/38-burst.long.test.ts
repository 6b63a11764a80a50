// Goal: as 38-burst, with 20 clients and with 50, half of them over a channel.
import { burstSuite } from '../support/burst.ts';

burstSuite(20);
burstSuite(50);
