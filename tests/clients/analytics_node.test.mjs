// The analytics of the released Portkey SDK for Node.js against a running server.
//
//     HINDSIGHT_URL=http://127.0.0.1:8787 HINDSIGHT_KEY=hsk_… node --test analytics_node.test.mjs
//
// Expected responses are computed here, in integers, from a list of the sent votes. Other tests write to
// the same workspace at the same time, so each test marks its records with a random prompt.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";

import { Portkey } from "portkey-ai";

// In a developer's environment, these variables would replace what a test omits.
delete process.env.PORTKEY_API_KEY;
delete process.env.PORTKEY_BASE_URL;

const URL = process.env.HINDSIGHT_URL?.replace(/\/$/, "");
const KEY = process.env.HINDSIGHT_KEY;
assert.ok(URL && KEY, "HINDSIGHT_URL and HINDSIGHT_KEY must be set");
// The workspace of the key: a local server uses this name.
const WORKSPACE = process.env.HINDSIGHT_WORKSPACE ?? "local";

// The maximum time for counting on a busy machine, in milliseconds.
const PATIENCE = 15_000;

const HOUR = 60 * 60 * 1000;
const DAY = 24 * HOUR;

// Values, and weights in thousandths, most of which are not binary fractions.
const VOTES = [[10, 1000], [-10, 1000], [5, 100], [5, 300], [-3, 700], [0, 1000], [0, 0], [7, 333], [1, 999], [10, 1]];

const client = (apiKey = KEY) => new Portkey({ baseURL: `${URL}/v1`, apiKey });
const portkey = client();

/** An answer without the SDK. */
async function send(method, path, body) {
  const headers = { "x-portkey-api-key": KEY, "content-type": "application/json" };
  const response = await fetch(`${URL}${path}`, { method, headers, body: body && JSON.stringify(body) });
  assert.equal(response.status, 200, path);
  return response.json();
}

/** A prompt that no other test has. */
const newPrompt = () => `node-${randomUUID()}`;

/** Sends votes and returns the list of them, as they must be counted. */
async function create(votes, metadata) {
  const feedbacks = votes.map(([value, weight]) => ({
    traceID: metadata._prompt,
    value,
    weight: weight / 1000,
    metadata,
  }));
  const { feedback_ids } = await portkey.feedback.create(feedbacks);
  assert.equal(feedback_ids.length, votes.length);
  return Promise.all(
    feedback_ids.map(async (id, index) => {
      const { created_at } = await send("GET", `/v1/feedback/${id}`);
      const [value, weight] = votes[index];
      return { id, value, weight, metadata, createdAt: Date.parse(created_at) };
    }),
  );
}

/** Changes a record, at the server and in the list. */
async function update(record, changes) {
  const weight = changes.weight === undefined ? {} : { weight: changes.weight / 1000 };
  await portkey.feedback.update({ feedbackID: record.id, value: record.value, ...changes, ...weight });
  Object.assign(record, changes);
}

/** A number in a form that does not show how it was rounded. */
const rounded = (number) => Number(number.toPrecision(12));

/** Σ(value × weight) / n */
function average(votes) {
  const thousandths = votes.reduce((sum, { value, weight }) => sum + value * weight, 0);
  return votes.length === 0 ? 0 : rounded(thousandths / (1000 * votes.length));
}

/** Pairs of a key and its records, in the order of the keys. */
function grouped(records, key) {
  const groups = new Map();
  for (const record of records) groups.set(key(record), [...(groups.get(key(record)) ?? []), record]);
  return [...groups].sort(([one], [other]) => (one < other ? -1 : 1));
}

// Reads responses and computes expected ones, for each method.

const graph = (answer) => assert.equal(answer.object, "analytics-graph");
const bucketed = (records, bucket) => grouped(records, ({ createdAt }) => createdAt - (createdAt % bucket));
const model = ({ metadata }) => metadata._model ?? metadata.ai_model ?? "unknown";

