// Who gets in to the console, and for how long.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { accessible, start } from "./console.mjs";

let hub;
before(async () => {
  hub = await start();
});
after(() => hub.close());
const inBrowser = (options, test) => () => hub.test(options, test)();

const key = (page) => page.getByLabel("API key");
const press = (page) => page.getByRole("button", { name: "Sign in" }).click();
const overview = (page) => page.getByRole("heading", { name: "Overview", level: 1 });
const form = (page) => page.getByRole("heading", { name: "Sign in", level: 1 });
const signOut = async (page) => {
  await page.getByRole("banner").getByText("local", { exact: true }).first().click();
  await page.getByRole("button", { name: "Sign out" }).click();
};

/** A request with the cookies of a browser's profile, as a program makes it. */
const send = async (context, path, options = {}) => {
  const cookie = (await context.cookies()).map(({ name, value }) => `${name}=${value}`).join("; ");
  return fetch(hub.url + path, { redirect: "manual", ...options, headers: { cookie, ...options.headers } });
};

describe("a key", () => {
  for (const scope of ["read", "admin"]) {
    it(`of scope ${scope} signs in and out`, inBrowser({}, async (context) => {
      const { key: text } = await hub.key(scope);
      const page = await hub.open(context, "/console");
      await form(page).waitFor();
      await key(page).fill(`  ${text} `);
      await press(page);
      await overview(page).waitFor();
      assert.equal(new URL(page.url()).pathname, "/console");
      await signOut(page);
      await page.getByRole("status").filter({ hasText: "You are signed out." }).waitFor();
      await page.goto(`${hub.url}/console`);
      await form(page).waitFor();
      assert.deepEqual(page.problems, []);
    }));
  }

  it("leads to the page that was asked for", inBrowser({}, async (context) => {
    const page = await hub.open(context, "/console/prompts?range=24h&user=a+b");
    await key(page).fill(hub.server.apiKey);
    await press(page);
    await page.getByRole("heading", { name: "Prompts", level: 1 }).waitFor();
    assert.equal(page.url(), `${hub.url}/console/prompts?range=24h&user=a+b`);
  }));

  for (const [what, made, says] of [
    ["that is none", async () => "not-a-key", /not valid/],
    ["of nobody", async () => `${hub.server.apiKey.slice(0, -4)}AAAA`, /not valid/],
    ["of scope write", async () => (await hub.key("write")).key, /scope write.*read or admin/],
    ["that is revoked", async () => {
      const { id, key: text } = await hub.key("read");
      await hub.server.command("keys", "revoke", id);
      return text;
    }, /not valid.*revoked/],
  ]) {
    it(`${what} does not`, inBrowser({}, async (context) => {
      const text = await made();
      const page = await hub.open(context, "/console/sign-in");
      await key(page).fill(text);
      await press(page);
      const alert = page.getByRole("alert");
      await alert.waitFor();
      assert.match(await alert.textContent(), says);
      assert.equal(await key(page).inputValue(), "");
      assert.deepEqual(await context.cookies(), []);
      assert.equal((await page.content()).includes(text), false);
      await page.goto(`${hub.url}/console`);
      await form(page).waitFor();
      assert.deepEqual(page.problems, []);
    }));
  }

  it("is neither in the page nor in the URL nor in the cookie", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context);
    assert.equal((await page.content()).includes(hub.server.apiKey), false);
    assert.ok(page.requests.every((url) => !url.includes(hub.server.apiKey)));
    const [cookie, ...others] = await context.cookies();
    assert.deepEqual(others, []);
    assert.equal(cookie.value.includes(hub.server.apiKey), false);
    assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path, cookie.expires], [true, "Strict", "/", -1]);
    assert.equal(await page.evaluate(() => document.cookie), "");
  }));
});

describe("a session", () => {
  it("has a new id with each sign-in, and the old one is over", inBrowser({}, async (context) => {
    await hub.signedIn(context);
    const first = await context.cookies();
    const body = new URLSearchParams({ key: hub.server.apiKey, next: "/console" });
    const headers = { origin: hub.url, "content-type": "application/x-www-form-urlencoded" };
    const again = await send(context, "/console/sign-in", { method: "POST", body, headers });
    assert.equal(again.status, 303);
    assert.notEqual(/=([^;]+)/.exec(again.headers.get("set-cookie"))[1], first[0].value);
    assert.notEqual((await send(context, "/console")).status, 200);
  }));

  it("that was signed out is over, also for a copy of its cookie", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context);
    const copy = await context.cookies();
    await signOut(page);
    await form(page).waitFor();
    await context.addCookies(copy);
    await page.goto(`${hub.url}/console`);
    await form(page).waitFor();
  }));

  it("takes forms of its own pages alone", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context);
    const token = await page.locator('input[name="form_token"]').first().inputValue();
    const type = { "content-type": "application/x-www-form-urlencoded" };
    const out = (headers, fields) =>
      send(context, "/console/sign-out", { method: "POST", headers: { ...type, ...headers }, body: new URLSearchParams(fields) });
    for (const [headers, fields] of [
      [{}, { form_token: token }],
      [{ origin: "https://evil.example" }, { form_token: token }],
      [{ origin: "null" }, { form_token: token }],
      [{ origin: hub.url }, {}],
      [{ origin: hub.url }, { form_token: `${token.slice(0, -1)}0` === token ? `${token.slice(0, -1)}1` : `${token.slice(0, -1)}0` }],
    ]) {
      assert.equal((await out(headers, fields)).status, 403, JSON.stringify([headers, fields]));
    }
    await page.reload();
    await overview(page).waitFor();
    assert.equal((await out({ origin: hub.url }, { form_token: token })).status, 303);
    await page.reload();
    await form(page).waitFor();
  }));

  it("does not open to a page elsewhere that posts a key", async () => {
    const body = new URLSearchParams({ key: hub.server.apiKey });
    for (const origin of [undefined, "https://evil.example", "null"]) {
      const answer = await fetch(`${hub.url}/console/sign-in`, {
        method: "POST",
        redirect: "manual",
        body,
        headers: origin ? { origin } : {},
      });
      assert.equal(answer.status, 403);
      assert.equal(answer.headers.get("set-cookie"), null);
    }
  });

  it("is kept when somebody comes by a link from elsewhere", inBrowser({}, async (context) => {
    await hub.signedIn(context);
    const page = await context.newPage();
    await page.setContent(`<a href="${hub.url}/console/prompts?range=30d">Look</a>`);
    await page.getByRole("link").click();
    await page.getByRole("heading", { name: "Prompts", level: 1 }).waitFor();
    assert.equal(page.url(), `${hub.url}/console/prompts?range=30d`);
  }));
});

