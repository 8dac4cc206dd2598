// The service that the tests of the page talk to: `{ url, key, apiKey, close }`.
//
// It is a server that is started for them, or a running Hindsight with
//
//     HINDSIGHT_URL        its base URL, without /v1
//     HINDSIGHT_KEY        an API key that reads
//     HINDSIGHT_VOTE_KEY   a file with the output of `keys create --scope vote --json`, for the same workspace

import { createPrivateKey, sign as signature } from "node:crypto";
import { readFileSync } from "node:fs";

import { startServer } from "./server.mjs";

export async function service() {
  const { HINDSIGHT_URL, HINDSIGHT_KEY, HINDSIGHT_VOTE_KEY } = process.env;
  if (HINDSIGHT_URL) {
    for (const [name, value] of Object.entries({ HINDSIGHT_KEY, HINDSIGHT_VOTE_KEY })) {
      if (!value) throw new Error(`${name}: missing, expected beside HINDSIGHT_URL`);
    }
    const key = signer(JSON.parse(readFileSync(HINDSIGHT_VOTE_KEY, "utf8")));
    return { url: HINDSIGHT_URL.replace(/\/$/, ""), key, apiKey: HINDSIGHT_KEY, close: () => {} };
  }
  const server = await startServer();
  const made = await server.command("keys", "create", "--scope", "vote", "--workspace", "local", "--name", "web");
  return { url: server.url, key: signer(made), apiKey: server.apiKey, close: server.close };
}

/** What signs by a key that `keys create` made. */
function signer({ workspace, jwk }) {
  return { kid: jwk.kid, privateKey: createPrivateKey({ key: jwk, format: "jwk" }), workspace, jwk };
}

/** A vote token. `aud`, `iat` and `exp` (in an hour) are filled in where `claims` does not say. */
export function sign({ kid, privateKey, workspace }, claims) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const head = part({ alg: "EdDSA", kid, typ: "JWT" });
  const body = part({ aud: workspace, iat: now, exp: now + 3600, ...claims });
  return `${head}.${body}.${signature(null, Buffer.from(`${head}.${body}`), privateKey).toString("base64url")}`;
}
