// The engine behind the page, called as any other page would call it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { BYTES } from "./big.mjs";
import { apart, read, root, tensors } from "./native.mjs";

/** WebAssembly memory that loading and running the large model may take. */
const HEAP = 256 << 20;

async function engine({ page, server }) {
  await page.goto(`${server.url}test/blank.html`);
  await page.evaluate(async () => {
    const { Calotype } = await import("/pkg/calotype.js");
    globalThis.engine = await Calotype.create();
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
  for (const golden of JSON.parse(readFileSync(join(folder, "pictures.json")))) {
    const pngs = await page.evaluate(
      async ({ golden, latents }) => {
        const { pictures } = await draw({
          prompt: golden.prompts, negativePrompt: golden.negative_prompts, width: golden.width, height: golden.height,
          steps: golden.steps, cfgScale: golden.guidance, cfgRescale: golden.guidance_rescale,
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

/** A connection that breaks costs what was under way, not the file. */
export async function engine_resumes_a_broken_download(given) {
  const { page, server } = given;
  await engine(given);
  let passed = 0;
  let broken = 0;
  server.dropAfter = (path, bytes) => {
    if (!path.includes("/unet/diffusion")) return false;
    passed += bytes;
    return broken === 0 && passed > 1_500_000 && ++broken === 1;
  };
  // What is on the wire when it breaks is lost, so it must not all be on the wire.
  Object.assign(server, { sent: 0, pause: 100 });
  await page.evaluate(() => engine.load("/model/"));
  assert.equal(broken, 1);
  const listed = JSON.parse(readFileSync(join(root, "web/dist/model/files.json"))).files;
  const whole = Object.values(listed).reduce((sum, { size }) => sum + size, 0);
  assert.ok(server.sent < whole + 700_000, `${server.sent} bytes were sent of a model of ${whole}`);
  return `${server.sent} bytes sent for ${whole}`;
}

/** A later visit goes on where the first one lost the server; a server without ranges does as well. */
export async function engine_goes_on_in_a_later_visit(given) {
  const { page, server } = given;
  await engine(given);
  let passed = 0;
  server.dropAfter = (path, bytes) => path.includes("/unet/diffusion") && (passed += bytes) > 1_500_000;
  server.pause = 100;
  const error = await page.evaluate(() => engine.load("/model/").then(() => "", (error) => error.message));
  assert.match(error, /broke off at \d+ of 3143560 bytes .* load it again to go on/);
  Object.assign(server, { dropAfter: null, pause: 0 });
  await engine(given);
  server.sent = 0;
  await page.evaluate(() => engine.load("/model/"));
  const resumed = server.sent;
  assert.ok(resumed < 3_300_000, `${resumed} bytes were sent`);
  await page.evaluate(() => engine.clearStorage());
  server.noRanges = true;
  await page.evaluate(() => engine.load("/model/"));
  return `${resumed} bytes in the second visit`;
}

/** Bytes that are not those of the list are refused. */
export async function engine_refuses_damaged_bytes(given) {
  const { page, context } = given;
  await context.route("**/model/files.json", async (route) => {
    const text = await (await route.fetch()).text();
    await route.fulfill({ body: text.replace(/("vae\/diffusion[^}]*"sha256": ")./, "$1x") });
  });
  await engine(given);
  const error = await page.evaluate(() => engine.load("/model/").then(() => "", (error) => error.message));
  assert.match(error, /vae\/diffusion_pytorch_model\.safetensors: damaged on the way/);
}

/** Leaving the loop or aborting ends a run; the engine draws again; after dispose it says so. */
export async function engine_can_be_left_at_any_time(given) {
  const { page } = given;
  await engine(given);
  const told = await page.evaluate(async () => {
    await engine.load("/model/");
    const long = { prompt: "x", steps: 500, seed: 1 };
    for await (const step of engine.generate({ ...long, preview: 1 })) {
      if (step.preview) break;
    }
    const control = new AbortController();
    let aborted;
    try {
      for await (const step of engine.generate({ ...long, signal: control.signal })) control.abort();
    } catch (error) {
      aborted = error.name;
    }
    const wrong = await draw({ prompt: "x", steps: 1, stesp: 2 }).catch((error) => error.message);
    const plan = await engine.plan({ ...long, steps: 500 });
    const held = (await engine.memory()).devicePeakBytes;
    const last = await draw({ prompt: "x", steps: 1 });
    engine.dispose();
    const after = await draw({ prompt: "x" }).catch((error) => error.message);
    return { aborted, wrong, plan, held, size: last.pictures[0].image.width, after };
  });
  assert.equal(told.aborted, "AbortError");
  assert.match(told.wrong, /unknown field `stesp`/);
  assert.ok(told.held <= told.plan, `${told.held} bytes held, ${told.plan} planned`);
  assert.equal(told.size, 64);
  assert.match(told.after, /stopped|disposed/);
}

/** Speaks the browser's debugging protocol with the engine's Worker: playwright has no way to its heap. */
async function worker({ page, context }) {
  const cdp = await context.newCDPSession(page);
  const attached = new Promise((resolve) => cdp.once("Target.attachedToTarget", resolve));
  await cdp.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  const { sessionId } = await attached;
  const waiting = new Map();
  cdp.on("Target.receivedMessageFromTarget", ({ message }) => {
    const { id, result } = JSON.parse(message);
    waiting.get(id)?.(result);
  });
  let id = 0;
  return async (method) => {
    const answer = new Promise((resolve) => waiting.set(++id, resolve));
    await cdp.send("Target.sendMessageToTarget", { sessionId, message: JSON.stringify({ id, method }) });
    return answer;
  };
}

/** Twenty pictures and five models later nothing has grown. */
export async function engine_does_not_grow(given) {
  const { page } = given;
  await engine(given);
  const inWorker = await worker(given);
  const rounds = [];
  for (let round = 0; round < 6; round++) {
    const held = await page.evaluate(async (model) => {
      await engine.load(model);
      for (let i = 0; i < 4; i++) await draw({ prompt: `picture ${i}`, steps: 1, width: 64, height: i % 2 ? 64 : 72 });
      gc();
      return { ...(await engine.memory()), js: performance.memory.usedJSHeapSize };
    }, round % 2 ? "/goldens/sd2-tiny/model/" : "/model/");
    await inWorker("HeapProfiler.collectGarbage");
    held.js += (await inWorker("Runtime.getHeapUsage")).usedSize;
    rounds.push(held);
  }
  // The first round of each model grows to its size; from then on every figure repeats.
  for (let round = 2; round < rounds.length; round++) {
    const [now, first] = [rounds[round], rounds[round % 2]];
    assert.equal(now.deviceBytes, first.deviceBytes);
    assert.ok(now.heapBytes <= rounds[1].heapBytes + (1 << 20), `${now.heapBytes} after ${rounds[1].heapBytes}`);
    assert.ok(now.js <= Math.max(rounds[0].js, rounds[1].js) + (1 << 20), `${now.js} after ${rounds[1].js}`);
  }
  const mb = (bytes) => (bytes / 1e6).toFixed(1);
  return `24 pictures, 5 switches; device ${rounds.map((r) => mb(r.deviceBytes)).join(" ")}, wasm heap ` +
    `${rounds.map((r) => mb(r.heapBytes)).join(" ")}, JS heap ${rounds.map((r) => mb(r.js)).join(" ")} MB`;
}

/** A model much larger than WebAssembly's memory goes through it in pieces. */
export async function engine_streams_a_large_model(given) {
  const { page, server } = given;
  await engine(given);
  let [passed, broken] = [0, 0];
  server.dropAfter = (path, bytes) => (passed += bytes) > BYTES / 2 && broken++ === 0;
  server.sent = 0;
  const told = await page.evaluate(async () => {
    const model = await engine.load("/big/");
    await draw({ prompt: "large", steps: 1, seed: 1, cfgScale: 1 });
    return { ...(await engine.memory()), parameters: model.parameters, seconds: model.seconds };
  });
  assert.ok(broken > 0 && server.sent > BYTES && server.sent < BYTES + (48 << 20), `${server.sent} bytes were sent`);
  assert.ok(told.heapBytes < HEAP, `${told.heapBytes} bytes of WebAssembly memory`);
  const mb = (bytes) => Math.round(bytes / 1e6);
  return `${mb(server.sent)} MB through ${mb(told.heapBytes)} MB of wasm heap in ${told.seconds.toFixed(0)} s`;
}
