// examples/chat as a process, against the service of the tests.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Writes the private key of the tests to a file, as PEM. */
export function writeKey(hub, file) {
  writeFileSync(file, hub.service.key.privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
}

/** Starts it with a port of its own; the key's file goes into `folder`. */
export async function startChat(hub, folder) {
  const { kid, workspace } = hub.service.key;
  const key = join(folder, "chat.pem");
  writeKey(hub, key);
  const server = fileURLToPath(new URL("../../examples/chat/server.py", import.meta.url));
  const options = ["--key", key, "--key-id", kid, "--workspace", workspace, "--hindsight", hub.way.url, "--port", "0"];
  const child = spawn(process.env.PYTHON ?? "python3", [server, ...options], { stdio: ["ignore", "pipe", "inherit"] });
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
