// The page and its engine in headless Chromium with real WebGPU (SwiftShader's adapter), driven from outside.
//
//   cargo xtask web && cargo build --release && npm ci --prefix tests/web && node tests/web/run.mjs [WORDS]
//
// WORDS choose the tests whose names hold one of them. CHROMIUM names another browser than /usr/bin/chromium, JOBS how
// many of them are at work at a time (2), PATIENCE how many seconds a test waits for one thing, where a machine is busier
// than 240 of them.

import { chromium } from "playwright-core";
import { join } from "node:path";
import { EXECUTABLE, SWIFTSHADER, WEBGPU } from "./chromium.mjs";
import { listed, serve, WELL } from "./server.mjs";
import { root } from "./native.mjs";
import * as typeTests from "./types.mjs";
import * as pageTests from "./page.mjs";
import * as troubleTests from "./trouble.mjs";
import * as engineTests from "./engine.mjs";
import * as sourceTests from "./sources.mjs";
import { big } from "./big.mjs";

const FLAGS = [
  ...WEBGPU,
  ...SWIFTSHADER,
  "--disable-quic",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // A GPU that a test loses does not cost the pages after it theirs.
  "--disable-domain-blocking-for-3d-apis",
  "--disable-gpu-process-crash-limit",
  "--js-flags=--expose-gc",
];

/** Milliseconds that a test waits for one thing. */
const PATIENCE = 1000 * Number(process.env.PATIENCE ?? 240);

const JOBS = Number(process.env.JOBS ?? 2);
const words = process.argv.slice(2);
// A test's name has more words than one; what the files export besides serves each other. The longest come first.
const tests = [engineTests, pageTests, troubleTests, sourceTests, typeTests]
  .flatMap((module) => Object.entries(module))
  .filter(([name]) => name.includes("_") && (!words.length || words.some((word) => name.includes(word))));

/** Runs one test in a profile of its own; whether it passed. */
async function passes([name, test], { browser, server }) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 900 }, acceptDownloads: true });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(error.message));
  Object.assign(server, WELL, { requests: [] });
  const began = Date.now();
  const seconds = () => ((Date.now() - began) / 1000).toFixed(1);
  try {
    /** What the browser may put on its console in this test; nothing, unless a test says so. */
    const given = { page, context, server, browser, errors, expected: /^$/ };
    const told = await test(given);
    const stray = errors.filter((text) => !given.expected.test(text));
    if (stray.length) throw new Error("it is all right but for the console");
    console.log(`ok      ${name} (${seconds()} s)${told ? `: ${told}` : ""}`);
    return true;
  } catch (error) {
    console.log(`FAILED  ${name} (${seconds()} s)\n${error.stack}\n  console: ${errors.join("\n  ")}`);
    return false;
  } finally {
    await context.close();
  }
}

/** Runs tests, each in one of several browsers with a server of its own; those that fail. */
async function failing(tests) {
  const [waiting, failed] = [[...tests], []];
  const job = async () => {
    const server = await serve({
      "/": join(root, "web/dist"),
      "/test/": join(root, "tests/web"),
      "/goldens/": join(root, "tests/goldens"),
      // Most tests draw with the tiny model of the goldens, whatever the page's own one is.
      "/tiny/": listed(join(root, "tests/goldens/sd1-tiny/model")),
      "/big/": big,
    });
    const browser = await chromium.launch({ executablePath: EXECUTABLE, args: FLAGS });
    try {
      for (let test; (test = waiting.shift()); ) if (!(await passes(test, { browser, server }))) failed.push(test);
    } finally {
      await browser.close();
      server.close();
    }
  };
  await Promise.all(Array.from({ length: Math.min(JOBS, tests.length) }, job));
  return failed;
}

const began = Date.now();
const first = await failing(tests);
// Software WebGPU on a machine that others share can run into a time-out: one more try for each, in the open.
if (first.length) console.log(`once more: ${first.map(([name]) => name).join(", ")}`);
const failed = await failing(first);
const [passed, late, minutes] = [tests.length - failed.length, first.length - failed.length, (Date.now() - began) / 6e4];
console.log(`${passed} passed (${late} at the second try), ${failed.length} failed, in ${minutes.toFixed(1)} minutes`);
process.exitCode = failed.length || tests.length === 0 ? 1 : 0;
