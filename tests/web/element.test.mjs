// <hindsight-vote> in Chromium, on a page of another origin than the service.
//
//     npm ci --prefix tests/web --ignore-scripts && npm test --prefix tests/web
//
// service.mjs says which service it runs against; CHROMIUM names another browser than /usr/bin/chromium.

import assert from "node:assert/strict";
import { createHash, generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, beforeEach, describe, it } from "node:test";

import { start } from "./browser.mjs";
import { AXE, inBrowser as profile } from "./chromium.mjs";
import { sign } from "./service.mjs";

const SCRIPT = readFileSync(new URL("../../web/hindsight-vote.min.js", import.meta.url));
const VERSION = /^version = "(.+)"$/m.exec(readFileSync(new URL("../../Cargo.toml", import.meta.url), "utf8"))[1];

let hub;
before(async () => {
  hub = await start();
});
after(() => hub.close());
beforeEach(() => hub.reset());

const inBrowser = (options, test) => profile(() => hub.browser, options, test);

const isVote = ({ method }) => method !== "POST";
const votes = () => hub.way.requests.filter(isVote);
const reads = () => hub.way.requests.filter((request) => !isVote(request));
const up = (page) => page.getByRole("button", { name: "Good answer" });
const down = (page) => page.getByRole("button", { name: "Bad answer" });
const star = (page, n) => page.getByRole("button", { name: `${n} of 5 stars` });
const chip = (page, name) => page.getByRole("button", { name, exact: true });
const more = (page) => page.getByRole("button", { name: "Add details" });
const box = (page) => page.getByRole("textbox", { name: "Comment" });
const send = (page) => page.getByRole("button", { name: "Send" });
const says = (page, text) => page.getByRole("status").filter({ hasText: text }).waitFor();
const pressed = async (button, expected = true) => {
  await button.and(button.page().locator(`[aria-pressed="${expected}"]`)).waitFor({ state: "attached" });
};

/** Opens a page with one element, and waits until it knows of its vote. */
async function one(context, claims = {}, attributes = {}, options = {}) {
  const trace = claims.trace ?? hub.newTrace();
  const token = hub.token({ ...claims, trace });
  const url = hub.publish(hub.element({ token, ...attributes }), options);
  const page = await hub.open(context, url);
  await page.locator("hindsight-vote").first().getByRole("button").first().waitFor();
  return { page, trace, token, url, vote: () => hub.stored({ ...claims, trace }) };
}

/** The same with a clock that is the test's: `later` lets milliseconds pass. */
async function clocked(context) {
  await context.clock.install();
  const opened = await one(context);
  await hub.way.reached(1);
  return { ...opened, later: (ms) => context.clock.fastForward(ms) };
}

/** Takes its time limit from every request of a page, since a clock that is put forward would end those under way. */
const unlimited = (page) =>
  page.evaluate(() => {
    AbortSignal.timeout = () => new AbortController().signal;
  });

describe("a vote", () => {
  it("is cast by a press, shown, and told to the page", inBrowser({}, async (context) => {
    const { page, trace, vote } = await one(context);
    await pressed(up(page), false);
    await up(page).click();
    await says(page, "Thank you");
    await pressed(up(page));
    await pressed(down(page), false);
    const stored = await vote();
    assert.equal(stored.value, 1);
    assert.deepEqual(page.events, [["vote", stored]]);
    assert.equal(stored.trace, trace);
    assert.deepEqual(page.problems, []);
  }));

  it("is changed by the other button, and stays one", inBrowser({}, async (context) => {
    const { page, vote } = await one(context);
    await up(page).click();
    await says(page, "Thank you");
    const first = await vote();
    await down(page).click();
    await pressed(up(page), false);
    await says(page, "Thank you");
    const second = await vote();
    assert.equal(second.value, -1);
    assert.equal(second.id, first.id);
    assert.equal(second.version, first.version + 1);
  }));

  it("is retracted by pressing again", inBrowser({}, async (context) => {
    const { page, vote } = await one(context);
    await down(page).click();
    await says(page, "Thank you");
    await down(page).click();
    await says(page, "Vote removed");
    await pressed(down(page), false);
    assert.equal(await vote(), null);
    assert.deepEqual(page.events.map(([type]) => type), ["vote", "retract"]);
    await up(page).click();
    await says(page, "Thank you");
    assert.equal((await vote()).value, 1);
  }));

  it("that is already gone counts as retracted", inBrowser({}, async (context) => {
    const { page, token } = await one(context);
    await up(page).click();
    await says(page, "Thank you");
    const headers = { authorization: `Bearer ${token}` };
    assert.equal((await fetch(`${hub.service.url}/v1/vote`, { method: "DELETE", headers })).status, 200);
    await up(page).click();
    await says(page, "Vote removed");
    assert.deepEqual(page.events.map(([type]) => type), ["vote", "retract"]);
  }));

  it("is shown after a reload, and its details on demand", inBrowser({}, async (context) => {
    const claims = { comment: true, reasons: ["wrong", "too long"] };
    const { page } = await one(context, claims, { comment: true, reasons: "wrong, too long" });
    await down(page).click();
    await chip(page, "wrong").click();
    await box(page).fill("It is 2027.");
    await send(page).click();
    await says(page, "Thank you");
    await page.reload();
    await pressed(down(page));
    await pressed(up(page), false);
    assert.equal(await box(page).isVisible(), false);
    await more(page).click();
    assert.equal(await box(page).inputValue(), "It is 2027.");
    await pressed(chip(page, "wrong"));
    await pressed(chip(page, "too long"), false);
  }));

  it("of a second person on the same trace is another one", inBrowser({}, async (context) => {
    const { page, trace } = await one(context, { sub: "ada" });
    await up(page).click();
    await says(page, "Thank you");
    const { page: second } = await one(context, { sub: "grace", trace });
    await hub.way.reached(3);
    await pressed(up(second), false);
    await down(second).click();
    await says(second, "Thank you");
    assert.equal((await hub.stored({ sub: "ada", trace })).value, 1);
    assert.equal((await hub.stored({ sub: "grace", trace })).value, -1);
  }));

  it("of another tab is shown when this one comes to the front", inBrowser({}, async (context) => {
    const { page: first, url, vote } = await one(context);
    const second = await hub.open(context, url);
    const front = (page) => page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    await up(first).click();
    await says(first, "Thank you");
    await pressed(up(second), false);
    await front(second);
    await pressed(up(second));
    await down(second).click();
    await says(second, "Thank you");
    await front(first);
    await pressed(down(first));
    await pressed(up(first), false);
    assert.equal((await vote()).value, -1);
  }));

  it("goes to the span that the token or the element names", inBrowser({}, async (context) => {
    const prefix = `${hub.newTrace()}:`;
    const token = hub.token({ trace: undefined, trace_prefix: prefix });
    const url = hub.publish(hub.element({ token, trace: `${prefix}1`, span: "s 1&2" }));
    const page = await hub.open(context, url);
    await up(page).click();
    await says(page, "Thank you");
    assert.equal((await hub.stored({ trace: `${prefix}1`, span: "s 1&2" })).value, 1);
    assert.equal(await hub.stored({ trace: `${prefix}1` }), null);
    await up(page).click();
    await says(page, "Vote removed");
    assert.equal(await hub.stored({ trace: `${prefix}1`, span: "s 1&2" }), null);
  }));
});