const GRAPHS = {
  feedbacks: {
    expect: (records, bucket) => [
      records.length,
      bucketed(records, bucket).map(([time, votes]) => [time, votes.length]),
    ],
    read(answer) {
      graph(answer);
      return [answer.summary.total, answer.data_points.map(({ timestamp, total }) => [Date.parse(timestamp), total])];
    },
  },
  feedbacks_score: {
    expect: (records) => [
      records.length,
      grouped(records, ({ value }) => value).map(([value, votes]) => [value, votes.length]),
    ],
    read(answer) {
      graph(answer);
      return [answer.summary.total, answer.data_points.map(({ score, total }) => [score, total])];
    },
  },
  feedbacks_weighted: {
    expect: (records, bucket) => [
      average(records),
      bucketed(records, bucket).map(([time, votes]) => [time, average(votes)]),
    ],
    read(answer) {
      graph(answer);
      const points = answer.data_points.map(({ timestamp, avg }) => [Date.parse(timestamp), rounded(avg)]);
      return [rounded(answer.summary.avg), points];
    },
  },
  feedback_ai_models: {
    expect: (records) => grouped(records, model).map(([name, votes]) => [name, votes.length, average(votes)]),
    read(answer) {
      graph(answer);
      assert.deepEqual(answer.summary, {});
      return answer.data_points
        .map((point) => [point.ai_model, point.total, rounded(point.avg_weighted_feedback)])
        .sort(([one], [other]) => (one < other ? -1 : 1));
    },
  },
};

const GROUPS = {
  expect(records, key) {
    const having = records.filter(({ metadata }) => metadata[key] !== undefined);
    const groups = grouped(having, ({ metadata }) => String(metadata[key]));
    const last = (votes) => Math.max(...votes.map(({ createdAt }) => createdAt));
    return [groups.length, groups.map(([value, votes]) => [value, votes.length, average(votes), last(votes)])];
  },
  read(answer) {
    assert.equal(answer.object, "list");
    const groups = answer.data.map((group) => {
      assert.equal(group.object, "analytics-group");
      const { metadata_value, requests_with_feedback, avg_weighted_feedback, last_seen } = group;
      return [metadata_value, requests_with_feedback, rounded(avg_weighted_feedback), Date.parse(last_seen)];
    });
    return [answer.total, groups.sort(([one], [other]) => (one < other ? -1 : 1))];
  },
};

/** Asks until the answer is as expected, as long as counting may take; checks that it is. */
async function settled(ask, read, expected, what) {
  const until = Date.now() + PATIENCE;
  for (;;) {
    const got = read(await ask());
    if (isDeepStrictEqual(got, expected) || Date.now() > until) return assert.deepEqual(got, expected, what);
    await sleep(200);
  }
}

/** A moment as a clock at an offset of so many minutes shows it. */
function at(time, minutes = 0) {
  const clock = new Date(time + minutes * 60_000).toISOString().slice(0, -1);
  const [hour, minute] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const offset = [hour, minute].map((part) => String(part).padStart(2, "0")).join(":");
  return `${clock}${minutes < 0 ? "-" : "+"}${offset}`;
}

const between = (start, end, minutes) => ({
  time_of_generation_min: at(start, minutes),
  time_of_generation_max: at(end, minutes),
});

/** A range that begins within an hour and ends in the future. */
const aroundNow = () => between(Date.now() - HOUR, Date.now() + HOUR);

/** Every graph of a query is of these records. */
async function assertGraphs(records, query, bucket = HOUR) {
  for (const [name, { expect, read }] of Object.entries(GRAPHS)) {
    const whole = { ...aroundNow(), ...query };
    const what = `${name} ${JSON.stringify(whole)}`;
    await settled(() => portkey.analytics.graphs[name](whole), read, expect(records, bucket), what);
  }
}

async function assertGroups(records, key, query) {
  const whole = { ...aroundNow(), ...query };
  const ask = () => portkey.analytics.groups.metadata(key, whole);
  await settled(ask, GROUPS.read, GROUPS.expect(records, key), `${key} ${JSON.stringify(whole)}`);
}

/** Every method that there is, by name. */
const METHODS = {
  ...Object.fromEntries(
    Object.keys(GRAPHS).map((name) => [name, (query, from = portkey) => from.analytics.graphs[name](query)]),
  ),
  metadata: (query, from = portkey) => from.analytics.groups.metadata("_user", query),
};

/** What a call is refused with. */
async function refused(call, what) {
  try {
    await call;
  } catch (error) {
    return error;
  }
  return assert.fail(`the call must be refused: ${what}`);
}

