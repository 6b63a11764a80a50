// Goal: as transport/channel, with all of its cases.
import './channel.test.ts';