describe("a conversation", () => {
  it("is read by one request", inBrowser({}, async (context) => {
    const prefix = `${hub.newTrace()}:`;
    await fetch(`${hub.service.url}/v1/vote`, {
      method: "PUT",
      headers: { authorization: `Bearer ${hub.token({ trace: `${prefix}2` })}`, "content-type": "application/json" },
      body: JSON.stringify({ value: -1 }),
    });
    const token = hub.token({ trace: undefined, trace_prefix: prefix });
    const elements = [1, 2, 3].map((n) => hub.element({ token, trace: `${prefix}${n}`, id: `m${n}` }));
    const page = await hub.open(context, hub.publish(elements.join("")));
    await pressed(down(page.locator("#m2")));
    await pressed(down(page.locator("#m1")), false);
    await pressed(down(page.locator("#m3")), false);
    assert.deepEqual(
      hub.way.requests.map(({ method, url, body }) => [method, url, body]),
      [["POST", "/v1/votes/read", { targets: [1, 2, 3].map((n) => ({ trace: `${prefix}${n}` })) }]],
    );
  }));

  it("of more than 100 is read 100 at a time", inBrowser({}, async (context) => {
    const prefix = `${hub.newTrace()}:`;
    const token = hub.token({ trace: undefined, trace_prefix: prefix });
    const elements = Array.from({ length: 205 }, (_, n) => hub.element({ token, trace: `${prefix}${n}` }));
    await hub.open(context, hub.publish(elements.join("")));
    await hub.way.reached(3);
    assert.deepEqual(hub.way.requests.map(({ body }) => body.targets.length).sort(), [100, 100, 5]);
    const asked = hub.way.requests.flatMap(({ body }) => body.targets.map(({ trace }) => trace));
    assert.equal(new Set(asked).size, 205);
  }));

  it("with a token for each message reads each with its own", inBrowser({}, async (context) => {
    const tokens = [hub.token(), hub.token()];
    const elements = tokens.map((token) => hub.element({ token }));
    await hub.open(context, hub.publish(elements.join("")));
    await hub.way.reached(2);
    assert.deepEqual(reads().map(({ token }) => token).sort(), tokens.map((token) => `Bearer ${token}`).sort());
  }));

  it("whose read is refused says so to the page alone, and can be voted on", inBrowser({}, async (context) => {
    hub.way.fault({ status: 403 });
    const { page } = await one(context);
    await page.waitForFunction(() => document.querySelector("hindsight-vote"));
    await hub.way.reached(1);
    await up(page).click();
    await says(page, "Thank you");
    assert.deepEqual(page.events.map(([type, detail]) => [type, detail.action]), [["error", "read"], ["vote", undefined]]);
    assert.equal(reads().length, 1);
  }));
});

