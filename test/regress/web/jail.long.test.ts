// Goal: as web/jail, with all attempts, and the table of docs/security.md.
import './jail.test.ts';
