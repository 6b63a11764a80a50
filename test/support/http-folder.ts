/** A web server on this machine for the files of a folder, as a package source is. */
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

export class HttpFolder {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async serve(folder: string): Promise<HttpFolder> {
    const server = createServer((request, response) => {
      const path = join(folder, new URL(request.url ?? '/', 'http://localhost/').pathname);
      if (!existsSync(path) || !statSync(path).isFile()) {
        response.writeHead(404).end();
        return;
      }
      response.writeHead(200, { 'content-length': statSync(path).size });
      createReadStream(path).pipe(response);
    });
    await new Promise<void>(resolve => {
      server.listen(0, '127.0.0.1', resolve);
    });
    return new HttpFolder(server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise(resolve => this.#server.close(resolve));
  }
}
