// Goal: as 30-hostile-request, with all of its cases.
import './30-hostile-request.test.ts';