describe("every graph", () => {
  it("matches the sent votes", async () => {
    const _prompt = newPrompt();
    const records = [
      ...(await create(VOTES, { _prompt, _model: `large-${_prompt}` })),
      ...(await create(VOTES.slice(0, 5), { _prompt, ai_model: `small-${_prompt}` })),
      ...(await create(VOTES.slice(5, 8), { _prompt })),
    ];
    for (const query of [{ prompt_slug: _prompt }, { metadata: JSON.stringify({ _prompt }) }, { trace_id: _prompt }]) {
      await assertGraphs(records, query);
    }
  });

  it("counts updates and deletes once", async () => {
    const _prompt = newPrompt();
    const other = { _prompt: newPrompt() };
    const [large, small] = ["large", "small"].map((size) => ({ _prompt, _model: `${size}-${_prompt}` }));
    const records = await create(VOTES, large);
    await assertGraphs(records, { prompt_slug: _prompt });

    await update(records[0], { value: -7 });
    await update(records[1], { weight: 250 });
    await update(records[2], { metadata: small });
    await update(records[3], { value: 2, weight: 875, metadata: small });
    await update(records[4], { metadata: other });
    for (let value = -5; value <= 5; value += 1) await update(records[5], { value });
    // The last one is updated first, then deleted.
    await update(records[9], { value: -9, metadata: small });
    for (const gone of records.splice(8)) await send("DELETE", `/v1/feedback/${gone.id}`);
    const moved = records.splice(4, 1);

    for (let round = 0; round < 2; round += 1) {
      await assertGraphs(records, { prompt_slug: _prompt });
      await assertGraphs(moved, { prompt_slug: other._prompt });
      for (const metadata of [large, small]) {
        const expected = records.filter((record) => record.metadata === metadata);
        await assertGraphs(expected, { ai_org_model: metadata._model });
      }
      // Later rounds of counting change nothing.
      await sleep(1200);
    }
  });

  it("is empty after everything was deleted", async () => {
    const _prompt = newPrompt();
    const records = await create(VOTES.slice(0, 3), { _prompt });
    await assertGraphs(records, { prompt_slug: _prompt });
    for (const { id } of records) await send("DELETE", `/v1/feedback/${id}`);
    await assertGraphs([], { prompt_slug: _prompt });
    await assertGroups([], "_prompt", { prompt_slug: _prompt });
  });

  it("counts ratings separately", async () => {
    const _prompt = newPrompt();
    const records = await create(VOTES.slice(0, 2), { _prompt });
    const target = { traceId: randomUUID(), spanId: "s" };
    for (const rating of [5, 1, 5]) {
      await send("POST", "/api/svc/v1/gateway-feedback", { target, rating, metadata: { _prompt } });
    }
    const distribution = [{ rating: 1, total: 1 }, { rating: 5, total: 2 }];
    for (const [name, { expect, read }] of Object.entries(GRAPHS)) {
      await settled(
        () => portkey.analytics.graphs[name]({ ...aroundNow(), prompt_slug: _prompt }),
        (answer) => [read(answer), { ...answer.ratings, mean: rounded(answer.ratings.mean ?? 0) }],
        [expect(records, HOUR), { total: 3, mean: rounded(11 / 3), distribution }],
        name,
      );
    }
  });
});

describe("a filter", () => {
  it("by models accepts their names", async () => {
    const _prompt = newPrompt();
    const models = ["a", "b/c:d", "größer"].map((name) => `${name}-${_prompt}`);
    const byModel = [];
    for (const [index, _model] of models.entries()) {
      byModel.push(await create(VOTES.slice(0, index + 3), { _prompt, _model }));
    }
    const unnamed = await create(VOTES.slice(0, 2), { _prompt });
    for (const [from, to] of [[0, 1], [1, 3], [0, 3]]) {
      const ai_org_model = models.slice(from, to).join(",");
      await assertGraphs(byModel.slice(from, to).flat(), { ai_org_model });
      await assertGraphs(byModel.slice(from, to).flat(), { ai_org_model, prompt_slug: _prompt });
    }
    await assertGraphs(unnamed, { ai_org_model: "unknown", prompt_slug: _prompt });
    await assertGraphs([], { ai_org_model: `none-${_prompt}` });
  });

  it("by metadata matches every member", async () => {
    const run = newPrompt();
    const name = "Zürich 👍 a&b=c+d%";
    const records = [];
    for (const index of [0, 1, 2]) {
      const metadata = { _prompt: run, run, name, index, truth: index !== 1 };
      records.push(...(await create(VOTES.slice(0, index + 2), metadata)));
    }
    for (const members of [{ index: 1 }, { index: "2" }, { truth: true }, { truth: true, index: 0 }, { truth: "x" }]) {
      const expected = records.filter(({ metadata }) =>
        Object.entries(members).every(([key, value]) => String(metadata[key]) === String(value)),
      );
      await assertGraphs(expected, { metadata: JSON.stringify({ name, run, ...members }) });
    }
  });

  it("by workspace accepts the key's own", async () => {
    const _prompt = newPrompt();
    const records = await create(VOTES.slice(0, 2), { _prompt });
    await assertGraphs(records, { prompt_slug: _prompt, workspace_slug: WORKSPACE });
    await assertGroups(records, "_prompt", { prompt_slug: _prompt, workspace_slug: WORKSPACE });
  });

  it("by weighted feedback has limits", async () => {
    const _prompt = newPrompt();
    const records = await create(VOTES, { _prompt });
    for (const [least, most] of [[0, undefined], [undefined, -1], [-1, 1], [0.5, 0.5], [11, undefined]]) {
      const expected = records.filter(({ value, weight }) => {
        const thousandths = value * weight;
        return thousandths >= (least ?? -10) * 1000 && thousandths <= (most ?? 10) * 1000;
      });
      await assertGraphs(expected, {
        prompt_slug: _prompt,
        weighted_feedback_min: least,
        weighted_feedback_max: most,
      });
    }
  });
});

