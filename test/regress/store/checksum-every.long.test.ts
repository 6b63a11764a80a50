// Goal: as store/checksum-every, with all of its cases.
import './checksum-every.test.ts';
