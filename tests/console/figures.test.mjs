// The pages of figures, overview and prompts: with nothing, and with feedback whose figures are known.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { start } from "./console.mjs";
import { COMMENTS, counted, seed, TOTAL } from "./data.mjs";

let hub;
before(async () => {
  hub = await start();
});
after(() => hub.close());
const inBrowser = (options, test) => () => hub.test(options, test)();

const heading = (page, name) => page.getByRole("heading", { name, exact: true }).first().waitFor();
/** A text with plain spaces, of which the pages have some that do not break. */
const plain = (text) => text.replaceAll("\u00a0", " ").trim();
const tile = async (page, label) => {
  const text = await page.locator(".tile").filter({ has: page.getByText(label, { exact: true }) }).innerText();
  return text.split("\n").map(plain).filter(Boolean);
};
const chip = (page, text) => page.getByRole("list", { name: "Active filters" }).getByRole("link", { name: text });
const filter = async (page, fields) => {
  await page.getByText(/^Filter/).first().click();
  for (const [label, value] of Object.entries(fields)) await page.getByLabel(label, { exact: true }).fill(value);
  await page.getByRole("button", { name: "Apply" }).click();
};
const total = async (page) => Number((await tile(page, "Votes"))[1]);

describe("without feedback", () => {
  it("the overview says what to do, and the call works", inBrowser({ permissions: ["clipboard-read", "clipboard-write"] }, async (context) => {
    const page = await hub.signedIn(context);
    await heading(page, "No feedback yet");
    await page.getByRole("button", { name: "Copy" }).click();
    await page.getByRole("button", { name: "Copied" }).waitFor();
    const call = await page.evaluate(() => navigator.clipboard.readText());
    assert.equal(call, await page.locator("pre").innerText());
    const [, url, body] = /^curl (\S+) .* -d '([^']+)'$/s.exec(call);
    assert.equal(url, `${hub.url}/v1/feedback`);
    const { key } = await hub.key("write");
    const answer = await fetch(url, { method: "POST", headers: { authorization: `Bearer ${key}` }, body });
    assert.equal(answer.status, 200);
    await counted(page, `${hub.url}/console`, "greeting");
    const [id] = (await answer.json()).feedback_ids;
    await hub.api("DELETE", `/v1/feedback/${id}`);
    await counted(page, `${hub.url}/console`, "Nothing here");
    assert.deepEqual(page.problems, []);
  }));

  it("the prompts say so", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context, "/console/prompts");
    await heading(page, "No prompts to show");
    assert.deepEqual(page.problems, []);
  }));
});