describe("groups", () => {
  it("work by a metadata field", async () => {
    const _prompt = newPrompt();
    const records = await create(VOTES.slice(0, 3), { _prompt });
    for (const [index, _user] of ["u-1", "u-2", "Ünal 👤"].entries()) {
      const metadata = { _prompt, _user, _environment: `env-${index % 2}`, number: index, truth: index > 0 };
      records.push(...(await create(VOTES.slice(index, 2 * index + 2), metadata)));
    }
    for (const key of ["_user", "_environment", "_prompt", "number", "truth", "absent"]) {
      await assertGroups(records, key, { prompt_slug: _prompt });
    }
  });

  it("work by a field with any name", async () => {
    for (const key of ["a b", "größe", "a.b-c:d", "👍"]) {
      const _prompt = newPrompt();
      const records = await create(VOTES.slice(0, 4), { _prompt, [key]: "one" });
      await assertGroups(records, key, { prompt_slug: _prompt });
    }
  });

  it("have pages", async () => {
    const _prompt = newPrompt();
    const records = [];
    for (let index = 0; index < 7; index += 1) {
      const metadata = { _prompt, _organisation: `o-${index}-${_prompt}` };
      records.push(...(await create(VOTES.slice(0, 1 + (index % 3)), metadata)));
    }
    const query = { ...aroundNow(), prompt_slug: _prompt };
    await assertGroups(records, "_organisation", query);
    const [, whole] = GROUPS.expect(records, "_organisation");
    for (const [page_size, pages] of [[3, [3, 3, 1, 0]], [7, [7, 0]]]) {
      const found = [];
      for (const [current_page, expected] of pages.entries()) {
        const answer = await portkey.analytics.groups.metadata("_organisation", { ...query, current_page, page_size });
        const [total, groups] = GROUPS.read(answer);
        assert.deepEqual([total, groups.length], [7, expected]);
        found.push(...groups);
      }
      assert.deepEqual(found.sort(([one], [other]) => (one < other ? -1 : 1)), whole);
    }
  });
});