describe("reasons and a comment", () => {
  const claims = { comment: true, reasons: ["wrong", "too long", "clear"] };
  const attributes = { comment: true, reasons: "wrong,too long", "reasons-up": "clear" };

  it("are asked for after a vote, those that fit it", inBrowser({}, async (context) => {
    const { page } = await one(context, claims, attributes);
    assert.equal(await box(page).isVisible(), false);
    assert.equal(await more(page).isVisible(), false);
    await down(page).click();
    await box(page).waitFor();
    assert.deepEqual(await page.locator(".chip:visible").allTextContents(), ["wrong", "too long"]);
    await up(page).click();
    assert.deepEqual(await page.locator(".chip:visible").allTextContents(), ["clear"]);
    // Reasons that do not fit leave no gap.
    await page.evaluate(() => document.querySelector("hindsight-vote").setAttribute("reasons-up", ""));
    assert.equal(await page.locator(".chips").isVisible(), false);
    await box(page).waitFor();
    await up(page).click();
    await box(page).waitFor({ state: "hidden" });
  }));

  it("are saved with the vote, and a reason goes when it is pressed again", inBrowser({}, async (context) => {
    const { page, vote } = await one(context, claims, attributes);
    await down(page).click();
    await chip(page, "wrong").click();
    await chip(page, "too long").click();
    await says(page, "Thank you");
    assert.deepEqual((await vote()).reasons, ["wrong", "too long"]);
    await chip(page, "wrong").click();
    await box(page).fill("  Seven pages.  ");
    await send(page).click();
    await says(page, "Thank you");
    const stored = await vote();
    assert.deepEqual(stored.reasons, ["too long"]);
    assert.equal(stored.comment, "Seven pages.");
    assert.equal(stored.value, -1);
  }));

  it("go with a vote that is flipped", inBrowser({}, async (context) => {
    const { page, vote } = await one(context, claims, attributes);
    await down(page).click();
    await chip(page, "wrong").click();
    await box(page).fill("No.");
    await send(page).click();
    await says(page, "Thank you");
    await up(page).click();
    await says(page, "Thank you");
    const stored = await vote();
    assert.equal(stored.value, 1);
    assert.equal(stored.comment, undefined);
    assert.equal(stored.reasons, undefined);
    assert.equal(await box(page).inputValue(), "");
  }));

  it("can be emptied", inBrowser({}, async (context) => {
    const { page, vote } = await one(context, claims, attributes);
    await up(page).click();
    assert.equal(await send(page).isDisabled(), true);
    await box(page).fill("Good.");
    await send(page).click();
    await says(page, "Thank you");
    await more(page).click();
    await box(page).fill("");
    await send(page).click();
    await says(page, "Thank you");
    const stored = await vote();
    assert.equal(stored.comment, undefined);
    assert.equal(stored.value, 1);
  }));

  it("that are refused are undone, and the text is not lost", inBrowser({}, async (context) => {
    const { page, vote } = await one(context, {}, { comment: true });
    await up(page).click();
    await box(page).fill("A long story");
    await send(page).click();
    await says(page, "Your vote was not saved");
    await pressed(up(page));
    assert.equal(await box(page).inputValue(), "A long story");
    assert.equal(await box(page).isVisible(), true);
    assert.equal(await send(page).isEnabled(), true);
    assert.equal((await vote()).comment, undefined);
  }));

  it("are text, whatever is in them", inBrowser({}, async (context) => {
    const html = "<img src=x onerror=document.title='owned'>";
    const { page, vote } = await one(
      context,
      { comment: true, reasons: [html] },
      { comment: true, reasons: html, texts: JSON.stringify({ saved: html }) },
    );
    await down(page).click();
    await chip(page, html).click();
    await box(page).fill(html);
    await send(page).click();
    await says(page, html);
    assert.deepEqual((await vote()).reasons, [html]);
    assert.equal((await vote()).comment, html);
    assert.equal(await page.locator("img").count(), 0);
    assert.equal(await page.title(), "Chat");
  }));
});

describe("stars", () => {
  const claims = { scale: "rating", comment: true };
  const attributes = { scale: "stars", comment: true };

  it("are one to five, and pressing the same one again retracts", inBrowser({}, async (context) => {
    const { page, vote } = await one(context, claims, attributes);
    await star(page, 4).click();
    await says(page, "Thank you");
    assert.equal((await vote()).rating, 4);
    assert.equal(await page.locator(".on").count(), 4);
    await pressed(star(page, 4));
    await pressed(star(page, 3), false);
    await page.reload();
    await pressed(star(page, 4));
    await star(page, 4).click();
    await says(page, "Vote removed");
    assert.equal(await vote(), null);
    assert.equal(await page.locator(".on").count(), 0);
  }));

  it("keep a comment as long as they stay on one side of three", inBrowser({}, async (context) => {
    const { page, vote } = await one(context, claims, attributes);
    await star(page, 2).click();
    await box(page).fill("Too short.");
    await send(page).click();
    await says(page, "Thank you");
    await star(page, 3).click();
    await says(page, "Thank you");
    assert.equal((await vote()).comment, "Too short.");
    await star(page, 5).click();
    await says(page, "Thank you");
    assert.equal((await vote()).rating, 5);
    assert.equal((await vote()).comment, undefined);
  }));
});

