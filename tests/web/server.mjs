// `cargo run`'s server as a process, with a database of its own: `cargo build` makes the binary, and HINDSIGHT_BIN
// names another one.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);

export const BINARY = process.env.HINDSIGHT_BIN ?? fileURLToPath(new URL("../../target/debug/hindsight", import.meta.url));

/** What the log has of a request that failed, or of a defect. A refusal is one line of it, and is none. */
const DEFECT = /^.*(panicked at| 5\d\d [0-9.]+ ms$|^failed: |"level":"ERROR").*$/m;

/**
 * Starts it with these options besides a port and a data directory: `{ url, folder, apiKey, log, print, command, close }`.
 * `print` runs an administrative command on its database; `command` also parses the JSON that it prints.
 */
export async function startServer(...options) {
  const folder = mkdtempSync(join(tmpdir(), "hindsight-server-"));
  const file = join(folder, "api-key");
  const place = ["--demo", "--memory"].some((option) => options.includes(option)) ? [] : ["--data-dir", folder];
  const child = spawn(BINARY, [...place, "--port", "0", "--api-key-file", file, ...options], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = once(child, "exit");
  let log = "";
  let heard;
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", (text) => {
      log += text;
      heard?.();
    });
  }
  const listening = (async () => {
    while (!log.includes("curl ")) await new Promise((done) => (heard = done));
    return /^Hindsight is listening on (\S+)$/m.exec(log)[1];
  })();
  const ended = exited.then(([status]) => {
    throw new Error(`the server ended with ${status}: ${log}`);
  });
  const url = await Promise.race([listening, ended]);
  ended.catch(() => {});
  const print = async (...command) => (await run(BINARY, [...command, "--data-dir", folder])).stdout;
  return {
    url,
    folder,
    apiKey: readFileSync(file, "utf8").trim(),
    log: () => log,
    print,
    command: async (...command) => JSON.parse(await print(...command, "--json")),
    close: async () => {
      child.kill();
      await exited;
      rmSync(folder, { recursive: true });
      const defect = DEFECT.exec(log);
      if (defect) throw new Error(`the server failed to answer: ${defect[0]}`);
    },
  };
}
