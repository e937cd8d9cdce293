// A step of the UNet in a tab: Calotype next to onnxruntime-web's WebGPU provider, in one browser, on one adapter, from
// the same weights.
//
//   npm ci --prefix tests/web && npm ci --prefix scripts/web_speed && cargo xtask web
//   node scripts/web_speed/run.mjs model 4 FOLDER            a folder of the tiny model with four times its channels
//   python scripts/peers.py export FOLDER MODEL.onnx
//   node scripts/web_speed/run.mjs time FOLDER MODEL.onnx PIXELS [STEPS]
//
// Both run the guided batch of two at f32, on the same noise and the same prompts; the line that is printed holds the
// largest difference of the two guided outputs, relative to the largest output, and nothing is timed where it is above
// 1e-3. Ours is the time of a whole run's denoising by its steps: the UNet, guidance and the sampler's update. The
// peer's is the median time from giving it its inputs to having its output in memory. The two take turns, so that what
// else the machine does hits both.
//
//   node scripts/web_speed/run.mjs all [STEPS]               both models of docs/performance.md, from nothing; PYTHON
//                                                            names a Python with the packages of peers.py

import { execFileSync } from "node:child_process";
import { createWriteStream, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { serve } from "../../tests/web/server.mjs";
import { root } from "../../tests/web/native.mjs";
import { scaled } from "../../tests/web/big.mjs";
import { launch } from "./browser.mjs";

const [command, ...rest] = process.argv.slice(2);
if (command === "model") await make(Number(rest[0]), rest[1]);
else if (command === "time") await time(rest[0], rest[1], Number(rest[2]), Number(rest[3] ?? 10));
else if (command === "all") await all(Number(rest[0] ?? 10));
else throw new Error("run.mjs model K FOLDER | run.mjs time FOLDER MODEL.onnx PIXELS [STEPS] | run.mjs all [STEPS]");

async function all(steps) {
  const folder = mkdtempSync(join(tmpdir(), "calotype-speed-"));
  try {
    for (const k of [1, 4]) {
      const [model, onnx] = [join(folder, `${k}`), join(folder, `${k}.onnx`)];
      await make(k, model);
      execFileSync(process.env.PYTHON ?? "python3", [join(root, "scripts/peers.py"), "export", model, onnx], {
        stdio: ["ignore", "ignore", "inherit"],
      });
      await time(model, onnx, 64, steps);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

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
  const browser = await launch();
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
  const engine = await Calotype.create();
  await engine.load("/model/", { dtype: "f32" });
  const json = async (path) => (await fetch(`/model/${path}`)).json();
  const [prompt, guidance, side] = ["speed", 7.5, pixels / 8];
  const noise = Float32Array.from({ length: 4 * side * side }, (_, i) => Math.sin(i * 12.9898) * 1.5);
  const draw = async (steps) => {
    let last;
    const words = { prompt, steps, cfgScale: guidance, sampler: "ddim", width: pixels, height: pixels, latents: noise };
    for await (const told of engine.generate(words)) last = told;
    return last;
  };
  const ours = async (steps) => (await draw(steps)).timings.denoise / steps;

  const ort = await import("/peer/ort.webgpu.min.mjs");
  ort.env.wasm.wasmPaths = "/peer/";
  const session = await ort.InferenceSession.create(onnx, { executionProviders: ["webgpu"], logSeverityLevel: 3 });
  const { tokens, hidden } = await json("text_encoder/config.json").then((c) => ({
    tokens: c.max_position_embeddings, hidden: c.hidden_size,
  }));
  const states = new Float32Array(2 * tokens * hidden);
  states.set(await engine.encodeText(""));
  states.set(await engine.encodeText(prompt), tokens * hidden);
  const scheduler = await json("scheduler/scheduler_config.json");
  // One step of DDIM with leading spacing is this one.
  const timestep = scheduler.steps_offset;
  const feeds = {
    sample: new ort.Tensor("float32", Float32Array.from([...noise, ...noise]), [2, 4, side, side]),
    timestep: new ort.Tensor("float32", new Float32Array([timestep]), [1]),
    encoder_hidden_states: new ort.Tensor("float32", states, [2, tokens, hidden]),
  };
  const run = async () => {
    const { output } = await session.run(feeds);
    return output.getData();
  };
  const peer = async (steps) => {
    const times = [];
    for (let i = 0; i < steps; i++) {
      const start = performance.now();
      await run();
      times.push(performance.now() - start);
    }
    return times.sort((a, b) => a - b)[steps >> 1];
  };

  // The same work? A step of DDIM is linear in the guided output, which is found from where the step led.
  const alphas = [];
  for (let i = 0, product = 1; i < scheduler.num_train_timesteps; i++) {
    const [low, high] = [scheduler.beta_start ** 0.5, scheduler.beta_end ** 0.5];
    product *= 1 - (low + ((high - low) * i) / (scheduler.num_train_timesteps - 1)) ** 2;
    alphas.push(product);
  }
  const known = scheduler.beta_schedule === "scaled_linear" && scheduler.prediction_type !== "v_prediction" &&
    !["trailing", "linspace"].includes(scheduler.timestep_spacing);
  if (!known) throw new Error("the comparison is written for Stable Diffusion's own schedule");
  const [now, next] = [alphas[timestep], scheduler.set_alpha_to_one ? 1 : alphas[0]];
  const ofNoise = (next / now) ** 0.5;
  const ofOutput = (1 - next) ** 0.5 - ofNoise * (1 - now) ** 0.5;
  const [led, halves] = [(await draw(1)).latents, await run()];
  let [apart, largest] = [0, 0];
  for (let i = 0; i < noise.length; i++) {
    const theirs = halves[i] + guidance * (halves[noise.length + i] - halves[i]);
    apart = Math.max(apart, Math.abs((led[i] - ofNoise * noise[i]) / ofOutput - theirs));
    largest = Math.max(largest, Math.abs(theirs));
  }
  const difference = apart / largest;
  if (!(difference < 1e-3)) throw new Error(`the two engines' outputs are ${difference} of the largest apart`);

  const firsts = { ours: await ours(1), peer: await peer(1) };
  const rounds = [];
  for (let round = 0; round < 3; round++) rounds.push({ ours: await ours(steps), peer: await peer(steps) });
  const median = (name) => rounds.map((r) => r[name]).sort((a, b) => a - b)[1];
  return {
    difference, firsts, rounds, milliseconds: { ours: median("ours"), peer: median("peer") },
    ratio: median("peer") / median("ours"), peerVersion: ort.env.versions.web, adapter: engine.adapter.name,
  };
}