describe("the service's answer", () => {
  it("is not waited for, and a refusal undoes the vote", inBrowser({}, async (context) => {
    const { page, vote } = await one(context, { scale: "rating" });
    let release;
    hub.way.fault({ on: isVote, before: new Promise((done) => (release = done)) });
    await up(page).click();
    await pressed(up(page));
    release();
    await says(page, "Your vote was not saved");
    await pressed(up(page), false);
    assert.equal(await vote(), null);
    const [[type, detail]] = page.events;
    assert.equal(type, "error");
    assert.equal(detail.action, "vote");
    assert.equal(detail.status, 403);
    assert.match(detail.message, /scale/);
    assert.equal(votes().length, 1);
  }));

  it("restores the vote that was there before", inBrowser({}, async (context) => {
    const { page } = await one(context);
    await up(page).click();
    await says(page, "Thank you");
    for (const status of [400, 403, 404, 413]) {
      hub.way.fault({ on: isVote, status });
      await down(page).click();
      await says(page, "Your vote was not saved");
      await pressed(up(page));
      await pressed(down(page), false);
    }
    assert.equal(votes().length, 5);
  }));

  it("is asked for again after a 5xx, and after one that was lost on its way", inBrowser({}, async (context) => {
    const { page, vote, later } = await clocked(context);
    await unlimited(page);
    hub.way.fault({ on: isVote, status: 500 });
    hub.way.fault({ on: isVote, status: 503 });
    hub.way.fault({ on: isVote, cut: true });
    await up(page).click();
    await says(page, "Not sent yet, trying again");
    await pressed(up(page));
    while (votes().length < 4) await later(60_000);
    await says(page, "Thank you");
    assert.equal((await vote()).value, 1);
    assert.deepEqual(page.events.map(([type]) => type), ["vote"]);
  }));

  it("that does not come is asked for again", inBrowser({}, async (context) => {
    const { page, vote, later } = await clocked(context);
    hub.way.fault({ on: isVote, before: new Promise(() => {}) });
    await up(page).click();
    await hub.way.reached(2);
    await later(30_000);
    assert.equal(await page.getByRole("status").textContent(), "");
    await later(6_000);
    await says(page, "Not sent yet, trying again");
    while (votes().length < 2) await later(1_000);
    await says(page, "Thank you");
    assert.equal((await vote()).value, 1);
  }));

  it("is given up after six tries", inBrowser({}, async (context) => {
    const { page, vote, later } = await clocked(context);
    await unlimited(page);
    hub.way.fault({ on: isVote, status: 500, times: 100 });
    await up(page).click();
    await says(page, "Not sent yet, trying again");
    while (page.events.length === 0) await later(60_000);
    await says(page, "Your vote was not saved");
    await pressed(up(page), false);
    assert.equal(votes().length, 6);
    assert.equal(await vote(), null);
    assert.equal(page.events.at(-1)[1].status, 500);
  }));

  it("is waited for as long as Retry-After says", inBrowser({}, async (context) => {
    const { page, later } = await clocked(context);
    await unlimited(page);
    hub.way.fault({ on: isVote, status: 429, headers: { "retry-after": "120" } });
    await up(page).click();
    await says(page, "Not sent yet, trying again");
    await later(110_000);
    await page.evaluate((url) => fetch(`${url}/v1/vote.js`).then((answer) => answer.text()), hub.way.url);
    assert.equal(votes().length, 1);
    await later(11_000);
    await says(page, "Thank you");
    assert.equal(votes().length, 2);
  }));

  it("is waited for as long as the page is offline, and a vote is sent on return", inBrowser({}, async (context) => {
    const { page, vote, later } = await clocked(context);
    await unlimited(page);
    await context.setOffline(true);
    await up(page).click();
    await says(page, "Not sent yet, trying again");
    let failures = 0;
    page.on("requestfailed", () => (failures += 1));
    while (failures < 10) await later(60_000);
    await says(page, "Not sent yet, trying again");
    await down(page).click();
    await pressed(down(page));
    await context.setOffline(false);
    await says(page, "Thank you");
    assert.equal((await vote()).value, -1);
    assert.deepEqual(votes().map(({ body }) => body.value), [-1]);
  }));
});

