// How long the page takes with its own model: from the navigation's start until the model is on the GPU and the page is
// ready, and from a click then until its first picture is there; at a first visit, and at a second one with the weights in
// the browser's own files.
//
//   npm ci --prefix tests/web && cargo xtask web && node scripts/web_speed/load.mjs [VISITS]

import { join } from "node:path";
import { serve } from "../../tests/web/server.mjs";
import { root } from "../../tests/web/native.mjs";
import { launch } from "./browser.mjs";

const server = await serve({ "/": join(root, "web/dist") });
for (let i = 0; i < Number(process.argv[2] ?? 3); i++) {
  const browser = await launch();
  const page = await browser.newPage();
  page.setDefaultTimeout(0);
  await page.goto("about:blank");
  const times = { first: await visit(page, () => page.goto(server.url)) };
  times.again = await visit(page, () => page.reload());
  console.log(JSON.stringify(times));
  await browser.close();
}
server.close();

/** Seconds of the page's own clock, which begins with the navigation. */
async function visit(page, open) {
  await open();
  const until = async (pattern) => {
    const seen = await page.waitForFunction((pattern) => {
      const text = document.getElementById("state").textContent;
      if (!document.getElementById("trouble").hidden) return { text: document.getElementById("trouble").textContent };
      return new RegExp(pattern).test(text) && { text, at: performance.now() / 1000 };
    }, { polling: 50 }, pattern);
    const told = await seen.jsonValue();
    if (!told.at) throw new Error(told.text);
    return told;
  };
  const ready = await until("^Ready");
  await page.click("#generate");
  const done = await until("^Done");
  return { ready: ready.at, clickToPicture: done.at - ready.at, told: `${ready.text} ${done.text}` };
}
