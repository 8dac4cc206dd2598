// What the vote routes answer, without a browser. Among it are the attacks on a token. Each leaves nothing written.

import assert from "node:assert/strict";
import { createHash, createHmac, createPublicKey, generateKeyPairSync, randomBytes, randomInt, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";

import { service, sign } from "./service.mjs";

let hub;
before(async () => {
  hub = await service();
});
after(() => hub.close());

const newTrace = () => `contract-${randomUUID()}`;
const token = (claims) => sign(hub.key, { sub: "ada", scale: "thumbs", ...claims });
const hour = () => Math.floor(Date.now() / 1000) + 3600;

async function call(method, path, bearer, body) {
  const response = await fetch(`${hub.url}${path}`, {
    method,
    headers: { ...(bearer && { authorization: `Bearer ${bearer}` }), "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  return { status: response.status, ...(await response.json()) };
}
const put = (bearer, body) => call("PUT", "/v1/vote", bearer, body);
const get = (bearer) => call("GET", "/v1/vote", bearer);

/** The vote on a trace that was not written. */
const nothing = async (trace, claims) => assert.equal((await get(token({ ...claims, trace }))).status, 404);

/** Checks that an answer is a short error, of one of these statuses. */
function refused({ status, error, data }, statuses, names) {
  assert.ok(statuses.includes(status), `expected ${statuses}, got ${status}: ${JSON.stringify(error)}`);
  assert.equal(data, undefined);
  assert.equal(typeof error.code, "string");
  assert.equal(typeof error.message, "string");
  if (names) assert.match(error.message, names);
}

describe("votes", () => {
  it("are answered with what the person wrote, and nothing else", async () => {
    const trace = newTrace();
    const bearer = token({ trace, comment: true, reasons: ["wrong"], metadata: { plan: "free" }, weight: 0.5, name: "q" });
    const vote = { value: -1, comment: "No.", reasons: ["wrong", "wrong"] };
    const { status, data } = await put(bearer, vote);
    assert.equal(status, 200);
    const { id, ...rest } = data;
    assert.match(id, /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/);
    assert.deepEqual(rest, { version: 1, trace, value: -1, comment: "No.", reasons: ["wrong"] });
    assert.deepEqual((await get(bearer)).data, data);
  });

  it("are stated whole: what is absent is cleared", async () => {
    const bearer = token({ trace: newTrace(), comment: true, reasons: ["wrong"] });
    const first = await put(bearer, { value: -1, comment: "No.", reasons: ["wrong"] });
    const { data } = await put(bearer, { value: -1 });
    assert.equal(data.comment, undefined);
    assert.equal(data.reasons, undefined);
    assert.equal(data.version, 2);
    assert.equal(data.id, first.data.id);
  });

  it("are retracted once, and a new one is another record", async () => {
    const bearer = token({ trace: newTrace() });
    const first = await put(bearer, { value: 1 });
    assert.equal((await call("DELETE", "/v1/vote", bearer)).status, 200);
    refused(await call("DELETE", "/v1/vote", bearer), [404]);
    refused(await get(bearer), [404]);
    const second = await put(bearer, { value: 1 });
    assert.notEqual(second.data.id, first.data.id);
    assert.equal(second.data.version, 1);
  });

  it("of one question are not those of another", async () => {
    const trace = newTrace();
    await put(token({ trace, name: "helpful" }), { value: 1 });
    await nothing(trace, { name: "accurate" });
    await nothing(trace, {});
  });

  it("are read in the order of the targets, with null where there is none", async () => {
    const prefix = `${newTrace()}:`;
    const bearer = token({ trace_prefix: prefix });
    await put(bearer, { trace: `${prefix}2`, value: 1 });
    await put(bearer, { trace: `${prefix}2`, span: "s", value: -1 });
    const targets = [{ trace: `${prefix}1` }, { trace: `${prefix}2`, span: "s" }, { trace: `${prefix}2` }];
    const { status, data } = await call("POST", "/v1/votes/read", bearer, { targets });
    assert.equal(status, 200);
    assert.deepEqual(data.map((vote) => vote?.value), [undefined, -1, 1]);
    assert.equal(data[0], null);
    assert.deepEqual(data.map((vote) => vote?.span), [undefined, "s", undefined]);
  });

  it("can be read without a target where the token names one", async () => {
    const bearer = token({ trace: newTrace() });
    assert.deepEqual((await call("POST", "/v1/votes/read", bearer, { targets: [{}] })).data, [null]);
    const { data } = await put(bearer, { value: 1 });
    assert.deepEqual((await call("POST", "/v1/votes/read", bearer, { targets: [{}] })).data, [data]);
  });

  it("are read at most 100 at a time", async () => {
    const prefix = `${newTrace()}:`;
    const bearer = token({ trace_prefix: prefix });
    const targets = Array.from({ length: 101 }, (_, n) => ({ trace: `${prefix}${n}` }));
    refused(await call("POST", "/v1/votes/read", bearer, { targets }), [400], /targets/);
    const most = await call("POST", "/v1/votes/read", bearer, { targets: targets.slice(1) });
    assert.deepEqual(most.data, Array(100).fill(null));
  });

  it("need a trace where the token reaches several", async () => {
    const bearer = token({ traces: [newTrace(), newTrace()] });
    refused(await put(bearer, { value: 1 }), [400], /trace/);
    refused(await get(bearer), [400], /trace/);
  });
});

describe("a token does not allow", () => {
  const prefix = "conv-1:";
  for (const [what, claims, body, claim] of [
    ["another trace", {}, { trace: "elsewhere", value: 1 }, /trace/],
    ["a span of its trace", {}, { span: "s", value: 1 }, /span/],
    ["a trace that is not in its list", { trace: undefined, traces: ["a", "b"] }, { trace: "c", value: 1 }, /traces/],
    ["a trace past its prefix", { trace: undefined, trace_prefix: prefix }, { trace: "conv-10:1", value: 1 }, /trace_prefix/],
    ["a trace like its prefix", { trace: undefined, trace_prefix: prefix }, { trace: "CONV-1:1", value: 1 }, /trace_prefix/],
    ["a value beyond a thumb", {}, { value: 2 }, /scale/],
    ["no thumb at all", {}, { value: 0 }, /scale/],
    ["a value beyond its range", { scale: { value: [0, 3] } }, { value: 4 }, /scale/],
    ["stars in place of thumbs", {}, { rating: 5 }, /scale/],
    ["thumbs in place of stars", { scale: "rating" }, { value: 1 }, /scale/],
    ["a comment", {}, { value: 1, comment: "Hello" }, /comment/],
    ["a reason", {}, { value: 1, reasons: ["wrong"] }, /reasons/],
    ["a reason of its own", { reasons: ["wrong"] }, { value: 1, reasons: ["wrong", "rude"] }, /reasons/],
  ]) {
    it(`${what}, and the answer names the claim`, async () => {
      const trace = newTrace();
      refused(await put(token({ trace, ...claims }), body), [403], claim);
      await nothing(trace);
    });
  }
});

describe("a token is refused", () => {
  const parts = (bearer) => bearer.split(".");
  const json = (part) => JSON.parse(Buffer.from(part, "base64url"));
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = () => Math.floor(Date.now() / 1000);

  /** Attacks, each made of a trace. */
  const forged = {
    "that is missing": () => undefined,
    "that is no JWT": () => "x.y",
    "without a signature": (trace) => parts(token({ trace })).slice(0, 2).join(".") + ".",
    "of the algorithm none": (trace) => {
      const [head, body] = parts(token({ trace }));
      return `${part({ ...json(head), alg: "none" })}.${body}.`;
    },
    "of the algorithm none, signed": (trace) => {
      const [head, body, signature] = parts(token({ trace }));
      return `${part({ ...json(head), alg: "none" })}.${body}.${signature}`;
    },
    "of HS256 with the public key as its secret": (trace) => {
      const [head, body] = parts(token({ trace }));
      const signed = `${part({ ...json(head), alg: "HS256" })}.${body}`;
      const secret = createPublicKey(hub.key.privateKey).export({ type: "spki", format: "pem" });
      return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
    },
    "of another key under this key's id": (trace) => {
      const { privateKey } = generateKeyPairSync("ed25519");
      return sign({ ...hub.key, privateKey }, { sub: "ada", scale: "thumbs", trace });
    },
    "of an unknown key": (trace) => sign({ ...hub.key, kid: "unknown" }, { sub: "ada", scale: "thumbs", trace }),
    "whose claims were altered": (trace) => {
      const [head, body, signature] = parts(token({ trace: newTrace() }));
      return `${head}.${part({ ...json(body), trace })}.${signature}`;
    },
    "whose header was altered": (trace) => {
      const [head, body, signature] = parts(token({ trace }));
      return `${part({ ...json(head), typ: "at+jwt" })}.${body}.${signature}`;
    },
    "for another workspace": (trace) => token({ trace, aud: "another" }),
    "that has expired": (trace) => token({ trace, iat: now() - 7200, exp: now() - 3600 }),
    "of the future": (trace) => token({ trace, iat: now() + 600, exp: now() + 3600 }),
    "that is not valid yet": (trace) => token({ trace, nbf: now() + 600 }),
  };
  for (const [what, make] of Object.entries(forged)) {
    it(what, async () => {
      const trace = newTrace();
      const bearer = make(trace);
      for (const answer of [
        await put(bearer, { value: 1 }),
        await get(bearer),
        await call("DELETE", "/v1/vote", bearer),
        await call("POST", "/v1/votes/read", bearer, { targets: [{}] }),
      ]) {
        refused(answer, [401]);
      }
      await nothing(trace);
    });
  }

  for (const [what, claims, names] of [
    ["that expires more than 30 days after it was signed", () => ({ exp: now() + 31 * 86400 }), /exp/],
    ["without an expiry", () => ({ exp: undefined }), /exp/],
    ["without the time it was signed", () => ({ iat: undefined }), /iat/],
    ["without a person", () => ({ sub: undefined }), /sub/],
    ["with an empty person", () => ({ sub: "" }), /sub/],
    ["with a claim that nobody knows", () => ({ admin: true }), /admin/],
    ["with two kinds of target", () => ({ traces: ["a"] }), /trace/],
    ["with an empty prefix", () => ({ trace: undefined, trace_prefix: "" }), /trace_prefix/],
    ["with a prefix that ends anywhere", () => ({ trace: undefined, trace_prefix: "conv-1" }), /trace_prefix/],
    ["whose metadata names a person", () => ({ metadata: { _user: "grace" } }), /_user|metadata/],
    ["whose metadata names a question", () => ({ metadata: { _name: "helpful" } }), /_name|metadata/],
  ]) {
    it(`${what}, by name`, async () => {
      const trace = newTrace();
      refused(await put(token({ trace, ...claims() }), { trace, value: 1 }), [400, 401, 403], names);
      await nothing(trace);
      await nothing(trace, { sub: "grace" });
    });
  }

  it("in the URL", async () => {
    const trace = newTrace();
    const bearer = token({ trace });
    for (const name of ["token", "access_token", "authorization"]) {
      refused(await call("PUT", `/v1/vote?${name}=${bearer}`, undefined, { value: 1 }), [401]);
    }
    await nothing(trace);
  });

  it("10,000 times at random or altered, with no other answer than 401", async () => {
    const trace = newTrace();
    const valid = token({ trace, exp: hour() });
    const [head, body] = parts(valid);
    const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=";
    const altered = (count) => {
      let text = valid;
      for (let n = 0; n < count; n += 1) {
        const place = randomInt(text.length);
        text = text.slice(0, place) + letters[randomInt(letters.length)] + text.slice(place + randomInt(2));
      }
      return text === valid ? valid.slice(1) : text;
    };
    const makers = [
      () => `${head}.${body}.${randomBytes(64).toString("base64url")}`,
      () => `${head}.${randomBytes(40).toString("base64url")}.${randomBytes(64).toString("base64url")}`,
      () => [20, 40, 64].map((length) => randomBytes(length).toString("base64url")).join("."),
      () => randomBytes(30).toString("base64url"),
      () => altered(1),
      () => altered(1 + randomInt(8)),
      () => valid.slice(0, randomInt(1, valid.length)),
    ];
    const seen = new Map();
    let left = 10_000;
    await Promise.all(
      Array.from({ length: 16 }, async () => {
        while (left > 0) {
          left -= 1;
          const { status, error, ...rest } = await put(makers[left % makers.length](), { value: 1 });
          assert.deepEqual([Object.keys(error), error.code, rest], [["code", "message"], "unauthorized", {}]);
          seen.set(status, (seen.get(status) ?? 0) + 1);
        }
      }),
    );
    assert.deepEqual([...seen], [[401, 10_000]]);
    await nothing(trace);
  });
});

it("the element is served in every version that docs/votes.md lists, with its hash", async () => {
  const page = readFileSync(new URL("../../docs/votes.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| ([\d.]+) \| `(sha384-\S+)` \|$/gm)];
  assert.ok(rows.length > 0);
  for (const [, version, hash] of rows) {
    const response = await fetch(`${hub.url}/v1/vote.js/${version}`);
    assert.equal(response.status, 200, version);
    const script = Buffer.from(await response.arrayBuffer());
    assert.equal(`sha384-${createHash("sha384").update(script).digest("base64")}`, hash, version);
  }
});

it("reading writes nothing", async () => {
  const trace = newTrace();
  const bearer = token({ trace });
  await call("GET", `/v1/vote?trace=${trace}&value=1`, bearer);
  await call("POST", "/v1/votes/read", bearer, { targets: [{ trace, value: 1 }], value: 1 });
  await nothing(trace);
});
