// As cron, with the real cron.
import './cron.test.ts';
