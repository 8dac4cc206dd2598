// Chromium for the tests of the element and of the console.

import { readFileSync } from "node:fs";

import { chromium } from "playwright-core";

/** axe-core as a script, to be evaluated in a page. */
export const AXE = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

/** Starts the browser that CHROMIUM names, or Debian's. */
export const launch = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });

/**
 * Makes a test of one that takes a browser profile of its own, which is closed at the end. What takes half a minute
 * has failed.
 */
export const inBrowser = (browser, options, test) => async () => {
  const context = await browser().newContext(options);
  context.setDefaultTimeout(10_000);
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error("not done after half a minute")), 30_000);
  });
  try {
    await Promise.race([test(context), late]);
  } finally {
    clearTimeout(timer);
    await context.close();
  }
};
