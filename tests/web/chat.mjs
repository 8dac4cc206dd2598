// examples/chat as a process, against the service of the tests.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Starts it with these options and environment, on a port of its own. */
export async function startChat(hindsight, options, env = {}) {
  const server = fileURLToPath(new URL("../../examples/chat/server.js", import.meta.url));
  const command = [server, "--hindsight", hindsight, "--port", "0", ...options];
  const child = spawn(process.execPath, command, { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...env } });
  const exited = once(child, "exit");
  const line = await Promise.race([
    once(createInterface(child.stdout), "line").then(([text]) => text),
    exited.then(([status]) => {
      throw new Error(`the chat ended with ${status}`);
    }),
  ]);
  return {
    url: `${/http:\S+/.exec(line)[0]}/`,
    stop: async () => {
      child.kill();
      await exited;
    },
  };
}

/** Writes the vote key of the tests to a file of `folder`, in the form that the chat takes. */
export function chatKey({ workspace, jwk }, folder) {
  const file = join(folder, "chat-key.json");
  writeFileSync(file, JSON.stringify({ workspace, jwk }), { mode: 0o600 });
  return file;
}
