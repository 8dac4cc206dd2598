// The examples that run in a browser or in Node: the chat page with its backend in Python, and assistant-ui's adapter.
//
//     npm ci --prefix examples/assistant-ui --ignore-scripts
//     PYTHON=… npm test --prefix tests/web     # a Python that has PyJWT[crypto]; python3 if not given

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { start } from "./browser.mjs";
import { startChat } from "./chat.mjs";

let hub, folder;
before(async () => {
  hub = await start();
  folder = mkdtempSync(join(tmpdir(), "hindsight-examples-"));
});
after(async () => {
  await hub.close();
  rmSync(folder, { recursive: true });
});
beforeEach(() => hub.reset());

describe("the chat", () => {
  it("has answers whose votes are shown again, changed and retracted", { timeout: 60_000 }, async () => {
    const chat = await startChat(hub, folder);
    const context = await hub.browser.newContext();
    context.setDefaultTimeout(10_000);
    try {
      const page = await hub.open(context, chat.url);
      for (const question of ["How long is the warranty?", "<b>Returns?</b>"]) {
        await page.getByRole("textbox", { name: "Your question" }).fill(question);
        await page.getByRole("button", { name: "Ask" }).click();
        await page.getByText(question).waitFor();
      }
      const second = page.locator("hindsight-vote").nth(1);
      await second.getByRole("button", { name: "Bad answer" }).click();
      await second.getByRole("button", { name: "too long" }).click();
      await second.getByRole("status").filter({ hasText: "Thank you" }).waitFor();
      const visit = (await context.cookies()).find(({ name }) => name === "visit").value;
      const stored = () => hub.stored({ sub: `person-${visit}`, trace: `conv-${visit}:3` });
      assert.deepEqual([(await stored()).value, (await stored()).reasons], [-1, ["too long"]]);
      await page.reload();
      await second.getByRole("button", { name: "Bad answer", pressed: true }).waitFor();
      await page.locator("hindsight-vote").first().getByRole("button", { name: "Good answer", pressed: false }).waitFor();
      assert.equal(hub.way.requests.filter(({ method }) => method === "POST").at(-1).body.targets.length, 2);
      await second.getByRole("button", { name: "Bad answer" }).click();
      await second.getByRole("status").filter({ hasText: "Vote removed" }).waitFor();
      assert.equal(await stored(), null);
      assert.deepEqual(page.problems, []);
    } finally {
      await context.close();
      await chat.stop();
    }
  });
});

describe("assistant-ui's adapter", () => {
  it("casts and changes a vote, and tells of one that is refused", async () => {
    const example = fileURLToPath(new URL("../../examples/assistant-ui", import.meta.url));
    const tsc = join(example, "node_modules/typescript/bin/tsc");
    execFileSync(process.execPath, [tsc, "--project", example, "--noEmit", "false", "--outDir", folder], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    const { hindsightFeedback } = await import(pathToFileURL(join(folder, "feedback.js")));
    const prefix = `${hub.newTrace()}:`;
    const errors = [];
    let settled;
    const adapter = hindsightFeedback({
      src: hub.way.url,
      token: async () => hub.token({ trace: undefined, trace_prefix: prefix, comment: true }),
      onError: (error) => {
        errors.push(error.message);
        settled();
      },
    });
    const message = (id, custom = {}) => ({ id, metadata: { custom } });
    adapter.submit({ message: message(`${prefix}1`), type: "positive" });
    adapter.submit({ message: message(`${prefix}1`), type: "negative", comment: "No." });
    adapter.submit({ message: message("m-2", { trace: `${prefix}2` }), type: "positive" });
    const refused = new Promise((done) => (settled = done));
    adapter.submit({ message: message("elsewhere"), type: "positive" });
    await refused;
    const first = await hub.stored({ trace: `${prefix}1` });
    assert.deepEqual([first.value, first.comment, first.version], [-1, "No.", 2]);
    assert.equal((await hub.stored({ trace: `${prefix}2` })).value, 1);
    assert.equal(errors.length, 1);
    assert.match(errors[0], /403.*trace_prefix/);
  });
});
