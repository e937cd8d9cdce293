// The engine behind the page, called as any other page would call it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { BYTES, SINGLE } from "./big.mjs";
import { apart, read, root, tensors } from "./native.mjs";
import { beforeTheWorker, capTheHeap } from "./workers.mjs";

/** All the WebAssembly memory there is while the large model loads and runs. */
const HEAP = 256 << 20;

/** Opens an engine in an empty page. */
export async function engine({ page, server }) {
  await page.goto(`${server.url}test/blank.html`);
  await page.evaluate(async () => {
    // A machine that is busy with other work takes its time.
    globalThis.engine = await Calotype.create({ timeout: 900_000 });
    globalThis.draw = async (words) => {
      let last;
      for await (const told of engine.generate(words)) last = told;
      return last;
    };
  });
}

async function golden(given, model) {
  const { page } = given;
  await engine(given);
  const folder = join(root, "tests/goldens", model);
  const tensor = tensors(join(folder, "pictures.safetensors"));
  await page.evaluate((url) => engine.load(url, { dtype: "f32" }), `/goldens/${model}/model/`);
  const told = [];
  const cases = JSON.parse(readFileSync(join(folder, "pictures.json")));
  for (const golden of cases.filter(({ lora }) => !lora)) {
    const pngs = await page.evaluate(
      async ({ golden, latents }) => {
        const { pictures } = await draw({
          prompt: golden.prompts, negativePrompt: golden.negative_prompts, width: golden.width, height: golden.height,
          steps: golden.steps, cfgScale: golden.guidance, cfgRescale: golden.guidance_rescale,
          ...Object.fromEntries(
            [["prompt2", "prompts_2"], ["negativePrompt2", "negative_prompts_2"], ["originalSize", "original_size"],
              ["crop", "crop"], ["targetSize", "target_size"]]
              .filter(([, field]) => golden[field]?.length).map(([word, field]) => [word, golden[field]]),
          ),
          latents: new Float32Array(latents),
        });
        return Promise.all(pictures.map(async ({ png }) => [...new Uint8Array(await png.arrayBuffer())]));
      },
      { golden, latents: tensor(golden.latents) },
    );
    assert.equal(pngs.length, golden.png.length);
    const most = Math.max(...pngs.map((png, i) =>
      apart(read(Buffer.from(png)), read(readFileSync(join(folder, golden.png[i]))))));
    assert.ok(most <= 2, `${golden.name}: ${most} of 255 apart`);
    told.push(`${golden.name} ${most}`);
  }
  return `of 255 apart from diffusers: ${told.join(", ")}`;
}

export const engine_agrees_with_diffusers_on_sd1_tiny = (given) => golden(given, "sd1-tiny");
export const engine_agrees_with_diffusers_on_sd2_tiny = (given) => golden(given, "sd2-tiny");
export const engine_agrees_with_diffusers_on_sdxl_tiny = (given) => golden(given, "sdxl-tiny");

/** A GPU with nothing beyond what WebGPU promises everywhere is enough. */
export async function engine_needs_no_more_than_the_default_limits(given) {
  const { page, server } = given;
  beforeTheWorker(server, () => {
    // https://www.w3.org/TR/webgpu/#limit-default; the device is asked for what the adapter tells, and then held to it.
    const defaults = {
      maxBufferSize: 256 << 20, maxStorageBufferBindingSize: 128 << 20, maxStorageBuffersPerShaderStage: 8,
      maxComputeWorkgroupStorageSize: 16 << 10, maxComputeInvocationsPerWorkgroup: 256, maxUniformBufferBindingSize: 64 << 10,
    };
    for (const [name, value] of Object.entries(defaults)) {
      Object.defineProperty(GPUSupportedLimits.prototype, name, { get: () => value });
    }
  });
  await engine(given);
  const told = await page.evaluate(async () => {
    await engine.load("/tiny/");
    const { pictures } = await draw({ prompt: "small", steps: 1 });
    return { ...engine.adapter, drawn: pictures.length };
  });
  assert.equal(told.drawn, 1);
  assert.deepEqual([told.maxBuffer, told.maxBinding, told.workgroupMemory], [256 << 20, 128 << 20, 16 << 10]);
}

/** Leaving the loop or aborting ends a run; the engine draws again; after dispose it says so. */
export async function engine_can_be_left_at_any_time(given) {
  const { page } = given;
  await engine(given);
  const told = await page.evaluate(async () => {
    await engine.load("/tiny/");
    const long = { prompt: "x", steps: 500, seed: 1 };
    let preview;
    for await (const step of engine.generate({ ...long, preview: 1 })) {
      if ((preview = step.preview)) break;
    }
    const control = new AbortController();
    let aborted;
    try {
      for await (const step of engine.generate({ ...long, signal: control.signal })) control.abort();
    } catch (error) {
      aborted = error.name;
    }
    const wrong = await draw({ prompt: "x", steps: 1, stesp: 2 }).catch((error) => error.message);
    const flag = await draw({ prompt: "x", cfgRescale: 2 }).catch((error) => error.message);
    const plan = await engine.plan({ ...long, steps: 500 });
    const held = (await engine.memory()).devicePeakBytes;
    const last = await draw({ prompt: "x", steps: 1 });
    engine.dispose();
    const after = await draw({ prompt: "x" }).catch((error) => error.message);
    const { width } = last.pictures[0].image;
    return { aborted, wrong, flag, plan, held, size: [preview.width, width], after, latents: last.latents.length };
  });
  assert.equal(told.aborted, "AbortError");
  assert.match(told.wrong, /unknown field `stesp`/);
  assert.ok(told.held <= told.plan, `${told.held} bytes held, ${told.plan} planned`);
  assert.deepEqual(told.size, [8, 64]);
  assert.equal(told.latents, 4 * 8 * 8);
  assert.match(told.flag, /^cfgRescale 2 is not between 0 and 1$/);
  assert.match(told.after, /stopped|disposed/);
}

