// What somebody may write into feedback, a key's name or an address to attack who looks at it. Nothing of it may run,
// load, or become an element; and the text is shown as it is.

import assert from "node:assert/strict";
import { after, before, it } from "node:test";

import { parse } from "../web/csv.mjs";
import { start } from "./console.mjs";

/** Texts that break out of a text, an attribute, a style, a script, an SVG, a comment, or a URL. */
const TEXTS = [
  "<script>alert(1)</script>",
  "\"'><img src=x onerror=alert(1)>",
  "</title></style></textarea></script><svg onload=alert(1)>",
  "' onfocus=alert(1) autofocus x='",
  "javascript:alert(1)",
  "--><iframe srcdoc='<script>parent.alert(1)</script>'>",
  "{{ 7 * 7 }}${7*7}<%= 7 * 7 %>",
  "]]><![CDATA[<a xlink:href=javascript:alert(1)>",
  "<meta http-equiv=refresh content=0;url=//evil.example>",
  "<base href=//evil.example><form action=//evil.example><button>Go</button>",
];
const FORMULAS = ["=HYPERLINK(\"http://evil.example\",\"Look\")", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1+1)", "\t=1+1", "\r=1+1"];
const FIELDS = ["_user", "_session", "_organisation", "_environment", "_prompt", "_model", "_name"];

let hub, evil;
before(async () => {
  // Whoever looks may have a name like this, too.
  hub = await start();
  evil = await hub.key("admin", TEXTS[1]);
  for (const text of TEXTS) {
    const everything = Object.fromEntries([...FIELDS, "_input", "_output", "_correction", text].map((name) => [name, text]));
    const headers = { authorization: `Bearer ${evil.key}`, "content-type": "application/json" };
    const send = async (path, body) => {
      const answer = await fetch(hub.url + path, { method: "POST", headers, body: JSON.stringify(body) });
      assert.equal(answer.status, 200, await answer.text());
    };
    await send("/v1/feedback", { trace_id: text, value: -1, comment: text, reasons: [text.slice(0, 64)], metadata: everything });
    await send("/v1/feedback", { trace_id: text, value: 1, metadata: { ...everything, comment: text } });
    await send("/api/svc/v1/gateway-feedback", {
      target: { traceId: text, spanId: text, tracingProjectFQN: text },
      rating: 1,
      comment: text,
      metadata: everything,
    });
  }
});
after(() => hub.close());
const inBrowser = (options, test) => () => hub.test(options, test, 240_000)();

/** Checks that the page has no element and no attribute but its own, and that nothing ran. */
async function harmless(page, what) {
  const found = await page.evaluate(() => {
    const own = (node) => {
      const href = node.getAttribute("href") ?? node.getAttribute("action") ?? "";
      return new URL(href, location.href).origin === location.origin || node.rel === "icon";
    };
    return [
      ...document.querySelectorAll("img, iframe, object, embed, base, body meta, head meta[http-equiv], [style], [srcdoc]"),
      ...[...document.querySelectorAll("*")].filter((node) => [...node.attributes].some(({ name }) => name.startsWith("on"))),
      ...[...document.querySelectorAll("[href], [action], [formaction]")].filter((node) => !own(node)),
      ...[...document.querySelectorAll("script")].slice(1),
    ].map((node) => node.outerHTML.slice(0, 200));
  });
  assert.deepEqual(found, [], what);
  assert.deepEqual(page.problems, [], what);
}

it("the list, the trace, the forms and the span's JSON show every text as it is", inBrowser({}, async (context) => {
  const page = await hub.signedIn(context, "/console", evil.key);
  for (const path of ["/console/feedback", "/console", "/console/prompts"]) {
    await page.goto(hub.url + path);
    await harmless(page, path);
    assert.equal(await page.locator(".menu dd").nth(1).textContent(), TEXTS[1]);
  }
  for (const text of TEXTS) {
    const query = new URLSearchParams({ trace_id: text });
    await page.goto(`${hub.url}/console/trace?${query}`);
    await harmless(page, text);
    assert.equal(await page.locator("h1 .id").textContent(), text);
    assert.deepEqual(await page.locator("article .remark").allTextContents(), [text, text, text]);
    assert.deepEqual(await page.locator("article .chip").allTextContents(), [text.slice(0, 64)]);
    for (const said of await page.locator("dl.said dd").allTextContents()) assert.equal(said.trim(), text);
    const ids = await page.getByRole("article").evaluateAll((nodes) => nodes.map(({ id }) => id.replace(/^r-/, "")));
    assert.equal(ids.length, 3);
    for (const path of ["edit", "delete"]) {
      await page.goto(`${hub.url}/console/${path}?id=${ids[0]}`);
      await harmless(page, `${path}: ${text}`);
    }
    await page.goto(`${hub.url}/console/edit?id=${ids[0]}`);
    assert.equal(await page.getByLabel("Comment", { exact: true }).inputValue(), text);
    await page.getByLabel("Comment", { exact: true }).fill(`${text} and more`);
    await page.getByRole("button", { name: "Review the change" }).click();
    await page.getByRole("heading", { name: "Save these changes?" }).waitFor();
    await harmless(page, `review: ${text}`);
    const json = await page.goto(`${hub.url}/console/span.json?${new URLSearchParams({ trace_id: text, span_id: text })}`);
    assert.match(json.headers()["content-type"], /^application\/json/);
    assert.equal((await json.json()).tfyGatewayFeedbacks[0].comment, text);
  }
}));

