// The released Portkey SDK for Node.js against a running server.
//
//     HINDSIGHT_URL=http://127.0.0.1:8787 HINDSIGHT_KEY=hsk_… node --test portkey_node.test.mjs
//
// Everything the SDK stores is read back without it.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import http from "node:http";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Portkey } from "portkey-ai";

// In a developer's environment, these variables would replace what a test omits.
delete process.env.PORTKEY_API_KEY;
delete process.env.PORTKEY_BASE_URL;

const URL = process.env.HINDSIGHT_URL?.replace(/\/$/, "");
const KEY = process.env.HINDSIGHT_KEY;
assert.ok(URL && KEY, "HINDSIGHT_URL and HINDSIGHT_KEY must be set");

const HYPHENATED_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

const client = (options = { apiKey: KEY }) => new Portkey({ baseURL: `${URL}/v1`, ...options });
const portkey = client();

const newTrace = () => `node-${randomUUID()}`;

/** An answer to a GET without the SDK. */
async function get(path) {
  const response = await fetch(`${URL}${path}`, { headers: { "x-portkey-api-key": KEY } });
  assert.equal(response.status, 200, path);
  return response.json();
}

/** The record as it is stored. */
const stored = (id) => get(`/v1/feedback/${id}`);

/** The ids of a trace's records, oldest first, once there are as many as expected. */
async function listed(trace, expected) {
  return (await records(trace, expected)).map((record) => record.id);
}

/** A trace's records, oldest first, once there are as many as expected. */
async function records(trace, expected) {
  for (let attempt = 0; ; attempt += 1) {
    const { data } = await get(`/v1/feedback?order=asc&limit=100&trace_id=${encodeURIComponent(trace)}`);
    if (data.length === expected || attempt === 100) return data;
    await sleep(50);
  }
}

/** The id of a new record, after a look at the whole answer. */
async function created(body) {
  const answer = await portkey.feedback.create(body);
  assert.equal(answer.status, "success");
  assert.equal(answer.message, "Feedback successfully saved");
  assert.equal(answer.feedback_ids.length, 1);
  assert.match(answer.feedback_ids[0], HYPHENATED_V7);
  return answer.feedback_ids[0];
}

/** What a call is refused with. */
async function refused(call) {
  try {
    await call;
  } catch (error) {
    return error;
  }
  return assert.fail("the call must be refused");
}

