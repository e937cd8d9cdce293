// Firefox, over WebDriver BiDi. It is another WebGPU than Chromium's, with naga for a compiler; on Mesa's lavapipe it has
// half floats, and draws with them.
//
// CALOTYPE_FIREFOX is the command that starts it headless with a fresh profile where WebGPU is on; its arguments follow.
// That browser may live in a file system of its own, so no path is given to it.

import { spawn } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import puppeteer from "puppeteer-core";
import { filesIn } from "./server.mjs";

const COMMAND = process.env.CALOTYPE_FIREFOX?.split(" ");

/** What it says when it can be driven. */
const LISTENS = /WebDriver BiDi listening on (ws:\S+)/;

// Whoever ends the tests ends the browser, which is not of their group.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(1));

export const firefox = {
  name: "firefox",
  dtype: "f16",
  // The kernels that a tab has: no subgroups, no matrices.
  native: ["--backend", "vulkan", "--dtype", "f16", "--tier", "f16"],
  missing: () => (COMMAND ? null : "CALOTYPE_FIREFOX does not name a command that starts it"),

  async start() {
    const [program, ...fixed] = COMMAND;
    // A group of its own, since the command may start the browser as a child.
    const child = spawn(program, [...fixed, "--remote-debugging-port", "0", "about:blank"], {
      detached: true, stdio: ["ignore", "ignore", "pipe"],
    });
    const end = () => {
      try {
        process.kill(-child.pid);
      } catch {
        // It has ended by itself.
      }
    };
    process.once("exit", end);
    const browserWSEndpoint = `${await address(child)}/session`;
    const browser = await puppeteer.connect({ browserWSEndpoint, protocol: "webDriverBiDi", protocolTimeout: 0 });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const close = browser.close.bind(browser);
    browser.close = async () => {
      const late = setTimeout(end, 10_000);
      await close().catch(() => {});
      await ended;
      clearTimeout(late);
      process.off("exit", end);
    };
    return browser;
  },

  /** What a link that downloads holds. */
  async download(page, link) {
    return Buffer.from(await page.$eval(link, async ({ href, download }) => {
      if (!download) throw new Error(`${href} is no download`);
      return [...new Uint8Array(await (await fetch(href)).arrayBuffer())];
    }));
  },

  /** Files as the page is given them when somebody chooses them, or their folder. */
  async choose(page, input, paths) {
    const files = paths.flatMap((path) => (statSync(path).isDirectory() ? inFolder(path) : [{ path, name: basename(path) }]));
    const told = files.map(({ path, ...file }) => ({ ...file, base64: readFileSync(path).toString("base64") }));
    await page.$eval(input, async (input, told) => {
      const files = await Promise.all(told.map(async ({ name, within, base64 }) => {
        const bytes = await (await fetch(`data:;base64,${base64}`)).arrayBuffer();
        const file = new File([bytes], name);
        if (within) Object.defineProperty(file, "webkitRelativePath", { value: within });
        return file;
      }));
      Object.defineProperty(input, "files", { value: files, configurable: true });
      input.dispatchEvent(new Event("change", { bubbles: true }));
      delete input.files;
    }, told);
  },
};

function address(child) {
  return new Promise((resolve, reject) => {
    let said = "";
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`${COMMAND.join(" ")} ended:\n${said}`)));
    child.stderr.on("data", (text) => {
      said = (said + text).slice(-4000);
      const found = LISTENS.exec(said);
      if (found) resolve(found[1]);
    });
  });
}

function inFolder(folder) {
  return filesIn(folder).map((path) => ({ path: join(folder, path), name: basename(path), within: join(basename(folder), path) }));
}
