// The console for everybody: on a phone, in dark mode, by keyboard, without JavaScript, with a screen reader. And
// what every page keeps to: its weight, one round trip, and its own origin.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { accessible, start } from "./console.mjs";
import { seed } from "./data.mjs";
import { EMPTY, OPEN, pages } from "./pages.mjs";

/** The most bytes of a page. */
const MOST = 100 * 1024;

let hub, empty, paths;
before(async () => {
  [hub, empty] = await Promise.all([start(), start()]);
  await seed(hub);
  paths = await pages(hub);
});
after(() => Promise.all([hub.close(), empty.close()]));
// Every page, one after the other.
const inBrowser = (options, test) => () => hub.test(options, test, 120_000)();

/** Opens every page of a server, and acts on each. */
async function each(server, context, list, act) {
  const page = await server.signedIn(context);
  for (const [name, path] of Object.entries(list)) {
    if (OPEN.includes(name)) continue;
    await page.goto(server.url + path);
    await act(page, name);
    assert.deepEqual(page.problems, [], name);
  }
  await context.clearCookies();
  for (const [name, path] of Object.entries(list)) {
    if (!OPEN.includes(name)) continue;
    await page.goto(server.url + path);
    await act(page, name);
    assert.deepEqual(page.problems, [], name);
  }
}
/** The same with the pages of both servers. */
const everywhere = async (context, act) => {
  await each(hub, context, paths, act);
  await each(empty, context, EMPTY, (page, name) => act(page, `${name}, without feedback`));
};

for (const colorScheme of ["light", "dark"]) {
  for (const [device, options] of [
    ["a desk", { viewport: { width: 1280, height: 900 } }],
    ["a phone", { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true }],
  ]) {
    it(`axe-core finds nothing serious on any page in ${colorScheme} colors on ${device}`, { timeout: 240_000 }, async () => {
      await hub.test({ colorScheme, ...options }, (context) => everywhere(context, accessible), 200_000)();
    });
  }
}

it("dark colors are dark", inBrowser({ colorScheme: "dark" }, async (context) => {
  await everywhere(context, async (page, name) => {
    const light = await page.evaluate(() => {
      const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
      return ["body", ".card", "main"].flatMap((selector) => [...document.querySelectorAll(selector)]).map((node) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = getComputedStyle(node).backgroundColor;
        canvas.fillRect(0, 0, 1, 1);
        const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
        return alpha ? Math.max(red, green, blue) : 0;
      });
    });
    assert.ok(Math.max(...light) < 80, `${name}: ${light}`);
  });
}));

for (const width of [320, 390]) {
  it(`no page scrolls sideways on a phone of ${width} pixels`, inBrowser(
    { viewport: { width, height: 700 }, hasTouch: true, isMobile: true },
    async (context) => {
      await everywhere(context, async (page, name) => {
        // Menus and tables that are folded away, too.
        await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
        assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width, name);
      });
    },
  ));
}

it("a finger finds what it presses", inBrowser(
  { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true },
  async (context) => {
    await everywhere(context, async (page, name) => {
      const small = await page.evaluate(() =>
        [...document.querySelectorAll("button, input:not([type=hidden]), select, summary, nav a, a.button")]
          .filter((node) => node.checkVisibility())
          .map((node) => [node.textContent.trim() || node.name, node.getBoundingClientRect()])
          .filter(([, { width, height }]) => width < 24 || height < 24)
          .map(([text, { width, height }]) => `${text}: ${width} by ${height}`),
      );
      assert.deepEqual(small, [], name);
    });
  },
));

it("a page is one round trip of at most 100 KB, from nowhere else", inBrowser({}, async (context) => {
  await everywhere(context, async (page, name) => {
    page.requests.length = 0;
    const answer = await page.reload();
    const size = (await answer.body()).length;
    assert.ok(size <= MOST, `${name}: ${size} bytes`);
    assert.deepEqual(page.requests.filter((url) => !url.startsWith("data:")), [page.url()], name);
    const policy = answer.headers()["content-security-policy"];
    assert.match(policy, /default-src 'none'/, name);
    assert.match(policy, /frame-ancestors 'none'/, name);
    assert.doesNotMatch(policy, /unsafe|\*/, name);
    assert.equal(answer.headers()["cache-control"], "no-store", name);
    assert.equal(answer.headers()["x-content-type-options"], "nosniff", name);
    assert.match(answer.headers()["referrer-policy"] ?? "", /same-origin|no-referrer/, name);
  });
}));

it("every page says where one is, to everybody", inBrowser({}, async (context) => {
  const titles = new Set();
  await everywhere(context, async (page, name) => {
    assert.equal(await page.locator("h1").count(), 1, name);
    assert.match(await page.title(), /^.+ · Hindsight$/, name);
    assert.equal(await page.locator("html").getAttribute("lang"), "en");
    assert.equal(await page.getByRole("main").count(), 1, name);
    titles.add(await page.title());
  });
  assert.ok(titles.size >= 8, [...titles].join("; "));
}));