describe("presses and answers that cross", () => {
  it("send the last of two quick presses last", inBrowser({}, async (context) => {
    const { page, vote } = await one(context);
    await hub.way.reached(1);
    let release;
    hub.way.fault({ on: isVote, after: new Promise((done) => (release = done)) });
    await up(page).click();
    await down(page).click();
    await hub.way.reached(2);
    assert.equal(votes().length, 1);
    release();
    await says(page, "Thank you");
    assert.deepEqual(votes().map(({ body }) => body.value), [1, -1]);
    await pressed(down(page));
    assert.equal((await vote()).value, -1);
  }));

  it("make of a double press a vote that is retracted", inBrowser({}, async (context) => {
    const { page, vote } = await one(context);
    await hub.way.reached(1);
    let release;
    hub.way.fault({ on: isVote, after: new Promise((done) => (release = done)) });
    await up(page).click();
    await up(page).click();
    await pressed(up(page), false);
    release();
    await says(page, "Vote removed");
    assert.deepEqual(votes().map(({ method }) => method), ["PUT", "DELETE"]);
    assert.equal(await vote(), null);
  }));

  it("do not let a refusal undo what was pressed after it", inBrowser({}, async (context) => {
    const { page, vote } = await one(context);
    let release;
    hub.way.fault({ on: isVote, after: new Promise((done) => (release = done)) });
    await hub.way.reached(1);
    await up(page).click();
    await hub.way.reached(2);
    hub.way.fault({ on: isVote, status: 400 });
    await down(page).click();
    await up(page).click();
    release();
    await says(page, "Your vote was not saved");
    await pressed(up(page));
    assert.equal((await vote()).value, 1);
  }));

  it("do not let a slow read undo a press", inBrowser({}, async (context) => {
    let release;
    hub.way.fault({ on: ({ method }) => method === "POST", after: new Promise((done) => (release = done)) });
    const { page } = await one(context);
    await hub.way.reached(1);
    await up(page).click();
    await says(page, "Thank you");
    const read = page.waitForResponse((response) => response.url().endsWith("/v1/votes/read"));
    release();
    await (await read).finished();
    await page.evaluate(() => new Promise(requestAnimationFrame));
    await pressed(up(page));
  }));

  it("do not let a slow read bring back what was retracted", inBrowser({}, async (context) => {
    const { page } = await one(context);
    await hub.way.reached(1);
    await up(page).click();
    await says(page, "Thank you");
    let retract, answer;
    hub.way.fault({ on: isVote, before: new Promise((done) => (retract = done)) });
    hub.way.fault({ on: ({ method }) => method === "POST", after: new Promise((done) => (answer = done)) });
    await up(page).click();
    await hub.way.reached(3);
    const read = page.waitForResponse((response) => response.url().endsWith("/v1/votes/read"));
    await page.evaluate(() => document.querySelector("hindsight-vote").reload());
    await hub.way.reached(4);
    retract();
    await says(page, "Vote removed");
    answer();
    await (await read).finished();
    await page.evaluate(() => new Promise(requestAnimationFrame));
    await pressed(up(page), false);
  }));

  it("are not lost when the element leaves the page and comes back", inBrowser({}, async (context) => {
    const { page, vote } = await one(context);
    await hub.way.reached(1);
    let release;
    hub.way.fault({ on: isVote, before: new Promise((done) => (release = done)) });
    await up(page).click();
    await hub.way.reached(2);
    await page.evaluate(() => {
      window.kept = document.querySelector("hindsight-vote");
      window.kept.remove();
    });
    release();
    await page.evaluate(() => document.querySelector("main").append(window.kept));
    await pressed(up(page));
    await page.waitForFunction(() => window.kept.shadowRoot.querySelector("[role=status]").textContent === "Thank you");
    assert.equal((await vote()).value, 1);
    assert.equal(votes().length, 1);
  }));

  it("stay with the message they were made on when the element gets another", inBrowser({}, async (context) => {
    const { page, vote } = await one(context);
    const other = hub.newTrace();
    await hub.way.reached(1);
    let release;
    hub.way.fault({ on: isVote, status: 500 });
    hub.way.fault({ on: isVote, before: new Promise((done) => (release = done)) });
    await up(page).click();
    await hub.way.reached(2);
    const token = hub.token({ trace: other });
    await page.evaluate((token) => document.querySelector("hindsight-vote").setAttribute("token", token), token);
    await pressed(up(page), false);
    release();
    await hub.way.reached(4);
    while (page.events.length === 0) await page.evaluate(() => new Promise(requestAnimationFrame));
    assert.equal((await vote()).value, 1);
    assert.equal(await hub.stored({ trace: other }), null);
    await pressed(up(page), false);
  }));
});

