// What a person sees and does.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, truncateSync, cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { apart, draw, read, root } from "./native.mjs";

const OUT = join(root, "tests/web/out");
mkdirSync(OUT, { recursive: true });

const state = (page) => page.textContent("#state");
const until = (page, pattern) =>
  page.waitForFunction(
    (text) => {
      const trouble = document.getElementById("trouble");
      return new RegExp(text).test(document.getElementById("state").textContent) || !trouble.hidden;
    },
    pattern.source,
  );

async function ready({ page, server }) {
  await page.goto(server.url);
  await until(page, /^Ready/);
  assert.match(await state(page), /^Ready/, await page.textContent("#trouble"));
}

async function generate(page, fields = {}) {
  for (const [name, value] of Object.entries(fields)) {
    const control = page.locator(`[name=${name}]`);
    if (name === "sampler" || name === "scheduler") await control.selectOption(value);
    else await control.fill(String(value));
  }
  await page.click("#generate");
  await until(page, /^(Done|No picture)/);
  assert.match(await state(page), /^Done/, await page.textContent("#trouble"));
}

async function downloaded(page) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#gallery figure:first-child a")]);
  return readFileSync(await download.path());
}

/** The first visit: the model loads by itself, a click makes the command line's picture, the file carries its settings. */
export async function page_draws_what_the_command_line_draws(given) {
  const { page, errors } = given;
  await ready(given);
  assert.match(await page.textContent("#adapter"), /SwiftShader|swiftshader|Kernels/);
  const prompt = "a lighthouse: at night, \"in fog\"";
  await generate(page, { prompt, negativePrompt: "blurry", steps: 6, cfgScale: 5.5, seed: 41, sampler: "euler" });
  const tab = await downloaded(page);
  const flags = ["-n", "blurry", "--steps", "6", "--cfg-scale", "5.5", "--seed", "41", "--sampler", "euler"];
  const native = draw([prompt, ...flags]);
  assert.equal(read(tab).parameters, read(native).parameters);
  const difference = apart(read(tab), read(native));
  assert.ok(difference <= 2, `the pictures are ${difference} of 255 apart`);
  assert.deepEqual(errors, []);
  await page.screenshot({ path: join(OUT, "light.png"), fullPage: true });
  return `${difference} of 255 apart`;
}

/** Dark, on a phone: nothing sticks out sideways. */
export async function page_fits_a_phone_in_the_dark(given) {
  const { page } = given;
  await page.setViewportSize({ width: 360, height: 740 });
  await page.emulateMedia({ colorScheme: "dark" });
  await ready(given);
  await generate(page, { steps: 1 });
  await page.click("summary:text('GPU')");
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(over <= 0, `${over} pixels stick out`);
  await page.screenshot({ path: join(OUT, "dark-phone.png"), fullPage: true });
}

/** Every control has a name, and the keyboard is enough to draw. */
export async function page_works_by_keyboard(given) {
  const { page } = given;
  await ready(given);
  const nameless = await page.$$eval("input, textarea, select, button", (all) =>
    all.filter((c) => !c.labels?.length && !c.textContent.trim() && !c.ariaLabel).map((c) => c.outerHTML));
  assert.deepEqual(nameless, []);
  await page.locator("[name=steps]").fill("1");
  await page.focus("#prompt");
  await page.keyboard.press("Control+Enter");
  await until(page, /^Done/);
  assert.match(await state(page), /^Done/);
}

/** Stop ends a long run at the next step, and the next run works. */
export async function page_stops(given) {
  const { page } = given;
  await ready(given);
  await page.fill("[name=steps]", "200");
  await page.click("#generate");
  await until(page, /^Step 1 /);
  const before = Date.now();
  await page.click("#stop");
  await until(page, /^Stopped/);
  const waited = Date.now() - before;
  assert.match(await state(page), /^Stopped/);
  assert.ok(waited < 15_000, `stopped after ${waited} ms`);
  await generate(page, { steps: 1 });
  return `after ${waited} ms`;
}

