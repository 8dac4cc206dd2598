// Chromium for the tests of the element and of the console.

import { readFileSync } from "node:fs";

import { chromium } from "playwright-core";

/** axe-core as a script, to be evaluated in a page. */
export const AXE = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

/** Starts the browser that CHROMIUM names, or Debian's. */
export const launch = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });

/** Makes a test of one that takes a browser profile of its own. What is not done after `most` milliseconds has failed. */
export const inBrowser = (browser, options, test, most = 30_000) => async () => {
  const context = await browser().newContext(options);
  context.setDefaultTimeout(10_000);
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`not done after ${most / 1000} s`)), most);
  });
  try {
    await Promise.race([test(context), late]);
  } finally {
    clearTimeout(timer);
    await context.close();
  }
};
