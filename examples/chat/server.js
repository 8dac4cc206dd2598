// A chat page whose answers can be voted on, and the backend that signs its vote tokens.
//
//     npm start --prefix examples/chat
//
// The answers are canned: a model is not what this shows.

import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import { join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { importJWK, SignJWT } from "jose";

const FILES = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/chat.js": ["chat.js", "text/javascript; charset=utf-8"],
  "/chat.css": ["chat.css", "text/css; charset=utf-8"],
};
const ANSWERS = [
  "The warranty covers repairs for two years from the day of purchase.",
  "Returns are free within 30 days. The label is in the parcel.",
  "A battery lasts about nine hours of video.",
];
const REASONS = ["wrong", "too long", "off topic"];
const ROOT = fileURLToPath(new URL("../..", import.meta.url));

// What each conversation has said so far, by its id. A visitor's cookie names the conversation.
const conversations = new Map();

const { values: options } = parseArgs({
  options: {
    hindsight: { type: "string", default: "http://127.0.0.1:8787" },
    port: { type: "string", default: "8000" },
    key: { type: "string" },
    "data-dir": { type: "string", default: join(ROOT, ".hindsight") },
  },
});
const hindsight = options.hindsight.replace(/\/$/, "");

/**
 * The vote key, as `keys create --scope vote --json` prints it: from the file that `--key` names, or one that is
 * made for the server of `cargo run` and kept beside its database.
 */
function voteKey() {
  const folder = resolve(options["data-dir"]);
  const file = options.key ?? join(folder, "chat-key.json");
  if (!options.key && !existsSync(file)) {
    const create = ["keys", "create", "--scope", "vote", "--workspace", "local", "--name", "chat", "--json"];
    const command = ["run", "--quiet", "--", ...create, "--data-dir", folder];
    const made = execFileSync("cargo", command, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
    writeFileSync(file, made, { mode: 0o600 });
  }
  return JSON.parse(readFileSync(file, "utf8"));
}
const { workspace, jwk } = voteKey();
const privateKey = await importJWK(jwk, "EdDSA");

/** A token for one person's votes on every answer of one conversation, for an hour. */
const sign = (person, conversation) =>
  new SignJWT({
    aud: workspace,
    sub: person,
    trace_prefix: `${conversation}:`,
    scale: "thumbs",
    comment: true,
    reasons: REASONS,
    metadata: { _session: conversation, _environment: "example" },
  })
    .setProtectedHeader({ alg: "EdDSA", kid: jwk.kid })
    .setIssuedAt()
    .setExpirationTime("1h")
    .sign(privateKey);

/** Adds a question and its answer to a conversation. */
async function ask(request, messages) {
  const { text: question } = JSON.parse(await text(request));
  messages.push(String(question), ANSWERS[(messages.length / 2) % ANSWERS.length]);
}

async function handle(request, response) {
  // Who this is and which conversation it is. With a login, the person would be a pseudonym of the account.
  const visit = /(?:^|; )visit=([\w-]+)/.exec(request.headers.cookie)?.[1] ?? randomBytes(12).toString("base64url");
  const [person, conversation] = [`person-${visit}`, `conv-${visit}`];
  const messages = conversations.get(conversation) ?? [];
  conversations.set(conversation, messages);

  const headers = {
    // Everything else is forbidden to the page.
    "content-security-policy":
      `default-src 'none'; script-src 'self' ${hindsight}; style-src 'self'; connect-src 'self' ${hindsight}`,
    "set-cookie": `visit=${visit}; Path=/; HttpOnly; SameSite=Strict`,
  };
  const answer = (body, type = "application/json") => {
    response.writeHead(200, { ...headers, "content-type": type });
    response.end(body);
  };
  const { method, url } = request;
  if (method === "GET" && url in FILES) {
    const [name, type] = FILES[url];
    answer(readFileSync(new URL(name, import.meta.url), "utf8").replaceAll("{{hindsight}}", hindsight), type);
  } else if (method === "POST" && url === "/token") {
    answer(JSON.stringify({ token: await sign(person, conversation) }));
  } else if (["GET", "POST"].includes(method) && url === "/chat") {
    if (method === "POST") await ask(request, messages);
    answer(JSON.stringify({ conversation, messages }));
  } else {
    response.writeHead(404).end();
  }
}

const server = http.createServer((request, response) => {
  handle(request, response).catch(() => response.writeHead(400).end());
});
server.listen(Number(options.port), "127.0.0.1", () => {
  console.log(`The chat is on http://127.0.0.1:${server.address().port}`);
});