describe("an expired token", () => {
  const past = () => {
    const now = Math.floor(Date.now() / 1000);
    return { iat: now - 7200, exp: now - 3600 };
  };
  const refreshing = (context, tokens) =>
    Promise.all([
      context.exposeFunction("newToken", () => {
        hub.way.renewals = (hub.way.renewals ?? 0) + 1;
        return tokens.shift() ?? null;
      }),
      context.addInitScript(() => {
        const refresh = () => window.newToken();
        addEventListener("DOMContentLoaded", () => {
          for (const element of document.querySelectorAll("hindsight-vote")) element.refresh = refresh;
        });
      }),
    ]);
  beforeEach(() => {
    hub.way.renewals = 0;
  });

  it("is renewed by `refresh`, and what was pending is sent", inBrowser({}, async (context) => {
    const trace = hub.newTrace();
    await refreshing(context, [hub.token({ trace })]);
    const { page } = await one(context, { trace, ...past() });
    await up(page).click();
    await says(page, "Thank you");
    assert.equal((await hub.stored({ trace })).value, 1);
    assert.deepEqual(page.events.map(([type]) => type), ["vote"]);
    assert.equal(hub.way.renewals, 1);
  }));

  it("is renewed once for all elements that share it", inBrowser({}, async (context) => {
    const prefix = `${hub.newTrace()}:`;
    const claims = { trace: undefined, trace_prefix: prefix };
    await refreshing(context, [hub.token(claims)]);
    const token = hub.token({ ...claims, ...past() });
    const elements = [1, 2, 3].map((n) => hub.element({ token, trace: `${prefix}${n}`, id: `m${n}` }));
    // Else the read would bring the new token to all of them.
    hub.way.fault({ on: ({ method }) => method === "POST", status: 403 });
    let release;
    hub.way.fault({ on: isVote, times: 3, before: new Promise((done) => (release = done)) });
    const page = await hub.open(context, hub.publish(elements.join("")));
    for (const n of [1, 2, 3]) await up(page.locator(`#m${n}`)).click();
    await hub.way.reached(4);
    release();
    for (const n of [1, 2, 3]) await says(page.locator(`#m${n}`), "Thank you");
    assert.equal(hub.way.renewals, 1);
    for (const n of [1, 2, 3]) assert.equal((await hub.stored({ trace: `${prefix}${n}` })).value, 1);
  }));

  it("is renewed again and again, as long as the page brings another", inBrowser({}, async (context) => {
    const trace = hub.newTrace();
    const tokens = [past(), past(), {}].map((times, n) => hub.token({ trace, ...times, jti: `${n}` }));
    await refreshing(context, tokens);
    const { page } = await one(context, { trace, ...past() });
    while (page.events.length === 0) await page.evaluate(() => new Promise(requestAnimationFrame));
    await up(page).click();
    await says(page, "Thank you");
    assert.equal(hub.way.renewals, 3);
    // The attribute still has the first token, and the element comes back with it.
    await page.evaluate(() => {
      const element = document.querySelector("hindsight-vote");
      element.remove();
      document.querySelector("main").append(element);
    });
    await down(page).click();
    await says(page, "Thank you");
    assert.equal(hub.way.renewals, 3);
    assert.equal((await hub.stored({ trace })).value, -1);
  }));

  it("without `refresh` undoes the vote and says why", inBrowser({}, async (context) => {
    const { page, trace } = await one(context, past());
    await up(page).click();
    await says(page, "Your session has expired");
    await pressed(up(page), false);
    assert.equal(await hub.stored({ trace }), null);
    assert.deepEqual(page.events.map(([type, { action, status }]) => [type, action, status]), [
      ["error", "read", 401],
      ["error", "vote", 401],
    ]);
  }));

  it("whose renewal fails undoes the vote, and the next press asks again", inBrowser({}, async (context) => {
    const trace = hub.newTrace();
    await refreshing(context, [null, null, hub.token({ trace })]);
    const { page } = await one(context, { trace, ...past() });
    await hub.way.reached(1);
    await up(page).click();
    await says(page, "Your session has expired");
    await pressed(up(page), false);
    while (hub.way.renewals < 2) {
      await up(page).click();
      await says(page, "Your session has expired");
    }
    await up(page).click();
    await says(page, "Thank you");
    assert.equal((await hub.stored({ trace })).value, 1);
  }));

  it("is replaced by the page, and what the person wrote stays", inBrowser({}, async (context) => {
    const trace = hub.newTrace();
    const { page } = await one(context, { trace, ...past() }, { comment: true });
    await hub.way.reached(1);
    const token = hub.token({ trace, comment: true });
    await page.evaluate((token) => document.querySelector("hindsight-vote").setAttribute("token", token), token);
    await up(page).click();
    await says(page, "Thank you");
    assert.equal((await hub.stored({ trace })).value, 1);
  }));
});

describe("tokens that are not valid", () => {
  it("change nothing, whichever 300 of them a page has", inBrowser({}, async (context) => {
    const trace = hub.newTrace();
    const valid = hub.token({ trace });
    const stranger = generateKeyPairSync("ed25519").privateKey;
    const forged = sign({ ...hub.service.key, privateKey: stranger }, { sub: "ada", scale: "thumbs", trace });
    const flipped = (place) => valid.slice(0, place) + (valid[place] === "A" ? "B" : "A") + valid.slice(place + 1);
    const tokens = Array.from({ length: 300 }, (_, n) =>
      [() => flipped(n % valid.length), () => valid.slice(0, n), () => forged.slice(0, -1 - n) + "A".repeat(1 + n)][n % 3](),
    );
    const elements = tokens.map((token) => hub.element({ token }));
    const page = await hub.open(context, hub.publish(elements.join("")));
    await page.evaluate(() => {
      for (const element of document.querySelectorAll("hindsight-vote")) element.shadowRoot.querySelector(".up").click();
    });
    while (page.events.length < 600) await page.evaluate(() => new Promise(requestAnimationFrame));
    const count = (action) => page.events.filter(([, detail]) => detail.action === action && detail.status === 401).length;
    assert.deepEqual([count("read"), count("vote"), page.events.length], [300, 300, 600]);
    assert.equal(await page.getByRole("button", { pressed: true }).count(), 0);
    assert.equal(await hub.stored({ trace }), null);
  }));
});