describe("an invite", () => {
  const invite = async (...options) => {
    const text = await hub.server.print("console", "invite", "--url", hub.url, ...options);
    return text.split("\n")[0];
  };
  const made = (name, scope) => invite("--workspace", "local", "--name", name, "--scope", scope);

  it("signs a person in, once, with what they may do", inBrowser({}, async (context) => {
    for (const [name, scope] of [["support", "read"], ["Zoë & <b>Co</b>", "admin"]]) {
      const link = await made(name, scope);
      assert.ok(link.startsWith(`${hub.url}/console/invite/`), link);
      for (const method of ["GET", "HEAD", "GET"]) await fetch(link, { method });
      const page = await hub.open(context, new URL(link).pathname);
      await page.getByText(name, { exact: true }).waitFor();
      await press(page);
      await overview(page).waitFor();
      await page.locator(".account summary").click();
      assert.deepEqual(await page.locator(".menu dd").allInnerTexts(), ["local", name, scope]);
      assert.equal((await fetch(link)).status, 404);
      assert.deepEqual(page.problems, []);
      await context.clearCookies();
      await page.close();
    }
  }));

  it("works without JavaScript", inBrowser({ javaScriptEnabled: false }, async (context) => {
    const page = await hub.open(context, new URL(await made("plain", "read")).pathname);
    await press(page);
    await overview(page).waitFor();
  }));

  it("is accepted by one of two who press at once", async () => {
    const link = await made("race", "read");
    const post = () => fetch(link, { method: "POST", headers: { origin: hub.url }, redirect: "manual" });
    const answers = await Promise.all(Array.from({ length: 8 }, post));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [303, ...Array(7).fill(404)]);
    assert.equal(answers.filter(({ headers }) => headers.get("set-cookie")).length, 1);
  });

  it("is accepted by a form of its own page alone", async () => {
    const link = await made("elsewhere", "read");
    for (const headers of [{}, { origin: "https://evil.example" }, { origin: "null" }]) {
      assert.equal((await fetch(link, { method: "POST", headers, redirect: "manual" })).status, 403);
    }
    assert.equal((await fetch(link)).status, 200);
  });

  it("of a key that is revoked lets nobody in", inBrowser({}, async (context) => {
    const { id } = await hub.key("read", "leaver");
    const link = await invite("--key", id);
    await hub.server.command("keys", "revoke", id);
    const page = await hub.open(context, new URL(link).pathname);
    await page.getByText("revoked or expired").waitFor();
    assert.equal(await page.getByRole("button").count(), 0);
  }));
});

describe("the link that the server prints", () => {
  it("shows a page with a button, however often it is looked at, and signs in once", inBrowser({}, async (context) => {
    const link = /^Console +(\S+)$/m.exec(hub.server.log())[1];
    for (const method of ["GET", "HEAD", "GET"]) {
      const looked = await fetch(link, { method });
      if (method === "GET") assert.equal(looked.status, 200);
      assert.equal(looked.headers.get("set-cookie"), null);
    }
    const page = await hub.open(context, new URL(link).pathname);
    await page.getByRole("heading", { name: "You are invited" }).waitFor();
    await accessible(page);
    await press(page);
    await overview(page).waitFor();
    const other = await hub.open(context, new URL(link).pathname);
    await other.getByText("It works once").waitFor();
    assert.equal(await other.getByRole("button").count(), 0);
    const headers = { origin: hub.url };
    const twice = await fetch(link, { method: "POST", headers, redirect: "manual" });
    assert.equal(twice.status, 404);
    assert.equal(twice.headers.get("set-cookie"), null);
    await accessible(other);
    assert.deepEqual([...page.problems, ...other.problems], []);
  }));

  it("is none that somebody could guess", inBrowser({}, async (context) => {
    for (const token of ["x", "A".repeat(43), "%3Cscript%3Ealert(1)%3C%2Fscript%3E"]) {
      const page = await hub.open(context, `/console/invite/${token}`);
      await page.getByText("There is no such link").waitFor();
      assert.deepEqual(page.problems, []);
    }
  }));
});