describe("a range", () => {
  it("accepts any time zone", async () => {
    const _prompt = newPrompt();
    const records = [];
    for (const vote of VOTES.slice(0, 6)) {
      records.push(...(await create([vote], { _prompt })));
      await sleep(5);
    }
    for (const minutes of [0, 330, -480]) {
      const now = Date.now();
      // An hour and a day of the time zone.
      const hour = now - ((now + minutes * 60_000) % HOUR);
      const day = now - ((now + minutes * 60_000) % DAY);
      for (const [start, end, bucket] of [
        [now - HOUR, now + HOUR, HOUR],
        [hour - HOUR, hour + 2 * HOUR, HOUR],
        [day - DAY, day + 2 * DAY, DAY],
        [now - 2 * HOUR, now - HOUR, HOUR],
        [now + HOUR, now + 2 * HOUR, HOUR],
        // The start is inclusive, the end exclusive.
        [records[1].createdAt, records[4].createdAt, HOUR],
      ]) {
        const expected = records.filter(({ createdAt }) => start <= createdAt && createdAt < end);
        await assertGraphs(expected, { ...between(start, end, minutes), prompt_slug: _prompt }, bucket);
      }
    }
    assert.match(at(Date.now(), 330), /\+05:30$/);
    assert.match(at(Date.now(), -480), /-08:00$/);
  });

  it("with the same wall clock time differs by time zone", async () => {
    const _prompt = newPrompt();
    const records = await create(VOTES.slice(0, 3), { _prompt });
    for (const [zone, expected] of [["Z", records], ["+05:30", []], ["-08:00", []]]) {
      const [min, max] = [-HOUR, HOUR].map((offset) => new Date(Date.now() + offset).toISOString().replace("Z", zone));
      const query = { time_of_generation_min: min, time_of_generation_max: max, prompt_slug: _prompt };
      await assertGraphs(expected, query);
    }
  });

  it("of a year is shown by day", async () => {
    const _prompt = newPrompt();
    const records = await create(VOTES, { _prompt, _user: "u-1" });
    const now = Date.now();
    for (const [start, end] of [[now - 365 * DAY, now + HOUR], [now - HOUR, now + 365 * DAY]]) {
      for (const minutes of [0, 330, -480]) {
        const query = { ...between(start, end, minutes), prompt_slug: _prompt };
        await assertGraphs(records, query, DAY);
        await assertGroups(records, "_user", query);
      }
    }
  });

  it("without feedback is empty", async () => {
    const _prompt = newPrompt();
    await assertGraphs(await create(VOTES.slice(0, 1), { _prompt }), { prompt_slug: _prompt });
    const query = between(Date.UTC(2020, 0, 1), Date.UTC(2021, 0, 1), 330);
    for (const filter of [{}, { prompt_slug: _prompt }, { trace_id: _prompt }]) {
      await assertGraphs([], { ...query, ...filter });
      await assertGroups([], "_prompt", { ...query, ...filter });
    }
  });
});

describe("an error", () => {
  it("names an unsupported filter", async () => {
    const filters = {
      cost_min: 0.5,
      cost_max: 1,
      total_units_min: 1,
      prompt_token_min: 1,
      completion_token_max: 2,
      virtual_keys: "v",
      status_code: "200",
      cache_status: "hit",
    };
    for (const [name, value] of Object.entries(filters)) {
      for (const [method, call] of Object.entries(METHODS)) {
        const error = await refused(call({ ...aroundNow(), [name]: value }), `${method} ${name}`);
        assert.equal(error.constructor.name, "BadRequestError");
        assert.equal(error.status, 400);
        assert.match(error.message, new RegExp(`\\b${name}\\b`));
        assert.equal(error.error.error.code, "AB01");
      }
    }
  });

  it("names invalid and missing parameters", async () => {
    for (const [query, ...names] of [
      [undefined, "time_of_generation_min", "time_of_generation_max"],
      [{ time_of_generation_min: at(0) }, "time_of_generation_max"],
      [{ ...aroundNow(), time_of_generation_min: "yesterday" }, "time_of_generation_min"],
      [between(Date.now(), Date.now() - HOUR), "time_of_generation_max"],
      [{ ...aroundNow(), metadata: "text" }, "metadata"],
      [{ ...aroundNow(), metadata: { an: "object" } }, "metadata"],
      [{ ...aroundNow(), page_size: -1 }, "page_size"],
      [{ ...aroundNow(), current_page: -1 }, "current_page"],
    ]) {
      for (const [method, call] of Object.entries(METHODS)) {
        const error = await refused(call(query), `${method} ${JSON.stringify(query)}`);
        assert.equal(error.status, 400);
        for (const name of names) assert.match(error.message, new RegExp(`\\b${name}\\b`));
      }
    }
  });

  it("for another workspace is a 403", async () => {
    for (const [method, call] of Object.entries(METHODS)) {
      const error = await refused(call({ ...aroundNow(), workspace_slug: `another-${randomUUID()}` }), method);
      assert.equal(error.constructor.name, "PermissionDeniedError");
      assert.equal(error.status, 403);
      assert.match(error.message, /workspace/);
      assert.equal(error.error.error.code, "AB03");
    }
  });

  it("for an invalid key is a 401", async () => {
    const wrong = client(KEY.slice(0, -1) + (KEY.endsWith("0") ? "1" : "0"));
    for (const [method, call] of Object.entries(METHODS)) {
      const error = await refused(call(aroundNow(), wrong), method);
      assert.equal(error.constructor.name, "AuthenticationError");
      assert.equal(error.status, 401);
    }
  });
});
