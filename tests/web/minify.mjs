// Makes web/hindsight-vote.min.js, which is what the service serves, and writes its hash into docs/votes.md.

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";

import { minify } from "terser";

const file = (path) => new URL(`../../${path}`, import.meta.url);

const { code } = await minify(readFileSync(file("web/hindsight-vote.js"), "utf8"), { module: true });
writeFileSync(file("web/hindsight-vote.min.js"), code);

const [, version] = /^version = "(.+)"$/m.exec(readFileSync(file("Cargo.toml"), "utf8"));
const hash = `sha384-${createHash("sha384").update(code).digest("base64")}`;
const row = new RegExp(`^(\\| ${version.replaceAll(".", "\\.")} \\| \`)sha384-[^\`]+`, "m");
const page = readFileSync(file("docs/votes.md"), "utf8");
writeFileSync(
  file("docs/votes.md"),
  page.replace(row, `$1${hash}`).replace(/(integrity=")sha384-[^"]+/, `$1${hash}`),
);
