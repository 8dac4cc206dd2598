// The pages of records: the list, CSV, a trace, and changing and deleting.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";

import { parse } from "../web/csv.mjs";
import { start } from "./console.mjs";
import { COMMENTS, seed, TOTAL } from "./data.mjs";

let hub;
before(async () => {
  hub = await start();
});
after(() => hub.close());
const inBrowser = (options, test) => () => hub.test(options, test)();

const records = (page) => page.getByRole("article");
const traces = async (page) => (await page.locator("article a.mono").allInnerTexts()).map((text) => text.replace("trace-", ""));
const record = (page, trace) => records(page).filter({ has: page.getByRole("link", { name: trace, exact: true }) });
const chip = (page, text) => page.getByRole("list", { name: "Active filters" }).getByRole("link", { name: text });
const open = (page) => page.getByText(/^Filter/).first().click();
const download = async (page, press) => {
  const [file] = await Promise.all([page.waitForEvent("download"), press()]);
  return { name: file.suggestedFilename(), text: readFileSync(await file.path(), "utf8") };
};

describe("without feedback", () => {
  it("the list says what to do", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context, "/console/feedback");
    await page.getByRole("heading", { name: /^No feedback in/ }).waitFor();
    assert.match(await page.locator("pre").innerText(), /^curl .*\/v1\/feedback/);
    assert.equal(await page.getByRole("link", { name: "Download CSV" }).count(), 0);
    await page.goto(`${hub.url}/console/feedback?user=nobody`);
    await page.getByRole("heading", { name: "No feedback matches" }).waitFor();
    assert.deepEqual(page.problems, []);
  }));

  it("a trace has none, and can be looked for", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context, "/console/trace");
    await page.getByLabel("Trace id").fill("nothing here & there");
    await page.getByRole("button").filter({ hasText: "Show" }).click();
    await page.getByRole("heading", { name: "No feedback on this trace" }).waitFor();
    assert.equal(new URL(page.url()).searchParams.get("trace_id"), "nothing here & there");
    assert.deepEqual(page.problems, []);
  }));

  it("the CSV has its head line", inBrowser({}, async (context) => {
    await hub.signedIn(context);
    const answer = await context.request.get(`${hub.url}/console/feedback.csv`);
    assert.match(answer.headers()["content-type"], /^text\/csv; charset=utf-8/);
    assert.equal(parse(await answer.text()).length, 1);
  }));
});