describe("create", () => {
  it("stores a thumbs up with the defaults", async () => {
    const trace = newTrace();
    const id = await created({ traceID: trace, value: 1 });
    const { created_at, updated_at, ...record } = await stored(id);
    assert.match(created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
    assert.ok(updated_at);
    assert.deepEqual(record, {
      id,
      trace_id: trace,
      span_id: null,
      tracing_project_fqn: null,
      scale: "value",
      value: 1,
      weight: 1,
      rating: null,
      comment: null,
      reasons: [],
      metadata: null,
      // The public part of the key.
      written_by: KEY.slice(0, 20),
      version: 1,
    });
  });

  it("stores every field as it is", async () => {
    const metadata = {
      text: "title was irrelevant",
      _user: "fef653",
      _organisation: "o9876",
      _prompt: "test_prompt",
      _environment: "production",
      camelCaseID: { innerID: [1, 2.5, null, true, "👎"] },
    };
    const id = await created({ traceID: newTrace(), value: -10, weight: 0.5, metadata });
    const record = await stored(id);
    assert.deepEqual([record.value, record.weight, record.metadata], [-10, 0.5, metadata]);
  });

  it("accepts metadata as the text of an object", async () => {
    const id = await created({ traceID: newTrace(), value: 2, metadata: '{"_user":"u-1","n":3}' });
    assert.deepEqual((await stored(id)).metadata, { _user: "u-1", n: 3 });
  });

  it("accepts a value of zero and a weight of zero", async () => {
    const record = await stored(await created({ traceID: newTrace(), value: 0, weight: 0 }));
    assert.deepEqual([record.scale, record.value, record.weight], ["value", 0, 0]);
  });

  it("stores concurrent requests", async () => {
    const trace = newTrace();
    const values = Array.from({ length: 21 }, (_, index) => index - 10);
    const ids = await Promise.all(values.map((value) => created({ traceID: trace, value })));
    const records = await Promise.all(ids.map(stored));
    assert.deepEqual(records.map((record) => record.value), values);
  });
});

// This SDK has no bulkCreate. An array passed to create arrives as an object with numeric keys and
// names in camel case.
describe("create of an array", () => {
  it("returns ids in input order", async () => {
    const trace = newTrace();
    const feedbacks = Array.from({ length: 100 }, (_, index) => ({
      traceID: trace,
      value: (index % 21) - 10,
      weight: index / 100,
      metadata: { index },
    }));
    const answer = await portkey.feedback.create(feedbacks);
    assert.equal(answer.status, "success");
    assert.equal(new Set(answer.feedback_ids).size, 100);
    const found = await records(trace, 100);
    assert.deepEqual(found.map((record) => record.id), answer.feedback_ids);
    for (const [index, record] of found.entries()) {
      assert.deepEqual(
        [record.trace_id, record.value, record.weight, record.metadata],
        [trace, (index % 21) - 10, index / 100, { index }],
      );
    }
  });

  it("with one element returns one id", async () => {
    const answer = await portkey.feedback.create([{ traceID: newTrace(), value: 7 }]);
    assert.equal(answer.feedback_ids.length, 1);
    assert.equal((await stored(answer.feedback_ids[0])).value, 7);
  });

  it("with one fault stores nothing and names it", async () => {
    const trace = newTrace();
    const feedbacks = Array.from({ length: 12 }, () => ({ traceID: trace, value: 1 }));
    feedbacks[11].value = 11;
    const error = await refused(portkey.feedback.create(feedbacks));
    assert.equal(error.status, 400);
    assert.match(error.message, /feedback\[11\]\.value/);
    const id = await created({ traceID: trace, value: 1 });
    assert.deepEqual(await listed(trace, 1), [id]);
  });

  it("with too many elements is rejected with the limit", async () => {
    const feedbacks = Array.from({ length: 101 }, () => ({ traceID: newTrace(), value: 1 }));
    assert.match((await refused(portkey.feedback.create(feedbacks))).message, /1 to 100/);
  });
});

describe("update", () => {
  it("takes effect at once and keeps omitted fields", async () => {
    const id = await created({ traceID: newTrace(), value: 5, weight: 0.5, metadata: { a: 1 } });
    const answer = await portkey.feedback.update({ feedbackID: id, value: -3 });
    assert.equal(answer.status, "success");
    assert.equal(answer.message, "Feedback successfully updated");
    assert.deepEqual(answer.feedback_ids, [id]);
    let record = await stored(id);
    assert.deepEqual(
      [record.value, record.weight, record.metadata, record.version],
      [-3, 0.5, { a: 1 }, 2],
    );
    await portkey.feedback.update({ feedbackID: id, value: 0, weight: null, metadata: null });
    record = await stored(id);
    assert.deepEqual([record.value, record.weight, record.metadata], [0, 1, null]);
  });

  it("reads the id from the body, where the vendor's sample puts it", async () => {
    // The sample writes feedbackId, but the SDK reads feedbackID. So it sends PUT
    // /v1/feedback/undefined, with feedback_id in the body.
    for (const name of ["feedbackId", "feedback_id"]) {
      const id = await created({ traceID: newTrace(), value: 5 });
      const answer = await portkey.feedback.update({ [name]: id, value: 9, weight: 0.25 });
      assert.deepEqual(answer.feedback_ids, [id]);
      const record = await stored(id);
      assert.deepEqual([record.value, record.weight], [9, 0.25]);
    }
  });

  it("without an id is rejected", async () => {
    const error = await refused(portkey.feedback.update({ value: 9 }));
    assert.equal(error.status, 400);
    assert.match(error.message, /\bid\b/);
  });

  it("of an unknown id is not found", async () => {
    // An old id, because young ones are looked up again for a while.
    const id = `0190a000-0000-7${randomUUID().slice(15)}`;
    for (const name of ["feedbackID", "feedback_id"]) {
      const error = await refused(portkey.feedback.update({ [name]: id, value: 1 }));
      assert.equal(error.constructor.name, "NotFoundError");
      assert.equal(error.status, 404);
      assert.equal(error.message, "no such feedback");
      assert.equal(error.error.error.code, "AB08");
    }
  });
});

describe("an error", () => {
  it("names the fields", async () => {
    for (const [body, field] of [
      [{ traceID: "t", value: 11 }, "value"],
      [{ traceID: "t", value: 1.5 }, "value"],
      [{ traceID: "t", value: true }, "value"],
      [{ traceID: "t" }, "value"],
      [{ value: 1 }, "trace_id"],
      [{ traceID: "t", value: 1, weight: 2 }, "weight"],
      [{ traceID: "t", value: 1, metadata: "text" }, "metadata"],
      [{}, "trace_id"],
    ]) {
      const error = await refused(portkey.feedback.create(body));
      assert.equal(error.constructor.name, "BadRequestError");
      assert.equal(error.status, 400);
      assert.match(error.message, new RegExp(`\\b${field}\\b`));
      assert.equal(error.error.error.code, "AB01");
    }
  });

  it("for an invalid key is a 401", async () => {
    const wrong = KEY.slice(0, -1) + (KEY.endsWith("0") ? "1" : "0");
    for (const options of [{ apiKey: wrong }, { apiKey: "nonsense" }, { Authorization: `Bearer ${wrong}` }, {}]) {
      const error = await refused(client(options).feedback.create({ traceID: "t", value: 1 }));
      assert.equal(error.constructor.name, "AuthenticationError");
      assert.equal(error.status, 401);
      assert.match(error.message, /API key/);
      assert.equal(error.error.error.code, "AB05");
    }
  });
});

describe("a key", () => {
  it("may come as Authorization alone", async () => {
    const answer = await client({ Authorization: `Bearer ${KEY}` }).feedback.create({
      traceID: newTrace(),
      value: 4,
    });
    assert.equal((await stored(answer.feedback_ids[0])).value, 4);
  });

  it("takes precedence over Authorization", async () => {
    const both = client({ apiKey: KEY, Authorization: "Bearer sk-of-a-model-provider" });
    const answer = await both.feedback.create({ traceID: newTrace(), value: 4 });
    assert.equal((await stored(answer.feedback_ids[0])).value, 4);
  });
});

describe("an Idempotency-Key", () => {
  it("makes a repeat one write", async () => {
    const trace = newTrace();
    const options = { extraHeaders: { "Idempotency-Key": randomUUID() } };
    const create = (value) => portkey.feedback.create({ traceID: trace, value }, undefined, options);
    const [first, again] = [await create(1), await create(1)];
    assert.deepEqual(again.feedback_ids, first.feedback_ids);
    assert.deepEqual(await listed(trace, 1), first.feedback_ids);
    const error = await refused(create(2));
    assert.equal(error.constructor.name, "ConflictError");
    assert.match(error.message, /Idempotency-Key/);
  });
});

// Behavior of the SDK that the service relies on.
describe("the SDK", () => {
  /** Counts how often a create is sent that gets this status, or a closed connection without one. */
  async function attempts(status, headers = {}) {
    let count = 0;
    const server = http.createServer((request, response) => {
      count += 1;
      request.resume().on("end", () => {
        if (status === undefined) return request.socket.destroy();
        response.writeHead(status, { "content-type": "application/json", connection: "close", ...headers });
        return response.end('{"message":"m"}');
      });
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const options = { apiKey: "k", baseURL: `http://127.0.0.1:${server.address().port}/v1` };
    try {
      await refused(client(options).feedback.create({ traceID: "t", value: 1 }));
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
    return count;
  }

  it("retries a 5xx once", async () => {
    for (const status of [500, 502, 503, 504]) assert.equal(await attempts(status), 2, `${status}`);
  });

  it("does not retry a 4xx", async () => {
    for (const status of [400, 401, 403, 404, 409, 412, 413, 429]) {
      assert.equal(await attempts(status, { "retry-after": "0" }), 1, `${status}`);
    }
  });

  it("does not retry a 5xx with a trace id", async () => {
    for (const name of ["x-portkey-trace-id", "x-portkey-request-id", "x-portkey-gateway-exception"]) {
      assert.equal(await attempts(500, { [name]: "1" }), 1, name);
    }
  });

  it("retries once after a connection closes without a response", async () => {
    // No header can prevent this retry. Only an Idempotency-Key keeps it from writing twice.
    assert.equal(await attempts(undefined), 2);
  });
});
