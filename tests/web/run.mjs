// The page and its engine in headless browsers with real WebGPU, driven from outside: Chromium on SwiftShader, and Firefox
// where CALOTYPE_FIREFOX is a command that starts it.
//
//   cargo xtask web && cargo build --release && npm ci --prefix tests/web && node tests/web/run.mjs [WORDS]
//
// WORDS choose the tests whose names hold one of them; a browser's name chooses the browser. CHROMIUM names another one
// than /usr/bin/chromium, JOBS how many browsers are at work at a time (2), PATIENCE how many seconds a test waits for one
// thing, where a machine is busier than 240 of them.

import { join } from "node:path";
import { BROWSERS, NOT } from "./browsers.mjs";
import { listed, serve, WELL } from "./server.mjs";
import { root } from "./native.mjs";
import * as typeTests from "./types.mjs";
import * as pageTests from "./page.mjs";
import * as troubleTests from "./trouble.mjs";
import * as engineTests from "./engine.mjs";
import * as fileTests from "./files.mjs";
import * as sourceTests from "./sources.mjs";
import { big } from "./big.mjs";

/** Milliseconds that a test waits for one thing. */
const PATIENCE = 1000 * Number(process.env.PATIENCE ?? 240);

const JOBS = Number(process.env.JOBS ?? 2);
const words = process.argv.slice(2);
const chosen = BROWSERS.filter(({ name }) => words.includes(name));
const named = words.filter((word) => !BROWSERS.some(({ name }) => name === word));
// A test's name has more words than one; what the files export besides serves each other. The longest come first.
const tests = [engineTests, pageTests, troubleTests, fileTests, sourceTests, typeTests]
  .flatMap((module) => Object.entries(module))
  .filter(([name]) => name.includes("_"));
for (const name of Object.values(NOT).flatMap(Object.keys)) {
  if (!tests.some(([test]) => test === name)) throw new Error(`browsers.mjs leaves out ${name}, which is no test`);
}

/** A browser's tests. */
function testsFor(driver) {
  if (chosen.length && !chosen.includes(driver)) return [];
  const missing = driver.missing();
  if (missing) return console.log(`${driver.name} is left out: ${missing}`), [];
  const wanted = tests.filter(([name]) => !named.length || named.some((word) => name.includes(word)));
  const left = wanted.filter(([name]) => name in NOT[driver.name]);
  for (const [name] of left) console.log(`left out  ${driver.name} ${name}: ${NOT[driver.name][name]}`);
  return wanted.filter((test) => !left.includes(test)).map(([name, test]) => ({ driver, name, test }));
}

/** Runs one test in a profile of its own; whether it passed. */
async function passes({ driver, name, test }, { browser, server }) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.setViewport({ width: 1100, height: 900 });
  page.setDefaultTimeout(PATIENCE);
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(error.message));
  Object.assign(server, WELL, { requests: [] });
  const began = Date.now();
  const seconds = () => ((Date.now() - began) / 1000).toFixed(1);
  try {
    /** What the browser may put on its console in this test; nothing, unless a test says so. */
    const given = { page, server, browser, driver, errors, expected: /^$/ };
    const told = await test(given);
    const stray = errors.filter((text) => !given.expected.test(text));
    if (stray.length) throw new Error("it is all right but for the console");
    console.log(`ok      ${driver.name} ${name} (${seconds()} s)${told ? `: ${told}` : ""}`);
    return true;
  } catch (error) {
    console.log(`FAILED  ${driver.name} ${name} (${seconds()} s)\n${error.stack}\n  console: ${errors.join("\n  ")}`);
    return false;
  } finally {
    await context.close();
  }
}

/** Runs tests, several at a time, each job in a browser and with a server of its own; those that fail. */
async function failing(tests) {
  const failed = [];
  const waiting = BROWSERS.map((driver) => ({ driver, tests: tests.filter((test) => test.driver === driver) }));
  const job = async () => {
    const server = await serve({
      "/": join(root, "web/dist"),
      "/test/": join(root, "tests/web"),
      "/goldens/": join(root, "tests/goldens"),
      // Most tests draw with the tiny model of the goldens, whatever the page's own one is.
      "/tiny/": listed(join(root, "tests/goldens/sd1-tiny/model")),
      "/big/": big,
    });
    for (const { driver, tests } of waiting) {
      if (!tests.length) continue;
      const browser = await driver.start();
      try {
        for (let test; (test = tests.shift()); ) if (!(await passes(test, { browser, server }))) failed.push(test);
      } finally {
        await browser.close();
      }
    }
    server.close();
  };
  await Promise.all(Array.from({ length: Math.min(JOBS, tests.length) }, job));
  return failed;
}

const began = Date.now();
const all = BROWSERS.flatMap(testsFor);
const first = await failing(all);
// Software WebGPU on a machine that others share can run into a time-out: one more try for each, in the open.
if (first.length) console.log(`once more: ${first.map(({ driver, name }) => `${driver.name} ${name}`).join(", ")}`);
const failed = await failing(first);
const [passed, late, minutes] = [all.length - failed.length, first.length - failed.length, (Date.now() - began) / 6e4];
console.log(`${passed} passed (${late} at the second try), ${failed.length} failed, in ${minutes.toFixed(1)} minutes`);
process.exitCode = failed.length || all.length === 0 ? 1 : 0;
