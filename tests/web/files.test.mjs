// The element's files: size, the minified copy, types, and what they do outside of a browser.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { it } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { minify } from "terser";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const source = readFileSync(here("../../web/hindsight-vote.js"), "utf8");
const served = readFileSync(here("../../web/hindsight-vote.min.js"), "utf8");

it("the minified copy is what `npm run minify` makes of the source", async () => {
  const { code } = await minify(source, { module: true });
  assert.equal(served, code);
});

it("what is served has at most 4 KB when compressed", () => {
  const size = gzipSync(served, { level: 9 }).length;
  assert.ok(size <= 4096, `${size} bytes`);
});

it("docs/votes.md has the hash of this version", () => {
  const [, version] = /^version = "(.+)"$/m.exec(readFileSync(here("../../Cargo.toml"), "utf8"));
  const hash = `sha384-${createHash("sha384").update(served).digest("base64")}`;
  const page = readFileSync(here("../../docs/votes.md"), "utf8");
  assert.ok(page.includes(`| ${version} | \`${hash}\` |`), `expected the row of ${version} to have ${hash}`);
  assert.ok(page.includes(`integrity="${hash}"`));
});

it("the types fit their use", () => {
  execFileSync(process.execPath, [here("node_modules/typescript/bin/tsc"), "--project", here("types")], {
    stdio: ["ignore", "inherit", "inherit"],
  });
});

it("the script can be imported where there is no browser", async () => {
  await import("../../web/hindsight-vote.js");
  await import("../../web/hindsight-vote.min.js");
  assert.equal(globalThis.customElements, undefined);
});
