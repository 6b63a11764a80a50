// Goal: as hostile/request, with all of its cases.
import './request.test.ts';