describe("with feedback", () => {
  before(async () => {
    await seed(hub);
    await inBrowser({}, async (context) => {
      const page = await hub.signedIn(context);
      while (!(await page.locator(".tile").count()) || (await total(page)) !== TOTAL) await page.reload();
    })();
  });

  it("the overview has its figures", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context);
    assert.equal((await tile(page, "Votes"))[1], "15");
    // 7 × 1, −1, 5 × 0.5, −1, −4, −10 are −6.5 of 12.
    assert.equal((await tile(page, "Average value"))[1], "−0.54");
    assert.equal((await tile(page, "Mean rating"))[1], "3.67");
    // 8 values above 0 and the ratings 5 and 4, of 15.
    assert.equal((await tile(page, "Positive"))[1], "66.7 %");
    assert.match((await tile(page, "Positive"))[2], /^95 % interval [\d.]+\D+[\d.]+ %$/);
    const best = page.locator("section.card").filter({ has: page.getByRole("heading", { name: "Prompts", exact: true }) });
    assert.match(await best.innerText(), /greeting/);
    const reasons = page.locator("section").filter({ has: page.getByRole("heading", { name: "Reasons", exact: true }) }).last();
    const rows = (await reasons.getByRole("row").allInnerTexts()).map((row) => row.trim().split(/\s*\t\s*/)[0]);
    assert.deepEqual(rows.slice(-2).sort(), ["too long", "wrong"]);
    const said = await page.locator("ul.comments li div p:first-child").allInnerTexts();
    assert.deepEqual(said, COMMENTS);
    assert.deepEqual(page.problems, []);
  }));

  it("a chart has a table of the same numbers", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context);
    const figures = page.locator("figure");
    assert.ok((await figures.count()) >= 4);
    for (const figure of await figures.all()) {
      const name = await figure.locator("figcaption").innerText();
      assert.ok(name.length > 3);
      assert.equal(await figure.locator("svg").count(), 1, name);
      assert.ok((await figure.locator("table tbody tr").count()) > 0, `${name} has no table`);
    }
  }));

  for (const [label, value, votes] of [
    ["Prompt", "refund", 4],
    ["Model", "small", 8],
    ["User", "user-1", 5],
    ["Session", "session-0", 8],
    ["Organisation", "acme", 7],
    ["Environment", "production", 15],
    ["Name", "helpful", 1],
  ]) {
    it(`the filter ${label} narrows the overview, and goes again`, inBrowser({}, async (context) => {
      const page = await hub.signedIn(context);
      await filter(page, { [label]: value });
      await chip(page, value).waitFor();
      assert.equal(await total(page), votes);
      assert.equal(new URL(page.url()).searchParams.get(label.toLowerCase()), value);
      await page.reload();
      assert.equal(await total(page), votes);
      await page.getByRole("link", { name: "Prompts", exact: true }).first().click();
      await chip(page, value).waitFor();
      await page.getByRole("link", { name: "Overview", exact: true }).first().click();
      await chip(page, value).click();
      await page.waitForURL((url) => !url.searchParams.has(label.toLowerCase()));
      assert.equal(await total(page), TOTAL);
      assert.deepEqual(page.problems, []);
    }));
  }

  it("two filters hold together, and are cleared together", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context);
    await filter(page, { Prompt: "greeting", User: "user-0" });
    assert.equal(await total(page), 3);
    await page.getByText(/^Filter/).first().click();
    await page.getByRole("link", { name: "Clear" }).click();
    await page.waitForURL((url) => !url.searchParams.has("prompt") && !url.searchParams.has("user"));
    assert.equal(await total(page), TOTAL);
  }));

  it("a filter that fits nothing says so, and how to get out", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context, "/console?prompt=nobody-wrote-this");
    await heading(page, "Nothing here");
    await page.getByRole("link", { name: "Remove the filters" }).click();
    assert.equal(await total(page), TOTAL);
  }));

  it("the range is chosen, and a custom one holds", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context);
    const ranges = page.getByRole("navigation", { name: "Time range" }).getByRole("link");
    for (const name of await ranges.allInnerTexts()) {
      await ranges.filter({ hasText: new RegExp(`^${name}$`) }).click();
      await page.waitForURL((url) => url.searchParams.get("range") === name);
      assert.equal(await total(page), TOTAL, name);
      assert.equal(await page.locator('nav.ranges [aria-current="true"]').innerText(), name);
    }
    await page.goto(`${hub.url}/console?range=custom&from=2020-01-01T00:00&to=2020-02-01T00:00`);
    await heading(page, "Nothing here");
    const today = new Date(Date.now() - 86_400_000).toISOString().slice(0, 16);
    await page.goto(`${hub.url}/console?from=${today}`);
    assert.equal(await total(page), TOTAL);
  }));

  it("an address that is wrong is told what is wrong with it", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context);
    for (const [query, says] of [
      ["range=forever", /range: expected 1h, 24h/],
      ["from=yesterday", /from/],
      ["color=red", /unknown parameter color/],
      [`prompt=${"x".repeat(513)}`, /prompt/],
    ]) {
      const answer = await page.goto(`${hub.url}/console?${query}`);
      assert.equal(answer.status(), 400, query);
      assert.match(await page.getByRole("main").innerText(), says);
      await page.getByRole("link", { name: "Back to the overview" }).click();
      assert.equal(await total(page), TOTAL);
    }
  }));

  it("times are in the viewer's zone, with UTC on hover", inBrowser({ timezoneId: "Asia/Tokyo", locale: "en-GB" }, async (context) => {
    const page = await hub.signedIn(context);
    const time = page.locator("time").first();
    const moment = new Date(await time.getAttribute("datetime"));
    const expected = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short", timeZone: "Asia/Tokyo" });
    assert.equal(await time.innerText(), expected.format(moment));
    assert.equal(await time.getAttribute("title"), `${moment.toISOString().slice(0, 19).replace("T", " ")} UTC`);
  }));

  it("the prompts have their figures", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context, "/console/prompts");
    const rows = page.getByRole("region", { name: "Prompts" }).getByRole("row");
    const row = async (name) => (await rows.filter({ hasText: name }).getByRole("cell").allInnerTexts()).map(plain);
    assert.deepEqual((await row("greeting")).slice(0, 2), ["8", "0.75"]);
    assert.deepEqual((await row("refund")).slice(0, 2), ["4", "−3.12"]);
    assert.equal((await row("rated"))[2], "3.67");
    assert.match((await row("greeting"))[3], /^87\.5 %$/);
    assert.deepEqual(page.problems, []);
  }));

  it("two prompts are compared, with each one's comments", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context, "/console/prompts");
    await page.getByLabel("Prompt", { exact: true }).last().fill("greeting");
    await page.getByLabel("with", { exact: true }).fill("refund");
    await page.getByRole("button", { name: "Compare" }).click();
    await heading(page, "Compare");
    const sides = page.locator("section.side");
    assert.equal(await sides.count(), 2);
    assert.match(await sides.first().innerText(), /greeting/);
    const second = await sides.last().innerText();
    assert.match(second, /refund/);
    for (const comment of COMMENTS) assert.ok(second.includes(comment), comment);
    assert.match(await page.getByRole("region", { name: "Difference" }).innerText(), /chance/);
    assert.deepEqual(page.problems, []);
    await page.getByRole("link", { name: "All prompts" }).click();
    await heading(page, "Prompts");
  }));

  it("a prompt is compared with itself in the range before", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context, "/console/prompts");
    await page.getByRole("link", { name: /^Compare greeting/ }).click();
    await heading(page, "Compare");
    assert.equal(await page.locator("section.side").count(), 2);
    assert.deepEqual(page.problems, []);
  }));
});
