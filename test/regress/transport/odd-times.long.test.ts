// Goal: as transport/odd-times, with a request that is cut after every byte of its header.
import './odd-times.test.ts';
