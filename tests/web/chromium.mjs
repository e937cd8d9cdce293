// Chromium, on its own software renderer: it has WebGPU without a GPU, and no half floats.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readFile } from "node:fs/promises";
import puppeteer from "puppeteer-core";

const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";

const WEBGPU = ["--no-sandbox", "--enable-unsafe-webgpu"];

const SWIFTSHADER = [
  "--use-webgpu-adapter=swiftshader",
  // Chromium has the driver zero workgroup memory, and SwiftShader makes that a store for each number: three quarters of
  // what it compiles. With this, Chromium's own loop does.
  "--disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension",
];

const TESTS = [
  "--disable-quic",
  "--disable-component-update",
  // A GPU that a test loses does not cost the pages after it theirs.
  "--disable-domain-blocking-for-3d-apis",
  "--disable-gpu-process-crash-limit",
  "--js-flags=--expose-gc",
];

export const chromium = {
  name: "chromium",
  dtype: "f32",
  native: ["--backend", "cpu", "--dtype", "f32"],
  missing: () => null,

  /** With `gpu` on the machine's own instead. */
  start({ gpu = false } = {}) {
    const args = [...WEBGPU, ...TESTS, ...(gpu ? [] : SWIFTSHADER)];
    return puppeteer.launch({ executablePath: EXECUTABLE, args, protocolTimeout: 0 });
  },

  /** A click on a link that downloads: the file. */
  async download(page, link) {
    const folder = mkdtempSync(join(tmpdir(), "calotype-"));
    const cdp = await page.browser().target().createCDPSession();
    try {
      const browserContextId = page.browserContext().id;
      const told = { behavior: "allowAndName", downloadPath: folder, eventsEnabled: true, browserContextId };
      await cdp.send("Browser.setDownloadBehavior", told);
      const done = new Promise((resolve) =>
        cdp.on("Browser.downloadProgress", ({ state, guid }) => state === "completed" && resolve(guid)));
      await page.locator(link).click();
      return await readFile(join(folder, await done));
    } finally {
      await cdp.detach();
      rmSync(folder, { recursive: true });
    }
  },

  /** Chooses files, or a folder. */
  async choose(page, input, paths) {
    const element = await page.$(input);
    await element.uploadFile(...paths);
  },

  /** Drops files and folders on the page, as the browser hands them over. */
  async drop(page, paths) {
    const cdp = await page.createCDPSession();
    const data = { items: [], files: paths, dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"]) {
      await cdp.send("Input.dispatchDragEvent", { type, x: 500, y: 300, data });
    }
  },

  /** Bytes of JavaScript, the Worker's with the page's, after collecting what is garbage. */
  async heap(page) {
    const [worker] = page.workers();
    await worker.client.send("HeapProfiler.collectGarbage");
    const { usedSize } = await worker.client.send("Runtime.getHeapUsage");
    return usedSize + (await page.evaluate(() => (gc(), performance.memory.usedJSHeapSize)));
  },

  /** Ends the process that draws. */
  async crashGpu(browser) {
    const cdp = await browser.target().createCDPSession();
    await cdp.send("Browser.crashGpuProcess").catch(() => {});
  },

  dark: (page) => page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]),
};
