// A step of the UNet in a tab: Calotype next to onnxruntime-web's WebGPU provider, in one browser, on one adapter, from
// the same weights.
//
//   npm ci --prefix scripts/web_speed && cargo xtask web
//   node scripts/web_speed/run.mjs model 4 FOLDER            a folder of the tiny model with four times its channels
//   python scripts/peers.py export FOLDER MODEL.onnx
//   node scripts/web_speed/run.mjs time FOLDER MODEL.onnx PIXELS [STEPS]
//
// Both run the guided batch of two at f32. Ours is the time of a whole run's denoising by its steps: the UNet, guidance
// and the sampler's update. The peer's is the median time from giving it its inputs to having its output in memory.
// The two take turns, so that what else the machine does hits both.

import { createWriteStream, mkdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { chromium } from "playwright-core";
import { serve } from "../../tests/web/server.mjs";
import { root } from "../../tests/web/native.mjs";
import { scaled } from "../../tests/web/big.mjs";

const FLAGS = ["--no-sandbox", "--enable-unsafe-webgpu", ...(process.env.ADAPTER === "gpu" ? [] : ["--use-webgpu-adapter=swiftshader"])];

const [command, ...rest] = process.argv.slice(2);
if (command === "model") await make(Number(rest[0]), rest[1]);
else if (command === "time") await time(rest[0], rest[1], Number(rest[2]), Number(rest[3] ?? 10));
else throw new Error("run.mjs model K FOLDER | run.mjs time FOLDER MODEL.onnx PIXELS [STEPS]");

async function make(k, folder) {
  for (const [path, file] of Object.entries(scaled(k))) {
    const name = join(folder, path);
    mkdirSync(dirname(name), { recursive: true });
    const stream = createWriteStream(name);
    for await (const piece of file.bytes(0, file.size)) stream.write(Buffer.from(piece));
    await new Promise((done) => stream.end(done));
  }
}

async function time(folder, onnx, pixels, steps) {
  const server = await serve({
    "/": join(root, "web/dist"),
    "/test/": join(root, "tests/web"),
    "/peer/": join(root, "scripts/web_speed/node_modules/onnxruntime-web/dist"),
    "/model/": resolve(folder),
    "/onnx/": dirname(resolve(onnx)),
  });
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(0);
    page.on("console", (message) => message.type() === "error" && console.error(message.text()));
    await page.goto(`${server.url}test/blank.html`);
    const told = await page.evaluate(measure, { onnx: `/onnx/${onnx.split("/").pop()}`, pixels, steps });
    console.log(JSON.stringify({ folder, pixels, steps, ...told }));
  } finally {
    await browser.close();
    server.close();
  }
}

// In the page.
async function measure({ onnx, pixels, steps }) {
  const { Calotype } = await import("/pkg/calotype.js");
  const engine = await Calotype.create();
  await engine.load("/model/", { dtype: "f32" });
  const ours = async (steps) => {
    let last;
    const words = { prompt: "speed", steps, seed: 1, sampler: "ddim", width: pixels, height: pixels };
    for await (const told of engine.generate(words)) last = told;
    return last.timings.denoise / steps;
  };

  const ort = await import("/peer/ort.webgpu.min.mjs");
  ort.env.wasm.wasmPaths = "/peer/";
  const session = await ort.InferenceSession.create(onnx, { executionProviders: ["webgpu"], logSeverityLevel: 3 });
  const hidden = (await (await fetch("/model/text_encoder/config.json")).json()).hidden_size;
  const noise = (numel) => Float32Array.from({ length: numel }, (_, i) => Math.sin(i * 12.9898) * 1.5);
  const side = pixels / 8;
  const feeds = {
    sample: new ort.Tensor("float32", noise(2 * 4 * side * side), [2, 4, side, side]),
    timestep: new ort.Tensor("float32", new Float32Array([500]), [1]),
    encoder_hidden_states: new ort.Tensor("float32", noise(2 * 77 * hidden), [2, 77, hidden]),
  };
  const peer = async (steps) => {
    const times = [];
    for (let i = 0; i < steps; i++) {
      const start = performance.now();
      const { output } = await session.run(feeds);
      await output.getData();
      times.push(performance.now() - start);
    }
    return times.sort((a, b) => a - b)[steps >> 1];
  };

  const firsts = { ours: await ours(1), peer: await peer(1) };
  const rounds = [];
  for (let round = 0; round < 3; round++) rounds.push({ ours: await ours(steps), peer: await peer(steps) });
  const median = (name) => rounds.map((r) => r[name]).sort((a, b) => a - b)[1];
  return {
    firsts, rounds, milliseconds: { ours: median("ours"), peer: median("peer") },
    ratio: median("peer") / median("ours"), peerVersion: ort.env.versions.web, adapter: engine.adapter.name,
  };
}
