// The examples that run in a browser or in Node: the chat page with its backend, and assistant-ui's adapter. And the
// commands and programs of docs/votes.md.
//
//     npm ci --prefix examples/chat
//     npm ci --prefix examples/assistant-ui --ignore-scripts
//     PYTHON=… npm test --prefix tests/web     # a Python that has PyJWT[crypto]; python3 if not given

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";

import { start } from "./browser.mjs";
import { chatKey, startChat } from "./chat.mjs";
import { BINARY, startServer } from "./server.mjs";

// Not the synchronous one, since the way to the service is in this process.
const run = promisify(execFile);

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

/** What a route of the service answers to the API key. */
async function ask(path) {
  const headers = { "x-portkey-api-key": hub.service.apiKey };
  const response = await fetch(`${hub.service.url}/v1/${path}`, { headers });
  assert.equal(response.status, 200, await response.clone().text());
  return response.json();
}

/** The scores of a trace by analytics, each with its number of votes. */
async function scores(trace) {
  const day = (ms) => new Date(Date.now() + ms).toISOString();
  const range = { time_of_generation_min: day(-86_400_000), time_of_generation_max: day(86_400_000), trace_id: trace };
  const { data_points } = await ask(`analytics/graphs/feedbacks/scores?${new URLSearchParams(range)}`);
  return data_points.filter(({ total }) => total > 0).map(({ score, total }) => [score, total]);
}

describe("the chat", () => {
  it("has answers whose votes are shown again, changed and retracted", { timeout: 60_000 }, async () => {
    const chat = await startChat(hub.way.url, ["--key", chatKey(hub.service.key, folder)]);
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
      const [record] = (await ask(`feedback?user=person-${visit}`)).data;
      assert.deepEqual([record.trace_id, record.value, record.reasons], [`conv-${visit}:3`, -1, ["too long"]]);
      assert.equal(record.metadata._session, `conv-${visit}`);
      assert.deepEqual(await scores(`conv-${visit}:3`), [[-1, 1]]);
      await second.getByRole("button", { name: "Good answer" }).click();
      await second.getByRole("status").filter({ hasText: "Thank you" }).waitFor();
      assert.deepEqual(await scores(`conv-${visit}:3`), [[1, 1]]);
      await page.reload();
      await second.getByRole("button", { name: "Good answer", pressed: true }).waitFor();
      await page.locator("hindsight-vote").first().getByRole("button", { name: "Good answer", pressed: false }).waitFor();
      assert.equal(hub.way.requests.filter(({ method }) => method === "POST").at(-1).body.targets.length, 2);
      await second.getByRole("button", { name: "Good answer" }).click();
      await second.getByRole("status").filter({ hasText: "Vote removed" }).waitFor();
      assert.equal(await stored(), null);
      assert.deepEqual(await scores(`conv-${visit}:3`), []);
      assert.deepEqual(page.problems, []);
    } finally {
      await context.close();
      await chat.stop();
    }
  });

  it("makes its key with its first start, and keeps it", { timeout: 60_000 }, async () => {
    const server = await startServer();
    try {
      const tools = mkdtempSync(join(folder, "tools-"));
      // `cargo run` without a build, for a binary that is there.
      const cargo = '#!/bin/sh\n[ "$1 $2 $3" = "run --quiet --" ] && shift 3 && exec "$HINDSIGHT_BIN" "$@"\n';
      writeFileSync(join(tools, "cargo"), cargo, { mode: 0o700 });
      const env = { PATH: `${tools}:${process.env.PATH}`, HINDSIGHT_BIN: BINARY };
      const ids = [];
      for (const start of [1, 2]) {
        const chat = await startChat(server.url, ["--data-dir", server.folder], env);
        try {
          const headers = { cookie: `visit=v${start}` };
          const { token } = await (await fetch(`${chat.url}token`, { method: "POST", headers })).json();
          ids.push(JSON.parse(Buffer.from(token.split(".")[0], "base64url")).kid);
          const cast = await fetch(`${server.url}/v1/vote`, {
            method: "PUT",
            headers: { authorization: `Bearer ${token}` },
            body: JSON.stringify({ trace: `conv-v${start}:1`, value: 1 }),
          });
          assert.equal(cast.status, 200, await cast.clone().text());
          assert.equal((await fetch(`${chat.url}chat`, { method: "POST", body: "{" })).status, 400);
          assert.equal((await fetch(`${chat.url}elsewhere`)).status, 404);
        } finally {
          await chat.stop();
        }
      }
      assert.equal(ids[0], ids[1]);
      assert.equal((await server.command("keys", "list")).filter(({ scopes }) => scopes.includes("vote")).length, 1);
      assert.equal(statSync(join(server.folder, "chat-key.json")).mode & 0o777, 0o600);
    } finally {
      await server.close();
    }
  });
});