describe("with feedback", () => {
  before(() => seed(hub));

  it("the list has all of it, newest first", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context, "/console/feedback");
    assert.deepEqual(await traces(page), ["rated", "rated", "rated", "11", "10", "9", "8", "7", "6", "5", "4", "3", "2", "1", "0"]);
    const worst = record(page, "trace-11");
    assert.equal(await worst.locator(".pair").innerText(), "−10: 1");
    assert.equal(await worst.locator(".remark").innerText(), COMMENTS[0]);
    const said = await worst.locator("dl.said > div").allInnerTexts();
    assert.deepEqual(said.map((text) => text.split(/\s*\n\s*/)), [["Input", "Is it covered?"], ["Output", "Perhaps."], ["Correction", "Yes."]]);
    const [five] = await records(page).all();
    assert.match(await five.innerText(), /3 on this trace/);
    assert.match(await record(page, "trace-8").innerText(), /5: 0\.5/);
    assert.match(await worst.innerText(), /Written by\s+cargo run/);
    assert.deepEqual(page.problems, []);
  }));

  for (const [what, fields, expected] of [
    ["a value from and to", { "Value from": "-4", "Value to": "-1" }, ["10", "9", "7"]],
    ["a value from", { "Value from": "5" }, ["8"]],
    ["a rating to", { "Rating to": "4" }, ["rated", "rated"]],
    ["a rating from", { "Rating from": "5" }, ["rated"]],
    ["a reason", { Reason: "too long" }, ["9", "7"]],
    ["a prompt and a user", { Prompt: "refund", User: "user-2" }, ["11", "8"]],
    ["a model", { Model: "large" }, ["11", "10", "9", "8"]],
    ["a session", { Session: "session-1", Prompt: "refund" }, ["11", "9"]],
    ["a name", { Name: "helpful" }, ["8"]],
  ]) {
    it(`the filter by ${what} holds, and each goes again`, inBrowser({}, async (context) => {
      const page = await hub.signedIn(context, "/console/feedback");
      await open(page);
      for (const [label, value] of Object.entries(fields)) await page.getByLabel(label, { exact: true }).fill(value);
      await page.getByRole("button", { name: "Apply" }).click();
      await chip(page, Object.values(fields)[0]).waitFor();
      assert.deepEqual(await traces(page), expected);
      await page.reload();
      assert.deepEqual(await traces(page), expected);
      for (const [label, value] of Object.entries(fields)) {
        const before = page.url();
        await chip(page, `${label} ${value}`).click();
        await page.waitForURL((url) => url.href !== before);
      }
      assert.equal((await traces(page)).length, TOTAL);
      assert.deepEqual(page.problems, []);
    }));
  }

  it("the filter by comments finds what people read as one", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context, "/console/feedback");
    await open(page);
    await page.getByLabel("Comment", { exact: true }).selectOption("with a comment");
    await page.getByRole("button", { name: "Apply" }).click();
    await chip(page, "Comment with one").waitFor();
    assert.deepEqual(await page.locator("article .remark").allInnerTexts(), COMMENTS);
    await page.goto(`${hub.url}/console/feedback?has_comment=false`);
    assert.equal((await traces(page)).length, TOTAL - COMMENTS.length);
  }));

  it("values beside ratings are refused, and the page says so", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context, "/console/feedback");
    const answer = await page.goto(`${hub.url}/console/feedback?value_min=1&rating_min=1`);
    assert.equal(answer.status(), 400);
    assert.match(await page.getByRole("main").innerText(), /rating|value/);
  }));

  it("a field of a record is a filter", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context, "/console/feedback");
    await record(page, "trace-9").getByRole("list", { name: "Fields" }).getByRole("link", { name: "refund" }).click();
    await chip(page, "refund").waitFor();
    assert.deepEqual(await traces(page), ["11", "10", "9", "8"]);
  }));

  it("the CSV has what is filtered, as it was sent", inBrowser({ acceptDownloads: true }, async (context) => {
    const page = await hub.signedIn(context, "/console/feedback?prompt=refund");
    const { name, text } = await download(page, () => page.getByRole("link", { name: "Download CSV" }).click());
    assert.equal(name, "feedback.csv");
    const [head, ...rows] = parse(text);
    const all = rows.map((row) => Object.fromEntries(head.map((column, n) => [column, row[n]])));
    assert.deepEqual(all.map(({ trace_id, value, weight, comment, reasons }) => [trace_id, value, weight, comment, reasons]), [
      ["trace-11", "-10", "1", COMMENTS[0], ""],
      ["trace-10", "-4", "1", COMMENTS[1], "wrong"],
      ["trace-9", "-1", "1", "", "wrong; too long"],
      ["trace-8", "5", "0.5", COMMENTS[2], ""],
    ]);
    assert.deepEqual(all.map(({ prompt, model, written_by_name }) => [prompt, model, written_by_name]), Array(4).fill(["refund", "large", "cargo run"]));
    assert.equal(JSON.parse(all[0].metadata)._correction, "Yes.");
    const listed = await hub.api("GET", "/v1/feedback?prompt=refund");
    assert.deepEqual(all.map(({ id }) => id), listed.data.map(({ id }) => id));
  }));

  it("a trace has its spans, and their raw data under TrueFoundry's name", inBrowser({}, async (context) => {
    const page = await hub.signedIn(context, "/console/feedback");
    await records(page).first().getByRole("link", { name: "trace-rated" }).click();
    await page.getByRole("heading", { name: "Trace trace-rated" }).waitFor();
    assert.match(await page.getByRole("main").innerText(), /3 in all: 5 of 5, 4 of 5, 2 of 5/);
    const spans = await page.getByRole("heading", { level: 2 }).allInnerTexts();
    assert.deepEqual(spans.sort(), ["Span span-2", "Span span-4", "Span span-5"]);
    await page.locator("details.raw summary").first().click();
    const shown = JSON.parse(await page.locator("details.raw pre").first().innerText());
    assert.equal(shown.tfyGatewayFeedbacks[0].rating, 2);
    await page.getByRole("link", { name: "span.json" }).first().click();
    const whole = JSON.parse(await page.locator("body").innerText());
    assert.deepEqual(whole.tfyGatewayFeedbacks.map(({ rating }) => rating), [2]);
  }));
});

