// What a person is told when something is wrong, and what the page can do about it.

import assert from "node:assert/strict";
import { cpSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { changed, inFolder, root, TINY } from "./native.mjs";
import { click, fill, generate, ready, says, state, text, until, waits } from "./page.mjs";
import { written } from "./safetensors.mjs";
import { beforeTheWorker, capTheHeap } from "./workers.mjs";

/** How long the page may still show what it complained of before, in milliseconds. */
const BEFORE = 30_000;

/** What the page complains of: words for a person. */
export async function trouble(page, pattern) {
  await waits(page, () => !document.getElementById("trouble").hidden);
  // Until a browser hands files over the page knows nothing of them.
  const said = (pattern) => new RegExp(pattern).test(document.getElementById("trouble").textContent);
  await page.waitForFunction(said, { polling: 50, timeout: BEFORE }, pattern.source).catch(() => {});
  const told = await text(page, "#trouble");
  assert.match(told, pattern);
  assert.doesNotMatch(told, /\.rs:|\.m?js:|wasm|unreachable|undefined|null|panicked|\n| {2}|(^| )--?[a-z]/);
  return told;
}

async function asked(page, pattern) {
  await click(page, "#generate");
  await until(page, /^(Done|No )/);
  assert.match(await state(page), pattern, await text(page, "#trouble"));
}

/** No WebGPU in the page, or none in its Workers: nothing to click. */
export async function trouble_without_webgpu(given) {
  const { page, server } = given;
  await page.evaluateOnNewDocument(() => Object.defineProperty(Navigator.prototype, "gpu", { get: () => undefined }));
  await page.goto(server.url);
  await trouble(page, /^This browser has no WebGPU.*It needs https or localhost, and Chrome/);
  assert.equal(await state(page), "No picture can be made here.");
  assert.ok(await page.$eval("#generate", (button) => button.disabled));
}

export async function trouble_without_webgpu_in_workers(given) {
  const { page, server } = given;
  beforeTheWorker(server, () => Object.defineProperty(WorkerNavigator.prototype, "gpu", { get: () => undefined }));
  await page.goto(server.url);
  await trouble(page, /^This browser keeps WebGPU from Workers/);
  assert.equal(await state(page), "No picture can be made here.");
}

/** WebGPU, but no GPU; then there is one, and a click is enough. */
export async function trouble_without_an_adapter(given) {
  const { page, server } = given;
  const found = beforeTheWorker(server, () => (GPU.prototype.requestAdapter = async () => null));
  await page.goto(`${server.url}?model=/tiny/`);
  await trouble(page, /has WebGPU but found no GPU that it may use: update the graphics driver/);
  assert.equal(await state(page), "No picture can be made here.");
  await asked(page, /^No picture can be made here/);
  found();
  await fill(page, "[name=steps]", "1");
  await fill(page, "[name=width]", "72");
  await fill(page, "[name=height]", "64");
  await asked(page, /^Done/);
}

/** The browser's GPU process dies in the middle of a run; the next click opens the GPU and the model again. */
export async function trouble_with_a_lost_gpu(given) {
  const { page, browser, driver } = given;
  given.expected = /WebGL|GPU process|context/i;
  await ready(given);
  await fill(page, "[name=steps]", "500");
  await fill(page, "[name=width]", "72");
  await click(page, "#generate");
  await until(page, /^Step 2 /);
  await driver.crashGpu(browser);
  await until(page, /^No picture/);
  const told = await trouble(page, /^the GPU .*was lost .*smaller width and height/);
  assert.equal(await state(page), "No picture. Generate opens the GPU again.");
  assert.match(await text(page, "#model"), /^None/);
  await fill(page, "[name=steps]", "1");
  await asked(page, /^Done/);
  // As it was asked for, not as the model that was loaded again would have it.
  assert.match(await text(page, "figcaption"), /Size: 72x64/);
  return told;
}

/** The same while nothing runs: told at the next click. */
export async function trouble_with_a_gpu_lost_in_between(given) {
  const { page, server } = given;
  beforeTheWorker(server, () => {
    const { requestDevice } = GPUAdapter.prototype;
    GPUAdapter.prototype.requestDevice = async function (...options) {
      const device = await requestDevice.apply(this, options);
      new BroadcastChannel("lose").onmessage = () => device.destroy();
      return device;
    };
  });
  await ready(given);
  await generate(page, { steps: 1 });
  await page.evaluate(() => new BroadcastChannel("lose").postMessage(1));
  await sleep(500);
  await asked(page, /^No picture\. Generate opens the GPU again/);
  await trouble(page, /^the GPU .*was lost/);
  await asked(page, /^Done/);
}

/** A picture whose parts are larger than the GPU's buffers is refused before anything runs. */
export async function trouble_with_a_picture_too_large(given) {
  const { page } = given;
  await ready(given);
  await fill(page, "[name=steps]", "1");
  await fill(page, "[name=width]", "8192");
  await fill(page, "[name=height]", "8192");
  await asked(page, /^No picture\.$/);
  const told = await trouble(page, /^the picture is too large for this GPU, .* needs \d+\. Choose a smaller width and height$/);
  await fill(page, "[name=width]", "64");
  await fill(page, "[name=height]", "64");
  await asked(page, /^Done/);
  return told;
}

/** A GPU whose memory ends while buffers are made, as WebGPU tells of it: later, and to nobody in particular. */
export async function trouble_with_too_little_gpu_memory(given) {
  const { page, server } = given;
  beforeTheWorker(server, () => {
    const { createBuffer } = GPUDevice.prototype;
    const taken = new WeakMap();
    GPUDevice.prototype.createBuffer = function (options) {
      const bytes = (taken.get(this) ?? 0) + options.size;
      taken.set(this, bytes);
      const error = () => new GPUOutOfMemoryError("no memory");
      if (bytes > 20e6) this.dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error: error() }));
      return createBuffer.call(this, options);
    };
  });
  await ready(given);
  await fill(page, "[name=steps]", "1");
  await fill(page, "[name=width]", "512");
  await fill(page, "[name=height]", "512");
  await asked(page, /^No picture\.$/);
  const told = await trouble(page, /^the GPU has too little memory: it gave up at [\d.]+ MB\. Choose a smaller width/);
  await fill(page, "[name=width]", "64");
  await fill(page, "[name=height]", "64");
  await asked(page, /^Done/);
  return told;
}

