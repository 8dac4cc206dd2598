// What stands between a page and the service in the tests: it forwards every request, keeps a list of those for
// votes, and answers some of them itself where a test asks for a fault. So a fault is the same whichever service
// is behind it. A second server, of another origin, has the pages.

import http from "node:http";

const listen = (server) =>
  new Promise((done) => server.listen(0, "127.0.0.1", () => done(`http://127.0.0.1:${server.address().port}`)));

export async function gate(upstream) {
  const requests = [];
  const waiters = [];
  let faults = [];

  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const { method, url } = request;
    const isVote = method !== "OPTIONS" && !url.startsWith("/v1/vote.js");
    const cors = {
      "access-control-allow-origin": request.headers.origin ?? "*",
      "access-control-expose-headers": "etag, retry-after",
    };
    const entry = { method, url, body: body.length ? JSON.parse(body) : undefined, token: request.headers.authorization };
    const fault = isVote ? faults.find(({ on }) => on(entry)) : undefined;
    if (isVote) {
      requests.push(entry);
      for (const waiter of waiters.splice(0)) waiter();
    }
    if (fault) {
      fault.times -= 1;
      faults = faults.filter(({ times }) => times > 0);
      if (fault.status) {
        response.writeHead(fault.status, { ...cors, "content-type": "application/json", ...fault.headers });
        response.end(JSON.stringify(fault.body ?? { error: { code: "fault", message: "a fault of the test" } }));
        return;
      }
      await fault.before;
    }
    const headers = { ...request.headers, host: new URL(upstream).host };
    const forwarded = http.request(upstream + url, { method, headers }, async (answer) => {
      const parts = [];
      for await (const part of answer) parts.push(part);
      await fault?.after;
      const whole = Buffer.concat(parts);
      const { "transfer-encoding": _, ...rest } = answer.headers;
      response.writeHead(answer.statusCode, { ...rest, "content-length": whole.length });
      if (fault?.cut) response.write(whole.subarray(1), () => request.socket.destroy());
      else response.end(whole);
    });
    forwarded.on("error", () => response.destroy());
    forwarded.end(body);
  });

  const documents = new Map();
  const pages = http.createServer((request, response) => {
    const page = documents.get(request.url);
    if (!page) {
      response.writeHead(request.url === "/favicon.ico" ? 204 : 404).end();
      return;
    }
    response.writeHead(200, { "content-type": "text/html; charset=utf-8", ...page.headers });
    response.end(page.html);
  });

  const url = await listen(server);
  const origin = await listen(pages);
  return {
    url,
    /** The requests for votes, as they came. */
    requests,
    /**
     * Meddles with the next `times` requests that `on` selects: answers `status`, `headers` and `body`, or cuts the
     * service's answer off, or waits for the promise `before` the service gets it or `after` it has answered.
     */
    fault: ({ on = () => true, times = 1, ...rest }) => faults.push({ on, times, ...rest }),
    /** Waits until there are as many requests. */
    reached: async (count) => {
      while (requests.length < count) await new Promise((done) => waiters.push(done));
    },
    /** Publishes a page and returns its URL. */
    page: (name, html, headers = {}) => {
      documents.set(`/${name}`, { html, headers });
      return `${origin}/${name}`;
    },
    close: () => {
      for (const one of [server, pages]) {
        one.closeAllConnections();
        one.close();
      }
    },
  };
}
