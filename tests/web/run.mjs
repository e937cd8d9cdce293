// The page and its engine in headless Chromium with real WebGPU (SwiftShader's adapter), driven from outside.
//
//   cargo xtask web && cargo build --release && npm ci --prefix tests/web && node tests/web/run.mjs [WORDS]
//
// WORDS choose the tests whose names hold one of them. CHROMIUM names another browser than /usr/bin/chromium.

import { chromium } from "playwright-core";
import { join } from "node:path";
import { serve } from "./server.mjs";
import { root } from "./native.mjs";
import * as pageTests from "./page.mjs";
import * as engineTests from "./engine.mjs";
import { big } from "./big.mjs";

const FLAGS = [
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--disable-quic",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--js-flags=--expose-gc",
];

const words = process.argv.slice(2);
const server = await serve({
  "/": join(root, "web/dist"),
  "/test/": join(root, "tests/web"),
  "/goldens/": join(root, "tests/goldens"),
  "/big/": big,
});
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
const counts = { passed: 0, failed: 0 };
try {
  for (const [name, test] of [...Object.entries(pageTests), ...Object.entries(engineTests)]) {
    if (words.length && !words.some((word) => name.includes(word))) continue;
    const context = await browser.newContext({ viewport: { width: 1100, height: 900 }, acceptDownloads: true });
    const page = await context.newPage();
    page.setDefaultTimeout(240_000);
    const errors = [];
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    page.on("pageerror", (error) => errors.push(error.message));
    Object.assign(server, { sent: 0, requests: [], refuse: null, dropAfter: null, pause: 0, noRanges: false });
    const began = Date.now();
    const seconds = () => ((Date.now() - began) / 1000).toFixed(1);
    try {
      const told = await test({ page, context, server, errors });
      counts.passed += 1;
      console.log(`ok      ${name} (${seconds()} s)${told ? `: ${told}` : ""}`);
    } catch (error) {
      counts.failed += 1;
      console.log(`FAILED  ${name} (${seconds()} s)\n${error.stack}\n  console: ${errors.join("\n  ")}`);
    }
    await context.close();
  }
} finally {
  await browser.close();
  server.close();
}
console.log(`${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = counts.failed || counts.passed === 0 ? 1 : 0;