describe("assistant-ui's adapter", () => {
  it("casts and changes a vote, and tells of one that is refused", async () => {
    const example = fileURLToPath(new URL("../../examples/assistant-ui", import.meta.url));
    const tsc = join(example, "node_modules/typescript/bin/tsc");
    await run(process.execPath, [tsc, "--project", example, "--noEmit", "false", "--outDir", folder]);
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

describe("docs/votes.md", () => {
  const page = readFileSync(new URL("../../docs/votes.md", import.meta.url), "utf8");
  /** The first code block of a language after a heading. */
  const sample = (heading, language) => {
    const section = page.slice(page.indexOf(`\n${heading}\n`));
    return new RegExp("^```" + language + "\\n(.*?)^```$", "ms").exec(section)[1];
  };

  for (const [language, name, command] of [
    ["python", "sample.py", process.env.PYTHON ?? "python3"],
    ["js", "sample.mjs", process.execPath],
  ]) {
    it(`has a sample in ${name.split(".")[1]} whose token votes`, async () => {
      const place = mkdtempSync(join(folder, "sample-"));
      const pem = hub.service.key.privateKey.export({ type: "pkcs8", format: "pem" });
      writeFileSync(join(place, "chat.pem"), pem, { mode: 0o600 });
      symlinkSync(fileURLToPath(new URL("node_modules", import.meta.url)), join(place, "node_modules"));
      const text = sample("### 2. Sign a token in your backend", language);
      writeFileSync(join(place, name), text.replaceAll('"local"', JSON.stringify(hub.service.key.workspace)));
      const env = { ...process.env, HINDSIGHT_KEY_ID: hub.service.key.kid };
      const token = (await run(command, [name], { cwd: place, env })).stdout.trim();
      const response = await fetch(`${hub.way.url}/v1/vote`, {
        method: "PUT",
        headers: { authorization: `Bearer ${token}` },
        body: JSON.stringify({ trace: "conv-1:1", value: 1, comment: "Yes.", reasons: ["wrong"] }),
      });
      assert.equal(response.status, 200, await response.clone().text());
      assert.equal((await hub.stored({ sub: "fef653", trace: "conv-1:1" })).comment, "Yes.");
    });
  }

  it("has calls without the element that work", async () => {
    const script = sample("## Vote without the element", "sh").replace("http://127.0.0.1:8787", hub.way.url);
    const token = hub.token({ sub: "curl", trace: undefined, trace_prefix: "conv-1:", reasons: ["wrong"] });
    const { stdout } = await run("bash", ["-euc", script], { env: { ...process.env, TOKEN: token } });
    const [put, got, read, gone] = stdout.trim().split("\n").map((line) => JSON.parse(line).data);
    assert.deepEqual([put.value, put.reasons, put.trace], [-1, ["wrong"], "conv-1:1"]);
    assert.deepEqual(got, put);
    assert.deepEqual(read, [put, null]);
    assert.deepEqual(gone, put);
  });
});