describe("changing and deleting", () => {
  const cast = async (trace, more = {}) => {
    const { feedback_ids: [id] } = await hub.api("POST", "/v1/feedback", {
      trace_id: trace,
      value: 3,
      comment: "As it was.",
      metadata: { _prompt: "p", other: 1 },
      ...more,
    });
    return { id, trace, stored: () => hub.api("GET", `/v1/feedback/${id}`) };
  };
  const goto = (page, trace) => page.goto(`${hub.url}/console/trace?trace_id=${trace}`);

  it("is confirmed, and then written", inBrowser({}, async (context) => {
    const { id, trace, stored } = await cast("edit-1");
    const page = await hub.signedIn(context);
    await goto(page, trace);
    await page.getByRole("link", { name: "Edit this feedback" }).click();
    await page.getByLabel("Value, −10 to 10").fill("-2");
    await page.getByLabel("Weight, 0 to 1").fill("0.25");
    await page.getByLabel("Comment", { exact: true }).fill("As it should be.\nOn two lines.");
    await page.getByLabel("Reasons, one a line").fill("wrong\ntoo long");
    await page.getByRole("button", { name: "Review the change" }).click();
    await page.getByRole("heading", { name: "Save these changes?" }).waitFor();
    assert.equal((await stored()).version, 1);
    assert.match(await page.locator("dl.changes").innerText(), /As it was\.[^]*As it should be\./);
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("heading", { name: `Trace ${trace}` }).waitFor();
    const record = await stored();
    assert.deepEqual(
      [record.id, record.value, record.weight, record.comment, record.reasons, record.version],
      [id, -2, 0.25, "As it should be.\nOn two lines.", ["wrong", "too long"], 2],
    );
    assert.deepEqual(record.metadata, { _prompt: "p", other: 1 });
    assert.match(await page.getByRole("article").innerText(), /Last written by\s+cargo run/);
    assert.deepEqual(page.problems, []);
  }));

  it("changes metadata and clears a comment", inBrowser({}, async (context) => {
    const { trace, stored } = await cast("edit-2");
    const page = await hub.signedIn(context);
    await goto(page, trace);
    await page.getByRole("link", { name: "Edit this feedback" }).click();
    await page.getByLabel("Comment", { exact: true }).fill("");
    await page.getByLabel("Metadata, a JSON object").fill('{"_prompt": "q"}');
    await page.getByRole("button", { name: "Review the change" }).click();
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("heading", { name: `Trace ${trace}` }).waitFor();
    const record = await stored();
    assert.deepEqual([record.comment, record.metadata, record.value], [null, { _prompt: "q" }, 3]);
  }));

  it("changes a rating", inBrowser({}, async (context) => {
    await hub.api("POST", "/api/svc/v1/gateway-feedback", { target: { traceId: "edit-3", spanId: "s" }, rating: 4 });
    const page = await hub.signedIn(context);
    await goto(page, "edit-3");
    await page.getByRole("link", { name: "Edit this feedback" }).click();
    await page.getByLabel("Rating, 1 to 5").fill("2");
    await page.getByRole("button", { name: "Review the change" }).click();
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("heading", { name: "Trace edit-3" }).waitFor();
    const { data } = await hub.api("GET", "/v1/feedback?trace_id=edit-3");
    assert.deepEqual(data.map(({ rating, span_id }) => [rating, span_id]), [[2, "s"]]);
  }));

  it("names every fault, and writes nothing", inBrowser({}, async (context) => {
    const { trace, stored } = await cast("edit-4");
    const page = await hub.signedIn(context);
    await goto(page, trace);
    await page.getByRole("link", { name: "Edit this feedback" }).click();
    await page.getByLabel("Value, −10 to 10").fill("11");
    await page.getByLabel("Metadata, a JSON object").fill("{");
    await page.getByRole("button", { name: "Review the change" }).click();
    const faults = await page.getByRole("alert").innerText();
    assert.match(faults, /value: expected an integer from -10 to 10, got 11/);
    assert.match(faults, /metadata/);
    assert.equal(await page.getByLabel("Value, −10 to 10").inputValue(), "11");
    assert.equal(await page.getByLabel("Metadata, a JSON object").inputValue(), "{");
    assert.equal((await stored()).version, 1);
    assert.deepEqual(page.problems, []);
  }));

  it("does not write over what somebody wrote in between", inBrowser({}, async (context) => {
    const { id, trace, stored } = await cast("edit-5");
    const page = await hub.signedIn(context);
    await goto(page, trace);
    await page.getByRole("link", { name: "Edit this feedback" }).click();
    await page.getByLabel("Comment", { exact: true }).fill("Mine.");
    await page.getByRole("button", { name: "Review the change" }).click();
    await hub.api("PUT", `/v1/feedback/${id}`, { value: 9, comment: "Theirs." });
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("alert").filter({ hasText: "Nothing was written" }).waitFor();
    assert.deepEqual([(await stored()).comment, (await stored()).version], ["Theirs.", 2]);
  }));

  it("deletes after a confirmation, which can be refused", inBrowser({}, async (context) => {
    const { id, trace, stored } = await cast("delete-1");
    const page = await hub.signedIn(context);
    await goto(page, trace);
    await page.getByRole("link", { name: "Delete this feedback" }).click();
    await page.getByRole("heading", { name: "Delete this feedback?" }).waitFor();
    await page.getByRole("link", { name: "Cancel" }).click();
    await page.getByRole("heading", { name: `Trace ${trace}` }).waitFor();
    assert.equal((await stored()).id, id);
    await page.getByRole("link", { name: "Delete this feedback" }).click();
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("heading", { name: "No feedback on this trace" }).waitFor();
    assert.deepEqual((await hub.api("GET", `/v1/feedback?trace_id=${trace}`)).data, []);
    assert.deepEqual(page.problems, []);
    const gone = await page.goto(`${hub.url}/console/delete?id=${id}`);
    assert.equal(gone.status(), 404);
  }));

  it("does not delete what somebody changed in between", inBrowser({}, async (context) => {
    const { id, trace, stored } = await cast("delete-2");
    const page = await hub.signedIn(context);
    await goto(page, trace);
    await page.getByRole("link", { name: "Delete this feedback" }).click();
    await hub.api("PUT", `/v1/feedback/${id}`, { value: 9 });
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("alert").filter({ hasText: "Nothing was deleted" }).waitFor();
    assert.equal((await stored()).value, 9);
  }));

  it("is not for a key of scope read, not even by its address", inBrowser({}, async (context) => {
    const { id, trace, stored } = await cast("read-only");
    const { key } = await hub.key("read");
    const page = await hub.signedIn(context, "/console", key);
    await goto(page, trace);
    assert.equal(await page.getByRole("link", { name: /Edit|Delete/ }).count(), 0);
    const token = await page.locator('input[name="form_token"]').first().inputValue();
    for (const path of ["edit", "delete"]) {
      assert.equal((await page.goto(`${hub.url}/console/${path}?id=${id}`)).status(), 403);
      const form = { form_token: token, id, version: "1", value: "9", confirmed: "yes" };
      const sent = await context.request.post(`${hub.url}/console/${path}`, { form, headers: { origin: hub.url } });
      assert.equal(sent.status(), 403);
    }
    assert.deepEqual([(await stored()).value, (await stored()).version], [3, 1]);
  }));
});
