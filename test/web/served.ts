// `dialback web` as an account of its own runs it, for a browser: the built executable, in its jail.
import { appendFileSync } from 'node:fs';
import { type Running, WebSite } from '../support/web-site.ts';
import { plantClients } from '../support/web-store.ts';

/** A server whose store has hostile names. */
export class Served {
  readonly origin: string;
  /** The snapshots of the client `oak`, oldest first. */
  readonly snapshots: readonly string[];
  readonly site: WebSite;
  readonly running: Running;

  private constructor(site: WebSite, running: Running, snapshots: readonly string[]) {
    this.site = site;
    this.running = running;
    this.snapshots = snapshots;
    this.origin = `http://127.0.0.1:${running.place}`;
  }

  static async start(): Promise<Served> {
    let snapshots: readonly string[] = [];
    const site = WebSite.make(makeClient => {
      snapshots = plantClients(makeClient, new Date());
    });
    try {
      appendFileSync(site.config, 'max_age = "36h"\n');
      return new Served(site, await site.start(), snapshots);
    } catch (error) {
      site.dispose();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.running.stop();
    this.site.dispose();
  }
}