/** A tab that has no more memory for the engine itself; when there is some again, a click or a reload is enough. */
export async function trouble_with_too_little_memory_in_the_tab(given) {
  const { page, server } = given;
  const uncap = capTheHeap(server, 4 << 20);
  await page.goto(`${server.url}?model=/tiny/`);
  await trouble(page, /^the tab ran out of memory: the engine holds \d+ MB of it and gets no more/);
  assert.equal(await state(page), "No model is loaded. Generate opens the GPU again.");
  uncap();
  await fill(page, "[name=steps]", "1");
  await fill(page, "[name=width]", "64");
  await fill(page, "[name=height]", "64");
  await asked(page, /^Done/);
  await page.reload();
  await says(page, /^Ready/);
}

/** What a run cannot be told of in the form's own words. */
export async function trouble_in_the_words_of_the_form(given) {
  const { page } = given;
  await ready(given);
  await page.$eval("#form", (form) => (form.noValidate = true));
  await fill(page, "[name=width]", "100");
  await asked(page, /^No picture\.$/);
  await trouble(page, /^width 100 is not a multiple of 8, the model's smallest step: use 96 or 104$/);
  await fill(page, "[name=width]", "64");
  await fill(page, "[name=cfgScale]", "1e39");
  await asked(page, /^No picture\.$/);
  await trouble(page, /^CFG scale/);
  await fill(page, "[name=cfgScale]", "5");
  await fill(page, "[name=seed]", "twelve");
  await asked(page, /^No picture\.$/);
  await trouble(page, /^seed twelve is not a whole number from 0 to/);
}

/** Files that are no model get a sentence that names them, and the model before them stays. */
export async function trouble_with_bad_files(given) {
  const { page, driver } = given;
  await ready(given);
  const refused = async (input, files, pattern) => {
    await driver.choose(page, input, [files].flat());
    await trouble(page, pattern);
    assert.match(await state(page), /still loaded/);
  };
  await inFolder(async (folder) => {
    const file = (name, bytes) => (writeFileSync(join(folder, name), bytes), join(folder, name));
    await refused("#files", file("words.safetensors", "no tensors here"), /^words\.safetensors: /);
    await refused("#files", [file("a.safetensors", ""), file("b.json", "{}")], /^a\.safetensors: .*it is empty/);
    await refused("#files", file("b.json", "{}"), /^b\.json: not a usable index of shards/);

    const tensor = (name) => written([{ name, dtype: "F32", shape: [1], data: Buffer.alloc(4) }]);
    const single = file("v1-5-pruned.safetensors", tensor("model.diffusion_model.input_blocks.0.0.weight"));
    await refused("#files", single, /^v1-5-pruned\.safetensors: /);
    await refused("#files", file("x.safetensors", tensor("x.weight")), /^x\.safetensors: a file of tensors that are of nothing known/);
    const other = join(root, "tests/goldens/sd2-tiny/model/unet/diffusion_pytorch_model.safetensors");
    // No tensor tells how many groups its norms have.
    await refused("#files", other, /^diffusion_pytorch_model\.safetensors: block_out_channels = .* norm_num_groups 32/);

    const model = join(folder, "broken");
    cpSync(TINY, model, { recursive: true });
    truncateSync(join(model, "unet/diffusion_pytorch_model.safetensors"), 100_000);
    await refused("#folder", model, /unet\/diffusion_pytorch_model\.safetensors: truncated/);
    rmSync(join(model, "model_index.json"));
    await refused("#folder", model, /broken\/model_index\.json: no such file; a model is a folder/);
  });
  await generate(page, { steps: 1 });
}

/** Numbers that overflow on the way are told with their step, and no picture is shown. */
export async function trouble_with_numbers_names_the_step(given) {
  const { page, driver } = given;
  await ready(given);
  await inFolder(async (folder) => {
    const file = join(folder, "flood.safetensors");
    const unet = "unet/diffusion_pytorch_model.safetensors";
    writeFileSync(file, changed(unet, "conv_out.weight", (half) => (half & 0x8000) | 0x7800));
    await driver.choose(page, "#files", [file]);
    await until(page, /^Ready: tiny \+ flood\.safetensors/);
    await fill(page, "[name=steps]", "3");
    await page.select("[name=sampler]", "euler");
    await page.$eval("#form", (form) => (form.noValidate = true));
    await fill(page, "[name=cfgScale]", "3e38");
    await asked(page, /^No picture\.$/);
    const told = await trouble(page, /no picture: the UNet, at step 1 of 3, produced \d+ values that are not finite/);
    assert.equal(await page.$$eval("#gallery figure", (all) => all.length), 0);
    return told;
  });
}