describe("by keyboard", () => {
  const focused = (page) =>
    page.evaluate(() => {
      const node = document.activeElement;
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(node);
      const isSeen = (outlineStyle !== "none" && outlineWidth !== "0px") || boxShadow !== "none";
      return { text: (node.labels?.[0]?.textContent ?? node.textContent).trim(), isSeen, visible: node.checkVisibility() };
    });

  it("everything can be reached, and is seen to be", inBrowser({}, async (context) => {
    await everywhere(context, async (page, name) => {
      const count = await page.evaluate(
        () => [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")]
          .filter((node) => node.checkVisibility() && !node.disabled).length,
      );
      await page.evaluate(() => document.activeElement.blur());
      const seen = new Set();
      for (let n = 0; n < Math.min(count, 60) + 1; n += 1) {
        await page.keyboard.press("Tab");
        // After the last one, the browser's own buttons have their turn.
        if (await page.evaluate(() => document.activeElement === document.body)) continue;
        const { text, isSeen, visible } = await focused(page);
        assert.ok(visible && isSeen, `${name}: the focus on "${text}" cannot be seen`);
        seen.add(await page.evaluate(() => [...document.querySelectorAll("*")].indexOf(document.activeElement)));
      }
      assert.ok(seen.size >= Math.min(count, 60), `${name}: ${seen.size} of ${count} were reached`);
    });
  }));

  it("one skips to the content, filters, and signs out", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context, "/console/feedback");
    const press = async (...keys) => {
      for (const key of keys) await page.keyboard.press(key);
    };
    await press("Tab");
    assert.equal((await focused(page)).text, "Skip to content");
    await press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "main");
    while ((await focused(page)).text !== "Filter") await press("Tab");
    await press("Enter");
    while ((await focused(page)).text !== "User") await press("Tab");
    await page.keyboard.type("user-1");
    await press("Enter");
    await page.waitForURL((url) => url.searchParams.get("user") === "user-1");
    assert.equal(await page.getByRole("article").count(), 5);
    await page.goto(`${hub.url}/console`);
    while ((await focused(page)).text !== "local") await press("Tab");
    await press("Enter");
    while ((await focused(page)).text !== "Sign out") await press("Tab");
    await press("Enter");
    await page.getByText("You are signed out.").waitFor();
  }));

  it("a menu closes with Escape, and gives the focus back", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context);
    while ((await focused(page)).text !== "Filter") await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByLabel("Prompt", { exact: true }).waitFor();
    await page.keyboard.press("Tab");
    await page.keyboard.press("Escape");
    assert.equal((await focused(page)).text, "Filter");
    assert.equal(await page.getByLabel("Prompt", { exact: true }).isVisible(), false);
  }));
});

describe("without JavaScript", () => {
  it("every page shows the same", async () => {
    const texts = async (javaScriptEnabled) => {
      const found = {};
      await hub.test({ javaScriptEnabled, timezoneId: "UTC" }, async (other) => {
        const page = await hub.signedIn(other);
        for (const [name, path] of Object.entries(paths)) {
          if (OPEN.includes(name)) continue;
          await page.goto(hub.url + path);
          found[name] = await page.locator("h1, h2, td, th, dd, .figure, .remark").allTextContents();
        }
      })();
      return found;
    };
    assert.deepEqual(await texts(false), await texts(true));
  });

  it("one signs in, filters, compares, edits, deletes, downloads and signs out", inBrowser(
    { javaScriptEnabled: false, acceptDownloads: true },
    async (context) => {
      const { feedback_ids: [id] } = await empty.api("POST", "/v1/feedback", {
        trace_id: "plain",
        value: 3,
        metadata: { _prompt: "plain" },
      });
      const page = await empty.signedIn(context, "/console/feedback");
      await page.getByText(/^Filter/).first().click();
      await page.getByLabel("Prompt", { exact: true }).fill("plain");
      await page.getByRole("button", { name: "Apply" }).click();
      await page.getByRole("link", { name: "Download CSV" }).waitFor();
      const [file] = await Promise.all([
        page.waitForEvent("download"),
        page.getByRole("link", { name: "Download CSV" }).click(),
      ]);
      assert.equal(file.suggestedFilename(), "feedback.csv");
      await page.getByRole("link", { name: "plain", exact: true }).last().click();
      await page.getByRole("link", { name: "Edit this feedback" }).click();
      await page.getByLabel("Value, −10 to 10").fill("7");
      await page.getByRole("button", { name: "Review the change" }).click();
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByRole("heading", { name: "Trace plain" }).waitFor();
      assert.equal((await empty.api("GET", `/v1/feedback/${id}`)).value, 7);
      await page.getByRole("link", { name: "Delete this feedback" }).click();
      await page.getByRole("button", { name: "Delete" }).click();
      await page.getByRole("heading", { name: "No feedback on this trace" }).waitFor();
      await page.goto(`${empty.url}/console/prompts`);
      await page.getByRole("heading", { name: "Prompts", level: 1 }).waitFor();
      await page.getByText("local", { exact: true }).first().click();
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.getByText("You are signed out.").waitFor();
    },
  ));
});