/** Twenty pictures and five models later nothing has grown. */
export async function engine_does_not_grow(given) {
  const { page, driver } = given;
  await engine(given);
  const rounds = [];
  for (let round = 0; round < 6; round++) {
    const held = await page.evaluate(async (model) => {
      await engine.load(model);
      for (let i = 0; i < 4; i++) await draw({ prompt: `picture ${i}`, steps: 1, width: 64, height: i % 2 ? 64 : 72 });
      return engine.memory();
    }, round % 2 ? "/goldens/sd2-tiny/model/" : "/tiny/");
    rounds.push({ ...held, js: await driver.heap?.(page) });
  }
  // The first round of each model grows to its size; from then on every figure repeats.
  for (let round = 2; round < rounds.length; round++) {
    const [now, first] = [rounds[round], rounds[round % 2]];
    assert.equal(now.deviceBytes, first.deviceBytes);
    assert.ok(now.heapBytes <= rounds[1].heapBytes + (1 << 20), `${now.heapBytes} after ${rounds[1].heapBytes}`);
    if (driver.heap) assert.ok(now.js <= Math.max(rounds[0].js, rounds[1].js) + (1 << 20), `${now.js} after ${rounds[1].js}`);
  }
  const mb = (name) => rounds.map((round) => (round[name] / 1e6).toFixed(1)).join(" ");
  const js = driver.heap ? mb("js") : "not told";
  return `24 pictures, 5 switches; device ${mb("deviceBytes")}, wasm heap ${mb("heapBytes")}, JS heap ${js} MB`;
}

/** A model much larger than all the memory that WebAssembly is linked with goes through it in pieces. */
export const engine_streams_a_large_model = (given) => streamed(given, "/big/", BYTES);

/** The same in one file: of a server, and then of the browser's own, as a file that somebody chose is. */
export async function engine_streams_a_large_file(given) {
  const { page, server } = given;
  const told = await streamed(given, "/big/single.safetensors", SINGLE);
  server.refuse = (path) => path.startsWith("/big/");
  const held = await page.evaluate(async () => {
    // What the download is kept in.
    const models = await (await navigator.storage.getDirectory()).getDirectoryHandle("calotype-models");
    for await (const folder of models.values()) {
      const handle = await folder.getFileHandle("single.safetensors").catch(() => null);
      if (!handle) continue;
      const file = await handle.getFile();
      const { name } = await engine.load([new File([file], "mine.safetensors")]);
      return { name, size: file.size, ...(await engine.memory()) };
    }
  });
  assert.deepEqual([held.name, held.size], ["mine", SINGLE]);
  assert.ok(held.heapBytes <= HEAP, `${held.heapBytes} bytes of WebAssembly memory`);
  return told;
}

/** Loads a model of at least `bytes` with a broken connection on the way, and draws a step with it. */
async function streamed(given, url, bytes) {
  const { page, server } = given;
  capTheHeap(server, HEAP);
  await engine(given);
  let [passed, broken] = [0, 0];
  server.dropAfter = (path, sent) => (passed += sent) > bytes / 2 && broken++ === 0;
  server.sent = 0;
  const told = await page.evaluate(async (url) => {
    const model = await engine.load(url, { width: 64, height: 64 });
    await draw({ prompt: "large", steps: 1, seed: 1, cfgScale: 1, width: 64, height: 64 });
    return { ...(await engine.memory()), parameters: model.parameters, seconds: model.seconds };
  }, url);
  assert.ok(broken > 0 && server.sent > bytes && server.sent < bytes + (64 << 20), `${server.sent} bytes were sent`);
  assert.ok(told.heapBytes <= HEAP && bytes > 2 * HEAP, `${told.heapBytes} bytes of WebAssembly memory`);
  const mb = (bytes) => Math.round(bytes / 1e6);
  return `${mb(server.sent)} MB through ${mb(told.heapBytes)} MB of wasm heap, linked with ${mb(HEAP)}, in ${told.seconds.toFixed(0)} s`;
}

/**
 * A model of a published one's names and shapes, `CALOTYPE_PUBLISHED` (sd15, sd21, sdxl; sdxl-2 has transformers of two layers
 * at most, and half the weights), in one file of f16, loads and takes a step: some minutes, as much memory as it is large, and
 * as much room on the disk.
 */
export async function engine_takes_a_published_model(given) {
  const model = process.env.CALOTYPE_PUBLISHED;
  if (!model) return "left out: CALOTYPE_PUBLISHED names none";
  const { page, server } = given;
  capTheHeap(server, HEAP);
  await engine(given);
  server.sent = 0;
  const told = await page.evaluate(async (url) => {
    const { parameters, seconds, dtype, peakBytes } = await engine.load(url, { width: 64, height: 64 });
    const { timings, pictures } = await draw({ prompt: "large", steps: 1, seed: 1, cfgScale: 1, width: 64, height: 64 });
    const { maxBuffer, maxBinding } = engine.adapter;
    return { ...(await engine.memory()), parameters, seconds, dtype, peakBytes, timings, drawn: pictures.length, maxBuffer, maxBinding };
  }, `/big/published-${model}.safetensors`);
  assert.equal(told.drawn, 1);
  assert.ok(told.heapBytes <= HEAP, `${told.heapBytes} bytes of WebAssembly memory`);
  assert.ok(server.sent > 2e9, `${server.sent} bytes were sent`);
  return `${server.sent} bytes sent; ${JSON.stringify(told)}`;
}
