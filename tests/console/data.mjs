// Feedback with figures that a test can work out: through the API, as an application sends it.

/** The comments, newest first. */
export const COMMENTS = ["Seven pages for a yes.", "It is 2027.", "Saved my day."];

/**
 * Casts twelve values on two prompts and three ratings, in the last minute:
 *
 * | prompt | model | up | down |
 * |---|---|---|---|
 * | `greeting` | `small` | 7 | 1 |
 * | `refund` | `large` | 1 | 3 |
 */
export async function seed(hub) {
  const metadata = (n, prompt, model) => ({
    _user: `user-${n % 3}`,
    _session: `session-${n % 2}`,
    _organisation: n % 2 ? "acme" : "globex",
    _environment: "production",
    _prompt: prompt,
    _model: model,
  });
  const cast = (n, value, prompt, model, more = {}) =>
    hub.api("POST", "/v1/feedback", { trace_id: `trace-${n}`, value, ...more, metadata: { ...metadata(n, prompt, model), ...more.metadata } });
  for (let n = 0; n < 7; n += 1) await cast(n, 1, "greeting", "small");
  await cast(7, -1, "greeting", "small", { reasons: ["too long"] });
  await cast(8, 5, "refund", "large", { weight: 0.5, comment: COMMENTS[2], metadata: { _name: "helpful" } });
  await cast(9, -1, "refund", "large", { reasons: ["wrong", "too long"] });
  await cast(10, -4, "refund", "large", { comment: COMMENTS[1], reasons: ["wrong"] });
  await cast(11, -10, "refund", "large", {
    metadata: { comment: COMMENTS[0], _input: "Is it covered?", _output: "Perhaps.", _correction: "Yes." },
  });
  for (const rating of [5, 4, 2]) {
    await hub.api("POST", "/api/svc/v1/gateway-feedback", {
      target: { traceId: "trace-rated", spanId: `span-${rating}`, tracingProjectFQN: "tenant:project" },
      rating,
      metadata: metadata(rating, "rated", "medium"),
    });
  }
}

/** All votes that [`seed`] casts. */
export const TOTAL = 15;

/** Loads a page again and again until it shows this, since feedback is counted within seconds. */
export async function counted(page, url, text) {
  for (;;) {
    await page.goto(url);
    if (await page.getByText(text).first().isVisible()) return;
  }
}