/** Files that are no model get a sentence that names them, and the model before them stays. */
export async function page_explains_bad_files(given) {
  const { page } = given;
  await ready(given);
  const folder = mkdtempSync(join(tmpdir(), "calotype-"));
  const trouble = async (pattern) => {
    await page.waitForFunction(() => !document.getElementById("trouble").hidden);
    assert.match(await page.textContent("#trouble"), pattern);
    assert.match(await state(page), /still loaded/);
  };
  try {
    writeFileSync(join(folder, "model.safetensors"), "no tensors here");
    await page.setInputFiles("#files", join(folder, "model.safetensors"));
    await trouble(/model\.safetensors is one file: a model is a folder/);

    const model = join(folder, "broken");
    cpSync(join(root, "tests/goldens/sd1-tiny/model"), model, { recursive: true });
    truncateSync(join(model, "unet/diffusion_pytorch_model.safetensors"), 100_000);
    await page.setInputFiles("#folder", model);
    await trouble(/unet\/diffusion_pytorch_model\.safetensors: truncated/);

    rmSync(join(model, "model_index.json"));
    await page.setInputFiles("#folder", model);
    await trouble(/no model_index\.json/);

    await page.fill("[name=width]", "100");
    await page.$eval("[name=width]", (field) => (field.step = "any"));
    await page.click("#generate");
    await until(page, /^No picture/);
    assert.match(await page.textContent("#trouble"), /width 100 is not a multiple of 8/);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A folder opened from disk draws; nothing of it is asked of the network. */
export async function page_opens_a_folder(given) {
  const { page } = given;
  await ready(given);
  await page.setInputFiles("#folder", join(root, "tests/goldens/sd2-tiny/model"));
  await until(page, /^Ready: model/);
  assert.match(await state(page), /^Ready: model/, await page.textContent("#trouble"));
  await generate(page, { steps: 2, seed: 3 });
  const difference = apart(read(await downloaded(page)), read(draw(["a red apple",
    "-m", "tests/goldens/sd2-tiny/model", "--steps", "2", "--seed", "3"])));
  assert.ok(difference <= 2, `the pictures are ${difference} of 255 apart`);
  return `${difference} of 255 apart`;
}

/** A reload finds the weights in the browser's own files; clearing them is seen. */
export async function page_reloads_without_the_network(given) {
  const { page, server } = given;
  await ready(given);
  server.refuse = (path) => path.startsWith("/model/");
  server.requests = [];
  await page.reload();
  await until(page, /^Ready/);
  assert.match(await state(page), /^Ready/, await page.textContent("#trouble"));
  const asked = server.requests.filter((path) => path.startsWith("/model/") && !path.endsWith("files.json"));
  assert.deepEqual(asked, []);
  await generate(page, { steps: 1 });
  assert.match(await page.textContent("#storage"), /MB/);
  await page.click("#clear");
  await page.waitForFunction(() => document.getElementById("storage").textContent === "nothing yet");
}

/** A picture of the command line's, dropped on the page, fills the form; one without settings says so. */
export async function page_takes_dropped_settings(given) {
  const { page } = given;
  await ready(given);
  const flags = ["-n", "rain", "--steps", "3", "--cfg-scale", "4", "--seed", "77", "--sampler", "dpm++2m"];
  const png = draw(["a fox in snow", ...flags, "--scheduler", "karras", "-W", "72", "-H", "64"]);
  await page.evaluate((bytes) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(bytes)], "out.png", { type: "image/png" }));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }, [...png]);
  await until(page, /settings are in the form/);
  const form = await page.$eval("#form", (f) => Object.fromEntries(new FormData(f)));
  assert.deepEqual(form, {
    prompt: "a fox in snow", negativePrompt: "rain", steps: "3", cfgScale: "4", width: "72", height: "64", seed: "77",
    sampler: "dpm++2m", scheduler: "karras",
  });
}

/** Without WebGPU there is a sentence, not a stack. */
export async function page_explains_a_browser_without_webgpu({ page, server }) {
  await page.addInitScript(() => Object.defineProperty(Navigator.prototype, "gpu", { get: () => undefined }));
  await page.goto(server.url);
  await page.waitForFunction(() => !document.getElementById("trouble").hidden);
  assert.match(await page.textContent("#trouble"), /This browser has no WebGPU/);
}
