// A stand-in for the vote routes, in memory: what the contract says of vote tokens, votes and their answers. The
// tests of the page use it where no service is given (see service.mjs).

import { generateKeyPairSync, randomUUID, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";

const WORKSPACE = "default";
const CLAIMS = new Set([
  "aud", "sub", "trace", "traces", "trace_prefix", "span", "project", "name", "scale", "weight", "comment", "reasons",
  "metadata", "iat", "exp", "nbf", "iss", "jti",
]);
const SCRIPT = readFileSync(new URL("../../web/hindsight-vote.min.js", import.meta.url));

class Refusal extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}
const unauthorized = (message) => new Refusal(401, "unauthorized", message);
const forbidden = (message) => new Refusal(403, "forbidden", message);
const invalid = (message) => new Refusal(400, "invalid", message);
const is = {
  string: (value) => typeof value === "string",
  text: (value, most) => is.string(value) && Buffer.byteLength(value) >= 1 && Buffer.byteLength(value) <= most,
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
};

/** The claims of a token, once it is known to be genuine, in force and well formed. */
function opened(authorization, keys) {
  const token = /^Bearer (\S+)$/.exec(authorization ?? "")?.[1];
  if (!token) throw unauthorized("authorization: expected a vote token, got none");
  if (Buffer.byteLength(token) > 8192) throw unauthorized("token: expected at most 8 KiB");
  const parts = token.split(".");
  let header, claims;
  try {
    [header, claims] = parts.slice(0, 2).map((part) => JSON.parse(Buffer.from(part, "base64url")));
  } catch {
    throw unauthorized("token: expected a JWT");
  }
  if (!["EdDSA", "Ed25519"].includes(header.alg)) throw unauthorized(`alg: expected EdDSA, got ${header.alg}`);
  if ("crit" in header) throw unauthorized("crit: not supported");
  const key = keys.get(header.kid);
  const signed = Buffer.from(parts.slice(0, 2).join("."));
  if (!key || parts.length !== 3 || !verify(null, signed, key, Buffer.from(parts[2], "base64url"))) {
    throw unauthorized("token: the signature does not fit a key of this workspace");
  }
  const now = Date.now() / 1000;
  if (claims.aud !== WORKSPACE) throw unauthorized("aud: expected the key's workspace");
  if (!is.text(claims.sub, 512)) throw unauthorized("sub: expected a string of 1 to 512 bytes");
  if (!Number.isInteger(claims.iat) || claims.iat > now + 60) throw unauthorized("iat: expected a time that has come");
  if (!Number.isInteger(claims.exp)) throw unauthorized("exp: expected a time in seconds");
  if (claims.exp <= now) throw unauthorized("exp: the token has expired");
  if (claims.exp > claims.iat + 30 * 86400) throw unauthorized("exp: expected at most 30 days after iat");
  if (claims.nbf > now) throw unauthorized("nbf: the token is not valid yet");
  for (const name of Object.keys(claims)) {
    if (!CLAIMS.has(name)) throw unauthorized(`${name}: unknown claim`);
  }
  const reaches = ["trace", "traces", "trace_prefix"].filter((name) => name in claims);
  if (reaches.length !== 1) throw unauthorized("trace: expected one of trace, traces and trace_prefix");
  for (const name of ["_user", "_name"]) {
    if (name in (claims.metadata ?? {})) throw unauthorized(`metadata: ${name} is not allowed in it`);
  }
  if ("trace_prefix" in claims && !/[:/\-_.#]$/.test(claims.trace_prefix)) {
    throw unauthorized("trace_prefix: expected an end in one of : / - _ . #");
  }
  return claims;
}

/** The target that is asked for, once the token is known to reach it. */
function targeted(claims, { trace, span }) {
  if (trace != null && !is.text(trace, 512)) throw invalid("trace: expected a string of 1 to 512 bytes");
  if (span != null && !is.text(span, 128)) throw invalid("span: expected a string of 1 to 128 bytes");
  if ("trace" in claims) {
    if (trace != null && trace !== claims.trace) throw forbidden("trace: the token is for another trace");
    if (span != null && span !== claims.span) throw forbidden("span: the token is for another span");
    return { trace: claims.trace, ...("span" in claims && { span: claims.span }) };
  }
  if (trace == null) throw invalid("trace: required, as the token reaches more than one");
  if ("traces" in claims && !claims.traces.includes(trace)) throw forbidden("traces: the token does not reach it");
  if ("trace_prefix" in claims && !trace.startsWith(claims.trace_prefix)) {
    throw forbidden("trace_prefix: the token does not reach it");
  }
  return { trace, ...(span != null && { span }) };
}

/** The score, comment and reasons of a body, once the token is known to allow them. */
function content(claims, body) {
  const { value, rating, comment, reasons } = body;
  const scale = claims.scale ?? "thumbs";
  const [name, score, fits] =
    scale === "rating"
      ? ["rating", rating, rating >= 1 && rating <= 5]
      : scale === "thumbs"
        ? ["value", value, value === 1 || value === -1]
        : ["value", value, value >= scale.value[0] && value <= scale.value[1]];
  if ((value == null) === (rating == null)) throw invalid("value: expected either value or rating");
  if (score == null) throw forbidden(`scale: the token allows a ${name}`);
  if (!Number.isInteger(score)) throw invalid(`${name}: expected an integer, got ${JSON.stringify(score)}`);
  if (!fits) throw forbidden(`scale: the token does not allow the ${name} ${score}`);
  const vote = { [name]: score };
  if (comment != null) {
    if (!is.string(comment)) throw invalid("comment: expected a string");
    if (Buffer.byteLength(comment) > 16384) throw new Refusal(413, "too_large", "comment: expected at most 16 KiB");
    if (claims.comment !== true) throw forbidden("comment: the token allows none");
    vote.comment = comment;
  }
  if (reasons != null) {
    if (!Array.isArray(reasons) || reasons.length > 8 || !reasons.every((reason) => is.text(reason, 64))) {
      throw invalid("reasons: expected up to 8 strings of 1 to 64 bytes");
    }
    const other = reasons.find((reason) => !claims.reasons?.includes(reason));
    if (other !== undefined) throw forbidden(`reasons: the token does not allow ${JSON.stringify(other)}`);
    if (reasons.length > 0) vote.reasons = [...new Set(reasons)];
  }
  return vote;
}

/** Starts it. `sign` makes a token of claims; what is missing of `aud`, `sub`, `iat` and `exp` is filled in. */
export async function start() {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const kid = "stand-in";
  const keys = new Map([[kid, publicKey]]);
  const votes = new Map();

  const keyOf = (claims, { trace, span }) => JSON.stringify([trace, span, claims.name ?? "", claims.sub]);

  function answer(method, url, headers, text) {
    if (method === "GET" && /^\/v1\/vote\.js(\/[\w.-]+)?$/.test(url.pathname)) {
      const age = url.pathname === "/v1/vote.js" ? "public, max-age=3600" : "public, max-age=31536000, immutable";
      return {
        body: SCRIPT,
        // For every origin: a browser keeps one copy, whether a page asked for it with or without CORS.
        headers: { "content-type": "text/javascript; charset=utf-8", "cache-control": age, "access-control-allow-origin": "*" },
      };
    }
    const route = `${method} ${url.pathname}`;
    if (!["PUT /v1/vote", "DELETE /v1/vote", "GET /v1/vote", "POST /v1/votes/read"].includes(route)) {
      return { status: 404, body: { message: "Not Found" } };
    }
    const claims = opened(headers.authorization, keys);
    let body = Object.fromEntries(url.searchParams);
    if (method === "PUT" || method === "POST") {
      try {
        body = JSON.parse(text);
      } catch {
        throw invalid("body: expected JSON");
      }
      if (!is.object(body)) throw invalid("body: expected a JSON object");
    }
    if (method === "POST") {
      const { targets } = body;
      if (!Array.isArray(targets) || targets.length < 1 || targets.length > 100 || !targets.every(is.object)) {
        throw invalid("targets: expected 1 to 100 objects");
      }
      return { body: { data: targets.map((target) => votes.get(keyOf(claims, targeted(claims, target))) ?? null) } };
    }
    const target = targeted(claims, body);
    const key = keyOf(claims, target);
    const before = votes.get(key);
    if (method === "PUT") {
      const vote = content(claims, body);
      votes.set(key, { id: before?.id ?? randomUUID(), version: (before?.version ?? 0) + 1, ...target, ...vote });
      return { body: { data: votes.get(key) } };
    }
    if (!before) throw new Refusal(404, "not_found", "there is no such vote");
    if (method === "DELETE") votes.delete(key);
    return { body: { data: before } };
  }

  const server = http.createServer(async (request, response) => {
    const cors = request.headers.origin
      ? { "access-control-allow-origin": request.headers.origin, "access-control-expose-headers": "etag, retry-after" }
      : {};
    if (request.method === "OPTIONS") {
      response.writeHead(204, {
        ...cors,
        "access-control-allow-methods": "GET, POST, PUT, DELETE",
        "access-control-allow-headers": request.headers["access-control-request-headers"] ?? "",
        "access-control-max-age": "600",
      });
      response.end();
      return;
    }
    let text = "";
    for await (const chunk of request) text += chunk;
    let result;
    try {
      result = answer(request.method, new URL(request.url, "http://stand-in"), request.headers, text);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      result = { status: error.status, body: { error: { code: error.code, message: error.message } } };
    }
    const { status = 200, body, headers = { "content-type": "application/json" } } = result;
    response.writeHead(status, { ...cors, ...headers });
    response.end(Buffer.isBuffer(body) ? body : JSON.stringify(body));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));

  return {
    url: `http://127.0.0.1:${server.address().port}`,
    key: { kid, privateKey, workspace: WORKSPACE },
    close: () => server.close(),
  };
}
