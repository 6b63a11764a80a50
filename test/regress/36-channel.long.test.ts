// Goal: as 36-channel, with all of its cases.
import './36-channel.test.ts';
