// The pages with the data of `cargo run -- --demo`: thousands of votes of a month, in several languages.

import assert from "node:assert/strict";
import { after, before, it } from "node:test";

import { accessible, start } from "./console.mjs";
import { OPEN, pages } from "./pages.mjs";

/** The most bytes of a page. */
const MOST = 100 * 1024;

let hub, paths;
before(async () => {
  hub = await start("--demo");
  paths = Object.entries(await pages(hub)).filter(([name]) => !OPEN.includes(name));
});
after(() => hub.close());

it("every page has at most 100 KB, in one round trip", async (t) => {
  await hub.test({}, async (context) => {
    const page = await hub.signedIn(context);
    for (const [name, path] of paths) {
      page.requests.length = 0;
      const answer = await page.goto(hub.url + path);
      const size = (await answer.body()).length;
      t.diagnostic(`${name}: ${size} bytes`);
      assert.ok(size <= MOST, `${name}: ${size} bytes`);
      assert.equal(page.requests.filter((url) => !url.startsWith("data:")).length, 1, name);
    }
    assert.deepEqual(page.problems, []);
  }, 120_000)();
});

for (const colorScheme of ["light", "dark"]) {
  it(`axe-core finds nothing serious on any page in ${colorScheme} colors`, async () => {
    await hub.test({ colorScheme }, async (context) => {
      const page = await hub.signedIn(context);
      for (const [name, path] of paths) {
        await page.goto(hub.url + path);
        await accessible(page, name);
      }
    }, 200_000)();
  });
}

it("no page scrolls sideways on a phone", async () => {
  await hub.test({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true }, async (context) => {
    const page = await hub.signedIn(context);
    for (const [name, path] of paths) {
      await page.goto(hub.url + path);
      await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360, name);
    }
  }, 120_000)();
});

it("the prompt that got worse is told from chance, and the list goes on page by page", async () => {
  await hub.test({}, async (context) => {
    const page = await hub.signedIn(context, "/console/prompts?range=7d");
    await page.getByRole("link", { name: /^Compare draft-reply/ }).click();
    await page.getByText("more than chance would explain").waitFor();
    await page.goto(`${hub.url}/console/feedback?range=7d&prompt=draft-reply&value_max=-1`);
    const seen = new Set();
    for (;;) {
      const ids = await page.getByRole("article").evaluateAll((nodes) => nodes.map(({ id }) => id));
      for (const id of ids) assert.ok(!seen.has(id), id);
      ids.forEach((id) => seen.add(id));
      const older = page.getByRole("link", { name: "Older" });
      if (!(await older.count())) break;
      await older.click();
      await page.waitForFunction((last) => !document.getElementById(last), ids.at(-1));
    }
    assert.ok(seen.size > 50, `${seen.size}`);
    const { data } = await hub.api("GET", "/v1/feedback?prompt=draft-reply&value_max=-1&limit=100");
    for (const { id } of data.slice(0, 50)) assert.ok(seen.has(`r-${id}`), id);
    const file = await context.request.get(`${hub.url}/console/feedback.csv?range=7d&prompt=draft-reply&value_max=-1`);
    assert.equal((await file.text()).split("\r\n").length, seen.size + 2);
  }, 120_000)();
});
