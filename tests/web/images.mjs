// Makes the images of docs/images/: the element in its states, light, dark and on a phone, and the chat of examples/.
//
//     npm run images --prefix tests/web
//
// It needs img2webp (Debian: webp). With the font Inter (Debian: fonts-inter) they come out as in the repository.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { start } from "./browser.mjs";
import { chatKey, startChat } from "./chat.mjs";

const folder = fileURLToPath(new URL("../../docs/images/", import.meta.url));
await mkdir(folder, { recursive: true });

const hub = await start();
await hub.reset();
const STYLE = `<style>
:root { color-scheme: light dark; --page: #fff; --text: #1f2328; --quiet: #59636e; --bubble: #f4f5f7 }
@media (prefers-color-scheme: dark) { :root { --page: #16181d; --text: #e6e8eb; --quiet: #9aa4ae; --bubble: #22262d } }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 Inter, system-ui, sans-serif }
main { padding: 24px; max-width: 480px }
h1 { display: none }
h2 { margin: 20px 0 8px; font: 600 12px/1.4 Inter, system-ui, sans-serif; color: var(--quiet) }
h2:first-of-type { margin-top: 0 }
p { margin: 0 0 6px; padding: 10px 14px; background: var(--bubble); border-radius: 12px }
hindsight-vote { display: block }
</style>`;
const ANSWER = "<p>The warranty covers repairs for two years from the day of purchase.</p>";

const states = [
  { title: "Before a vote", of: {} },
  { title: "Thumbs up", of: {}, act: (vote) => vote.getByRole("button", { name: "Good answer" }).click() },
  {
    title: "Thumbs down, with reasons and a comment",
    of: { reasons: "wrong,too long,out of date,off topic", comment: true },
    claims: { reasons: ["wrong", "too long", "out of date", "off topic"], comment: true },
    act: async (vote) => {
      await vote.getByRole("button", { name: "Bad answer" }).click();
      await vote.getByRole("button", { name: "out of date" }).click();
      await vote.getByRole("textbox").fill("It has been three years since January.");
    },
  },
  {
    title: "Stars",
    of: { scale: "stars", comment: true },
    claims: { scale: "rating", comment: true },
    act: async (vote) => {
      await vote.getByRole("button", { name: "4 of 5 stars" }).click();
      await vote.getByRole("textbox").fill("Clear, and it names the date.");
      await vote.getByRole("button", { name: "Send" }).click();
    },
  },
  {
    title: "Refused by the service",
    of: {},
    claims: { scale: "rating" },
    act: (vote) => vote.getByRole("button", { name: "Bad answer" }).click(),
  },
  {
    title: "Waiting for the service",
    of: {},
    before: () => hub.way.fault({ on: ({ method }) => method === "PUT", status: 500 }),
    act: (vote) => vote.getByRole("button", { name: "Good answer" }).click(),
  },
];

async function picture(name, options) {
  const context = await hub.browser.newContext({ deviceScaleFactor: 2, ...options });
  const parts = states.map(({ title, of, claims }) => {
    const made = hub.element({ token: hub.token(claims), ...of });
    return `<h2>${title}</h2>${ANSWER}${made}`;
  });
  const page = await hub.open(context, hub.publish(parts.join(""), { head: STYLE }));
  for (const [index, { act, before }] of states.entries()) {
    before?.();
    const vote = page.locator("hindsight-vote").nth(index);
    if (!act) continue;
    await act(vote);
    await vote.getByRole("status").filter({ hasText: /./ }).waitFor();
  }
  await page.evaluate(() => document.activeElement.blur());
  await page.mouse.move(0, 0);
  // A picture of more than the viewport would resize it, and a phone's layout with it.
  const clip = await page.locator("main").boundingBox();
  await page.screenshot({ path: `${folder}votes-${name}.png`, clip });
  await context.close();
}

await picture("light", { viewport: { width: 528, height: 1200 } });
await picture("dark", { viewport: { width: 528, height: 1200 }, colorScheme: "dark" });
await picture("phone", { viewport: { width: 360, height: 1600 }, hasTouch: true, isMobile: true });

const keys = mkdtempSync(join(tmpdir(), "hindsight-images-"));
const chat = await startChat(hub.way.url, ["--key", chatKey(hub.service.key, keys)]);
for (const [name, colorScheme] of [["light", "light"], ["dark", "dark"]]) {
  const context = await hub.browser.newContext({ deviceScaleFactor: 2, colorScheme, viewport: { width: 640, height: 660 } });
  const page = await hub.open(context, chat.url);
  for (const question of ["My laptop is two years old. Is it still covered?", "And how do I send it in?"]) {
    await page.getByRole("textbox", { name: "Your question" }).fill(question);
    await page.getByRole("button", { name: "Ask" }).click();
    await page.getByText(question).waitFor();
  }
  const [first, second] = await page.locator("hindsight-vote").all();
  await first.getByRole("button", { name: "Bad answer" }).click();
  await first.getByRole("button", { name: "off topic" }).click();
  await first.getByRole("textbox").fill("I asked about an old one.");
  await first.getByRole("status").filter({ hasText: "Thank you" }).waitFor();
  await second.getByRole("button", { name: "Good answer" }).click();
  await second.getByRole("button", { name: "Add details" }).click();
  await second.getByRole("status").filter({ hasText: "Thank you" }).waitFor();
  await page.evaluate(() => document.activeElement.blur());
  await page.mouse.move(0, 0);
  await page.screenshot({ path: `${folder}chat-${name}.png` });
  await context.close();
}

// A vote's life, as an animation.
{
  const context = await hub.browser.newContext({ deviceScaleFactor: 2, viewport: { width: 560, height: 490 } });
  const page = await hub.open(context, chat.url);
  const frames = [];
  const frame = async (ms) => {
    await page.mouse.move(0, 0);
    const path = join(keys, `${frames.length}.png`);
    await page.screenshot({ path });
    frames.push("-d", String(ms), path);
  };
  const vote = page.locator("hindsight-vote");
  const button = (name) => vote.getByRole("button", { name });
  const says = (text) => vote.getByRole("status").filter({ hasText: text }).waitFor();
  await page.getByRole("textbox", { name: "Your question" }).fill("My laptop is two years old. Is it still covered?");
  await page.getByRole("button", { name: "Ask" }).click();
  await button("Bad answer").waitFor();
  await frame(1500);
  await button("Bad answer").click();
  await says("Thank you");
  await frame(1200);
  await button("off topic").click();
  await says("Thank you");
  await frame(1200);
  await vote.getByRole("textbox").fill("I asked about an old one.");
  await frame(1200);
  await vote.getByRole("button", { name: "Send" }).click();
  await says("Thank you");
  await frame(1800);
  await page.reload();
  await page.getByRole("button", { name: "Bad answer", pressed: true }).waitFor();
  await frame(1800);
  await button("Good answer").click();
  await says("Thank you");
  await frame(1800);
  await button("Good answer").click();
  await says("Vote removed");
  await frame(2000);
  execFileSync("img2webp", ["-loop", "0", "-lossless", ...frames, "-o", `${folder}chat.webp`], { stdio: "ignore" });
  await context.close();
}
await chat.stop();
rmSync(keys, { recursive: true });
await hub.close();
