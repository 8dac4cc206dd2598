// A real browser with the element in a page, for the tests and for the images.

import { randomUUID } from "node:crypto";

import { launch } from "./chromium.mjs";
import { gate } from "./gate.mjs";
import { service, sign } from "./service.mjs";

export async function start() {
  const behind = await service();
  let way;
  const browser = await launch();

  const newTrace = () => `chat-${randomUUID()}`;
  const token = (claims) => sign(behind.key, { sub: "ada", scale: "thumbs", trace: newTrace(), ...claims });

  /** Elements as HTML. `true` is an attribute without a value; `src` is the service. */
  const element = (attributes) => {
    const given = Object.entries({ src: way.url, ...attributes }).filter(([, value]) => value != null && value !== false);
    const text = given.map(([name, value]) =>
      value === true ? name : `${name}="${String(value).replaceAll("&", "&amp;").replaceAll('"', "&quot;")}"`,
    );
    return `<hindsight-vote ${text.join(" ")}></hindsight-vote>`;
  };

  /** A page with these elements, and before them `head`. */
  const publish = (elements, { head = "", headers } = {}) =>
    way.page(
      randomUUID(),
      `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Chat</title>
<meta name="viewport" content="width=device-width, initial-scale=1">${head}
<script src="${way.url}/v1/vote.js" defer></script></head><body><main><h1>Chat</h1>${elements}</main></body></html>`,
      headers,
    );

  /** Opens a page and collects what the elements emit (`events`) and what the page complains of (`problems`). */
  const open = async (context, url) => {
    const page = await context.newPage();
    page.events = [];
    page.problems = [];
    page.on("pageerror", (error) => page.problems.push(String(error)));
    page.on("console", (message) => message.type() === "error" && page.problems.push(message.text()));
    await page.exposeFunction("emitted", (type, detail) => page.events.push([type, detail]));
    await page.addInitScript(() => {
      for (const type of ["vote", "retract", "error"]) {
        addEventListener(type, (event) => event instanceof CustomEvent && window.emitted(type, event.detail));
      }
    });
    await page.goto(url);
    return page;
  };

  /** What a person's vote is, asked of the service itself; null if there is none. */
  const stored = async (claims) => {
    const bearer = { authorization: `Bearer ${token(claims)}` };
    const response = await fetch(`${behind.url}/v1/vote`, { headers: bearer });
    if (response.status === 404) return null;
    if (!response.ok) throw new Error(`GET /v1/vote: ${response.status} ${await response.text()}`);
    return (await response.json()).data;
  };

  return {
    browser,
    service: behind,
    get way() {
      return way;
    },
    /** Begins anew with the way to the service: no faults, no requests, other ports. */
    reset: async () => {
      way?.close();
      way = await gate(behind.url);
    },
    token,
    newTrace,
    element,
    publish,
    open,
    stored,
    close: async () => {
      await browser.close();
      way?.close();
      await behind.close();
    },
  };
}