describe("people", () => {
  const claims = { comment: true, reasons: ["wrong", "too long"] };
  const attributes = { comment: true, reasons: "wrong,too long" };

  it("can do everything with the keyboard", inBrowser({}, async (context) => {
    const { page, vote } = await one(context, claims, attributes);
    const focused = () =>
      page.evaluate(() => {
        const inner = document.activeElement.shadowRoot?.activeElement;
        return inner?.ariaLabel || inner?.textContent;
      });
    const press = async (...keys) => {
      for (const key of keys) await page.keyboard.press(key);
    };
    await press("Tab");
    assert.equal(await focused(), "Good answer");
    await press("Tab");
    assert.equal(await focused(), "Bad answer");
    await press("Space");
    await says(page, "Thank you");
    assert.equal(await focused(), "Bad answer");
    await press("Tab");
    assert.equal(await focused(), "Add details");
    await press("Tab", "Enter", "Tab", "Tab");
    assert.equal(await focused(), "Comment");
    await page.keyboard.type("Wrong year.");
    await press("Tab");
    assert.equal(await focused(), "Send");
    await press("Enter");
    await says(page, "Thank you");
    assert.equal(await focused(), "Add details");
    const stored = await vote();
    assert.deepEqual([stored.value, stored.reasons, stored.comment], [-1, ["wrong"], "Wrong year."]);
    await press("Shift+Tab", "Enter");
    await says(page, "Vote removed");
    assert.equal(await vote(), null);
  }));

  it("hear what it is, what is pressed, and what became of it", inBrowser({}, async (context) => {
    const { page } = await one(context, claims, attributes);
    await page.getByRole("group", { name: "Rate this answer" }).waitFor();
    // A live region has to be there before there is something to say.
    assert.equal(await page.getByRole("status").count(), 1);
    await down(page).click();
    await page.getByRole("button", { name: "Bad answer", pressed: true }).waitFor();
    await page.getByRole("button", { name: "Add details", expanded: true }).waitFor();
    await page.getByRole("group", { name: "Add details" }).getByRole("button", { name: "wrong", pressed: false }).waitFor();
    await says(page, "Thank you");
  }));

  for (const [name, options, head] of [
    ["a light page", {}, ""],
    ["a dark page of `color-scheme`", { colorScheme: "dark" }, "<style>:root{color-scheme:dark}body{background:Canvas;color:CanvasText}</style>"],
    [
      "a dark page of `prefers-color-scheme`",
      { colorScheme: "dark" },
      "<style>@media (prefers-color-scheme:dark){body{background:#16181d;color:#e6e8eb}}</style>",
    ],
    ["a light page where the system is dark", { colorScheme: "dark" }, "<style>body{background:#fff;color:#222}</style>"],
  ]) {
    it(`find no barrier on ${name}`, inBrowser(options, async (context) => {
      const token = hub.token(claims);
      const rating = hub.token({ scale: "rating" });
      const elements = [
        hub.element({ token, ...attributes }),
        hub.element({ token: rating, scale: "stars" }),
        hub.element({ token: rating }),
      ];
      const page = await hub.open(context, hub.publish(elements.join(""), { head }));
      await down(page).first().click();
      await chip(page, "wrong").click();
      await box(page).fill("Some text");
      await star(page, 3).click();
      await up(page).last().click();
      await says(page, "Your vote was not saved");
      await says(page.locator("hindsight-vote").nth(1), "Thank you");
      await page.evaluate(AXE);
      const { violations, passes } = await page.evaluate(() => window.axe.run());
      assert.deepEqual(violations.map(({ id, impact, nodes }) => [id, impact, nodes.map(({ html }) => html)]), []);
      assert.ok(passes.some(({ id }) => id === "color-contrast"));
      assert.ok(passes.some(({ id, nodes }) => id === "button-name" && nodes.length >= 12));
      const contrast = await page.evaluate(contrasts);
      for (const [what, ratio] of contrast) assert.ok(ratio >= 4.5, `${what}: a contrast of ${ratio}`);
      assert.equal(contrast.length, 4);
    }));
  }

  it("have room for their fingers on a phone", inBrowser(
    { viewport: { width: 320, height: 900 }, hasTouch: true, isMobile: true },
    async (context) => {
      const { page, vote } = await one(context, claims, attributes);
      await down(page).tap();
      await chip(page, "too long").tap();
      await box(page).fill("Too long for a phone");
      for (const button of await page.getByRole("button").all()) {
        const { width, height, x } = await button.boundingBox();
        const name = (await button.getAttribute("aria-label")) ?? (await button.textContent());
        assert.ok(width >= 44 && height >= 44, `${name}: ${width} by ${height}`);
        assert.ok(x >= 0 && x + width <= 320, `${name} ends at ${x + width}`);
      }
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 320);
      await send(page).tap();
      await says(page, "Thank you");
      assert.equal((await vote()).comment, "Too long for a phone");
    },
  ));
});

