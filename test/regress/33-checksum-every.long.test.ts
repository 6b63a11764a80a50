// Goal: as 33-checksum-every, with all of its cases.
import './33-checksum-every.test.ts';
