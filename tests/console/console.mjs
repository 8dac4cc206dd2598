// The console in Chromium: a server with an empty database or the demo's data, people who are signed in, and what
// no page may do.

import assert from "node:assert/strict";

import { AXE, inBrowser, launch } from "../web/chromium.mjs";
import { startServer } from "../web/server.mjs";

/** Starts a browser and a server with these options. */
export async function start(...options) {
  const server = await startServer(...options);
  const browser = await launch();

  /** A key of this scope, made by the command. */
  const key = (scope, name = "test") =>
    server.command("keys", "create", "--scope", scope, "--workspace", "local", "--name", name);

  /** Calls the API with the server's own key. */
  const api = async (method, path, body) => {
    const response = await fetch(server.url + path, {
      method,
      headers: { "x-portkey-api-key": server.apiKey, "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    assert.equal(response.status, 200, await response.clone().text());
    return response.json();
  };

  /** Opens a page of the console, watched. */
  const open = async (context, path) => {
    const page = await watched(context, server.url);
    await page.goto(server.url + path);
    return page;
  };

  /** Signs in with a key, by the form, and opens a page. */
  const signedIn = async (context, path = "/console", apiKey = server.apiKey) => {
    const page = await watched(context, server.url);
    await page.goto(`${server.url}/console/sign-in?next=${encodeURIComponent(path)}`);
    await page.getByLabel("API key").fill(apiKey);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForURL(server.url + path);
    return page;
  };

  return {
    server,
    url: server.url,
    key,
    api,
    open,
    signedIn,
    /** A test with a browser profile of its own, which fails after so many milliseconds. */
    test: (options, test, most) => inBrowser(() => browser, options, test, most),
    close: async () => {
      await browser.close();
      await server.close();
    },
  };
}

/**
 * A page that keeps what it must never do in `page.problems`: a dialog, an error, a breach of its own policy, a
 * request to another origin.
 */
async function watched(context, own) {
  const page = await context.newPage();
  page.problems = [];
  page.requests = [];
  page.on("dialog", async (dialog) => {
    page.problems.push(`dialog: ${dialog.message()}`);
    await dialog.dismiss();
  });
  page.on("pageerror", (error) => page.problems.push(String(error)));
  page.on("console", (message) => {
    // What Chromium prints of an answer with an error status is no problem of the page.
    const failed = message.text().startsWith("Failed to load resource: the server responded with a status of 4");
    if (message.type() === "error" && !failed) page.problems.push(message.text());
  });
  page.on("request", (request) => {
    page.requests.push(request.url());
    const { origin, protocol } = new URL(request.url());
    if (protocol !== "data:" && origin !== own) page.problems.push(`a request to ${request.url()}`);
  });
  return page;
}

/** Checks a page with axe-core: nothing serious or critical, and that it looked at something. */
export async function accessible(page, name = page.url()) {
  await page.evaluate(AXE);
  const { violations, passes } = await page.evaluate(() => window.axe.run());
  const found = violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => [id, nodes.map(({ html, failureSummary }) => `${html}: ${failureSummary}`)]);
  assert.deepEqual(found, [], name);
  assert.ok(passes.some(({ id }) => id === "color-contrast"));
}