/** Contrasts of a pressed thumb, a star, an error and a plain text with what is behind them. Runs in the page. */
function contrasts() {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const over = (color, under) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const fill of [under, color]) {
      canvas.fillStyle = fill;
      canvas.fillRect(0, 0, 1, 1);
    }
    const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map((byte) => {
      const part = byte / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const { backgroundColor } = getComputedStyle(document.body);
  const page = backgroundColor === "rgba(0, 0, 0, 0)" ? "#fff" : backgroundColor;
  const roots = [...document.querySelectorAll("hindsight-vote")].map((element) => element.shadowRoot);
  const found = [
    ["thumb", roots[0].querySelector(".down.on")],
    ["text", roots[0].querySelector(".more")],
    ["star", roots[1].querySelector(".star.on")],
    ["error", roots[2].querySelector(".message.bad")],
  ];
  return found.map(([name, node]) => {
    const [high, low] = [over(getComputedStyle(node).color, page), over(page, page)].sort((a, b) => b - a);
    return [name, (high + 0.05) / (low + 0.05)];
  });
}

describe("pages", () => {
  it("may forbid all but what is needed", inBrowser({}, async (context) => {
    const policy = `default-src 'none'; script-src ${hub.way.url}; connect-src ${hub.way.url}; ` +
      "require-trusted-types-for 'script'; trusted-types 'none'";
    const { page, vote } = await one(
      context,
      { comment: true, reasons: ["wrong"] },
      { comment: true, reasons: "wrong" },
      { headers: { "content-security-policy": policy } },
    );
    await down(page).click();
    await chip(page, "wrong").click();
    await box(page).fill("Strict.");
    await send(page).click();
    await says(page, "Thank you");
    assert.equal((await vote()).comment, "Strict.");
    const size = await down(page).evaluate((button) => getComputedStyle(button).width);
    assert.equal(size, "32px");
    // Playwright's own scripts do not count as the page's.
    assert.deepEqual(page.problems, []);
  }));

  it("may pin a version by its hash", inBrowser({}, async (context) => {
    const hash = (algorithm, of) => `${algorithm}-${createHash(algorithm).update(of).digest("base64")}`;
    const load = (integrity) =>
      hub.way.page(
        integrity.slice(-12).replaceAll(/\W/g, "x"),
        `<!doctype html><title>Pinned</title>
<script src="${hub.way.url}/v1/vote.js/${VERSION}" integrity="${integrity}" crossorigin></script>
${hub.element({ token: hub.token() })}`,
      );
    const right = await hub.open(context, load(hash("sha384", SCRIPT)));
    await up(right).click();
    await says(right, "Thank you");
    const wrong = await hub.open(context, load(hash("sha384", "another script")));
    assert.equal(await wrong.evaluate(() => customElements.get("hindsight-vote")), undefined);
  }));

  it("may load the script as a module, and twice", inBrowser({}, async (context) => {
    const head = `<script type="module" src="${hub.way.url}/v1/vote.js?again"></script>`;
    const { page } = await one(context, {}, {}, { head });
    await up(page).click();
    await says(page, "Thank you");
    assert.deepEqual(page.problems, []);
    assert.equal(votes().length, 1);
  }));

  it("may make elements and set their attributes in any order", inBrowser({}, async (context) => {
    const { page } = await one(context);
    const trace = hub.newTrace();
    await page.evaluate(
      ([src, token]) => {
        const element = document.createElement("hindsight-vote");
        document.querySelector("main").append(element);
        element.setAttribute("comment", "");
        element.setAttribute("token", token);
        element.setAttribute("scale", "stars");
        element.setAttribute("src", `${src}/v1/`);
      },
      [hub.way.url, hub.token({ trace, scale: "rating", comment: true })],
    );
    await star(page, 5).click();
    await box(page).fill("Late.");
    await send(page).click();
    await says(page.locator("hindsight-vote").last(), "Thank you");
    const stored = await hub.stored({ trace, scale: "rating", comment: true });
    assert.deepEqual([stored.rating, stored.comment], [5, "Late."]);
    assert.deepEqual(page.problems, []);
  }));

  it("may style its parts and its sizes", inBrowser({}, async (context) => {
    const head = `<style>hindsight-vote{--hindsight-size:50px;--hindsight-up:rgb(1,2,3)}
hindsight-vote::part(down){letter-spacing:7px}hindsight-vote::part(up pressed){letter-spacing:9px}</style>`;
    const { page } = await one(context, {}, {}, { head });
    const style = (button, name) => button.evaluate((node, name) => getComputedStyle(node)[name], name);
    assert.equal(await style(down(page), "letterSpacing"), "7px");
    assert.equal(await style(up(page), "width"), "50px");
    assert.equal(await style(up(page), "letterSpacing"), "normal");
    await up(page).click();
    await says(page, "Thank you");
    assert.equal(await style(up(page), "letterSpacing"), "9px");
    assert.equal(await style(up(page), "color"), "rgb(1, 2, 3)");
  }));

  it("may replace every text, and a reason's text without the reason", inBrowser({}, async (context) => {
    const texts = { down: "Schlecht", more: "Mehr dazu", reasons: { wrong: "Falsch" }, saved: "Danke" };
    const claims = { reasons: ["wrong"] };
    const { page, vote } = await one(context, claims, { reasons: "wrong", texts: JSON.stringify(texts) });
    await page.getByRole("button", { name: "Schlecht" }).click();
    await chip(page, "Falsch").click();
    await says(page, "Danke");
    await page.getByRole("button", { name: "Mehr dazu" }).waitFor();
    assert.deepEqual((await vote()).reasons, ["wrong"]);
    await up(page).waitFor();
  }));
});
