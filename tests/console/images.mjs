// Makes the images of the console in docs/images/, from the data of `cargo run -- --demo`.
//
//     npm run images --prefix tests/console
//
// It needs pngquant and fonts for what people of the demo write (Debian: pngquant, fonts-inter, fonts-dejavu-core,
// fonts-ipafont-gothic, fonts-wqy-microhei, fonts-noto-color-emoji).

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The most bytes of an image. */
const MOST = 300_000;

const folder = fileURLToPath(new URL("../../docs/images/", import.meta.url));
const work = mkdtempSync(join(tmpdir(), "hindsight-images-"));

// The system's fonts of a machine that has good ones.
const family = (name, font) => `<alias binding="strong"><family>${name}</family><prefer><family>${font}</family></prefer></alias>`;
writeFileSync(
  join(work, "fonts.conf"),
  `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig><include>/etc/fonts/fonts.conf</include>
${family("system-ui", "Inter")}${family("sans-serif", "Inter")}${family("ui-monospace", "DejaVu Sans Mono")}</fontconfig>`,
);
process.env.FONTCONFIG_FILE = join(work, "fonts.conf");
const { start } = await import("./console.mjs");

const hub = await start("--demo");
const desk = { viewport: { width: 1280, height: 860 }, deviceScaleFactor: 2, timezoneId: "UTC", locale: "en-US" };
const phone = { ...desk, viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

/** Makes an image of what a page shows first, after `act`. */
async function picture(name, options, path, act = () => {}) {
  await hub.test(options, async (context) => {
    const page = await hub.signedIn(context, path);
    await act(page);
    await page.evaluate(() => document.activeElement.blur());
    await page.mouse.move(0, 0);
    const file = `${folder}console-${name}.png`;
    await page.screenshot({ path: file });
    execFileSync("pngquant", ["--force", "--skip-if-larger", "--speed", "1", "--quality", "80-98", "--output", file, file]);
    const { size } = statSync(file);
    if (size > MOST) throw new Error(`${file}: expected at most ${MOST} bytes, got ${size}`);
    if (page.problems.length > 0) throw new Error(`${name}: ${page.problems}`);
    console.log(`${name}: ${size} bytes`);
  }, 60_000)();
}

const counted = async (page) => {
  while (!(await page.locator(".tile").count())) await page.reload();
};
/** A trace with feedback on several of its spans, with a comment. */
const busiest = async () => {
  const spans = new Map();
  let cursor;
  for (let n = 0; n < 20; n += 1) {
    const { data, next_cursor } = await hub.api("GET", `/v1/feedback?limit=100${cursor ? `&cursor=${cursor}` : ""}`);
    for (const { trace_id, span_id, comment } of data) {
      spans.set(trace_id, [...(spans.get(trace_id) ?? []), { span_id, comment }]);
    }
    cursor = next_cursor;
  }
  const told = ([, all]) => new Set(all.map(({ span_id }) => span_id)).size + (all.some(({ comment }) => comment) ? 0.5 : 0);
  return [...spans].sort((one, other) => told(other) - told(one))[0][0];
};

await picture("overview", desk, "/console", counted);
await picture("dark", { ...desk, colorScheme: "dark" }, "/console?range=30d", counted);
await picture("prompts", desk, "/console/prompts?range=30d");
await picture("compare", desk, "/console/prompts?range=7d", async (page) => {
  await page.getByRole("link", { name: /^Compare draft-reply/ }).click();
  await page.getByRole("heading", { name: "Compare", exact: true }).waitFor();
});
await picture("list", desk, "/console/feedback?range=30d&has_comment=true");
await picture("trace", desk, `/console/trace?${new URLSearchParams({ trace_id: await busiest() })}`, (page) =>
  page.locator("details.raw summary").last().click(),
);
await picture("phone", phone, "/console", counted);
await hub.close();
rmSync(work, { recursive: true });
