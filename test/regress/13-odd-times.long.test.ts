// Goal: as 13-odd-times, with a request that is cut after every byte of its header.
import './13-odd-times.test.ts';
