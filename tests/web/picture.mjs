// The README's picture of the page, with pictures that it drew: node tests/web/picture.mjs FILE.png

import { join } from "node:path";
import { chromium } from "./chromium.mjs";
import { root } from "./native.mjs";
import { generate, ready } from "./page.mjs";
import { serve } from "./server.mjs";

const PROMPTS = ["a rocket", "a smiling cat", "a blue car on a yellow background", "a red apple"];

const server = await serve({ "/": join(root, "web/dist") });
const browser = await chromium.start();
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 1100, height: 1050 });
  page.setDefaultTimeout(0);
  await ready({ page, server }, null);
  for (const prompt of PROMPTS) await generate(page, { prompt, seed: 1 });
  await page.evaluate(() => document.activeElement.blur());
  await page.screenshot({ path: process.argv[2] });
} finally {
  await browser.close();
  server.close();
}
