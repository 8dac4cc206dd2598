// The service that the tests of the page talk to: `{ url, key, close }`.
//
// It is the stand-in, or a running Hindsight with
//
//     HINDSIGHT_URL        its base URL, without /v1
//     HINDSIGHT_VOTE_KEY   a file with the private key of scope `vote`: a JWK with its `kid`
//     HINDSIGHT_WORKSPACE  the key's workspace, `default` if not given

import { createPrivateKey, sign as signature } from "node:crypto";
import { readFileSync } from "node:fs";

import { start } from "./stand_in.mjs";

export async function service() {
  const { HINDSIGHT_URL, HINDSIGHT_VOTE_KEY, HINDSIGHT_WORKSPACE = "default" } = process.env;
  if (!HINDSIGHT_URL) return start();
  if (!HINDSIGHT_VOTE_KEY) throw new Error("HINDSIGHT_VOTE_KEY: expected the file of a vote key beside HINDSIGHT_URL");
  const jwk = JSON.parse(readFileSync(HINDSIGHT_VOTE_KEY, "utf8"));
  const privateKey = createPrivateKey({ key: jwk, format: "jwk" });
  return {
    url: HINDSIGHT_URL.replace(/\/$/, ""),
    key: { kid: jwk.kid, privateKey, workspace: HINDSIGHT_WORKSPACE },
    close: () => {},
  };
}

/** A vote token. `aud`, `iat` and `exp` (in an hour) are filled in where `claims` does not say. */
export function sign({ kid, privateKey, workspace }, claims) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const head = part({ alg: "EdDSA", kid, typ: "JWT" });
  const body = part({ aud: workspace, iat: now, exp: now + 3600, ...claims });
  return `${head}.${body}.${signature(null, Buffer.from(`${head}.${body}`), privateKey).toString("base64url")}`;
}
