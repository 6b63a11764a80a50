// Goal: as hostile/fetch-client, with all requests.
import './fetch-client.test.ts';