it("figures, filters and charts show every text as it is", inBrowser({}, async (context) => {
  const page = await hub.signedIn(context, "/console", evil.key);
  while (!(await page.locator(".tile").count()) || (await page.locator(".tile .figure").first().innerText()) !== String(3 * TEXTS.length)) {
    await page.reload();
  }
  await harmless(page, "overview");
  for (const text of TEXTS) {
    for (const field of FIELDS) {
      const query = new URLSearchParams({ [field.slice(1)]: text });
      for (const path of ["", "/prompts", "/feedback"]) {
        if (path && field !== "_prompt") continue;
        await page.goto(`${hub.url}/console${path}?${query}`);
        await harmless(page, `${path} ${query}`);
        const chip = page.getByRole("list", { name: "Active filters" }).getByRole("link");
        assert.ok((await chip.textContent()).includes(text), `${path} ${query}`);
        if (!path) assert.equal(await page.locator(".tile .figure").first().innerText(), "3");
      }
    }
    await page.goto(`${hub.url}/console/prompts?${new URLSearchParams({ compare: text, with: TEXTS[0] })}`);
    await harmless(page, `compare ${text}`);
    assert.equal(await page.locator("section.side h2").first().textContent(), text);
  }
}));

it("an address that is an attack is refused or shown as a text", inBrowser({}, async (context) => {
  const page = await hub.signedIn(context, "/console", evil.key);
  const names = ["range", "from", "to", "model", "user", "cursor", "value_min", "has_comment", "compare", "with", "id", "trace_id", "next"];
  for (const text of TEXTS) {
    for (const path of ["", "/prompts", "/feedback", "/trace", "/edit", "/delete"]) {
      for (const name of [...names, text]) {
        if (TEXTS.indexOf(text) > 2 && name !== "range") continue;
        const answer = await page.goto(`${hub.url}/console${path}?${new URLSearchParams({ [name]: text })}`);
        assert.ok(answer.status() < 500, `${answer.status()} for ${path} ${name} ${text}`);
        await harmless(page, `${path} ${name} ${text}`);
      }
    }
  }
}));

it("a sign-in leads nowhere else", inBrowser({}, async (context) => {
  for (const next of ["//evil.example", "https://evil.example/console", "/console/../v1/feedback", "/console/%2e%2e/health", "javascript:alert(1)", "/console\\@evil.example"]) {
    const page = await hub.open(context, `/console/sign-in?${new URLSearchParams({ next })}`);
    await page.getByLabel("API key").fill(hub.server.apiKey);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { level: 1 }).filter({ hasNotText: "Sign in" }).waitFor();
    assert.equal(page.url(), `${hub.url}/console`, next);
    await harmless(page, next);
    await context.clearCookies();
    await page.close();
  }
}));

it("a page elsewhere cannot frame the console", inBrowser({}, async (context) => {
  const page = await context.newPage();
  await page.setContent(`<iframe src="${hub.url}/console/sign-in"></iframe>`);
  const frame = page.frames()[1];
  assert.equal(await frame.getByLabel("API key").count(), 0);
}));

it("no cell of the CSV is a formula, and it is CSV whatever is in it", async () => {
  for (const text of FORMULAS) {
    await hub.api("POST", "/v1/feedback", { trace_id: text, value: 1, comment: text, reasons: [text], metadata: { _user: text } });
  }
  await hub.test({}, async (context) => {
    await hub.signedIn(context);
    const file = await (await context.request.get(`${hub.url}/console/feedback.csv?range=24h`)).text();
    const [head, ...rows] = parse(file);
    assert.equal(rows.length, 3 * TEXTS.length + FORMULAS.length);
    for (const row of rows) {
      for (const [n, cell] of row.entries()) {
        assert.ok(!/^[=+@\t\r]/.test(cell) && (!cell.startsWith("-") || /^-?\d+$/.test(cell) && head[n] === "value"), `${head[n]}: ${cell}`);
      }
    }
    const column = (name) => rows.map((row) => row[head.indexOf(name)]);
    for (const name of ["trace_id", "comment", "user", "reasons"]) {
      for (const text of FORMULAS) assert.ok(column(name).includes(`'${text}`), `${name}: ${text}`);
    }
    for (const text of TEXTS) {
      const cell = text.startsWith("-") ? `'${text}` : text;
      assert.equal(column("comment").filter((other) => other === cell).length, 3, text);
    }
  })();
});
