// The Worker: it holds the engine, and answers one call after the other.

import init, { Engine, Sha256, heapBytes, lastPanic, samplers, schedules, settings } from "./calotype_web.js";
import { compiled } from "./kernels.js";
import { LocalFiles } from "./local.js";
import { RemoteFiles } from "./remote.js";
import * as store from "./store.js";

const ready = init({ module_or_path: new URL("./calotype_web_bg.wasm", import.meta.url) });
let engine = null;
let stopped = false;
/** What to paint with on the canvases that pages lent, by their keys. */
const canvases = new Map();

const calls = {
  async create({ powerPreference }) {
    if (!navigator.gpu) {
      const message = "This browser keeps WebGPU from Workers, where the engine runs: a newer version may not.";
      throw Object.assign(new Error(message), { name: "DeviceError" });
    }
    engine = await Engine.create(powerPreference);
    // wgpu's web backend passes on neither the names nor all of the features.
    const adapter = await navigator.gpu.requestAdapter({ powerPreference });
    const { vendor, architecture, device, description } = adapter?.info ?? {};
    const name = description || [vendor, architecture, device].filter(Boolean).join(" ");
    return { ...engine.adapter(), name, features: [...(adapter?.features ?? [])].sort() };
  },

  async load({ source, name, options }, tell) {
    const files = source.url
      ? await RemoteFiles.open(source.url, { tell, Sha256 })
      : new LocalFiles(source.files, { tell });
    files.vocabulary = vocabulary;
    try {
      if (files.loose) return await engine.open(files.loose, name, files, options);
      return await engine.load(name ?? files.name, files, options);
    } finally {
      await files.settle?.();
    }
  },

  async generate({ words, latents, preview, canvas: key }, tell) {
    stopped = false;
    const began = performance.now();
    await engine.prepare(words, latents);
    await compiled();
    const load = performance.now() - began;
    if (stopped) throw Object.assign(new Error("stopped before the first step"), { name: "StoppedError" });
    const context = canvases.get(key);
    const done = await engine.generate(words, latents, preview, (step, steps, seconds, image) => {
      if (context && image) paint(context, image);
      tell({ step, steps, seconds, ...(context ? { shown: Boolean(image) } : { preview: image }) });
      return stopped;
    });
    done.timings.load += load;
    if (context) paint(context, done.pictures[0]);
    return done;
  },

  async encodeText({ prompt }) {
    await compiled();
    return engine.encodeText(prompt);
  },

  setLoras: ({ loras }) => engine.setLoras(JSON.stringify(loras)),
  plan: ({ words }) => engine.plan(words),
  memory: () => ({ ...engine.memory(), jsBytes: performance.memory?.usedJSHeapSize }),
  samplers: () => JSON.parse(samplers()),
  schedules: () => JSON.parse(schedules()),
  storage: () => store.usage(),
  clearStorage: () => store.clear(),

  async settings({ png }) {
    const bytes = new Uint8Array(png instanceof Blob ? await png.arrayBuffer() : png);
    const found = settings(bytes);
    return found === undefined ? null : JSON.parse(found);
  },

  dispose() {
    engine?.dispose();
    engine = null;
    self.close();
  },
};

/** What prompts are read with where a model brings no words of its own: CLIP's merges, packed. */
async function vocabulary() {
  const answer = await fetch(new URL("./clip_merges.bin", import.meta.url));
  if (!answer.ok) throw new Error(`clip_merges.bin, which belongs to this page: the server answers ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}

function paint(context, { pixels, width, height }) {
  Object.assign(context.canvas, { width, height });
  context.putImageData(new ImageData(pixels, width, height), 0, 0);
}

let last = Promise.resolve();
self.onmessage = ({ data }) => {
  if (data.stop) {
    stopped = true;
  } else if (data.lend) {
    // Asked for once: Firefox takes the second question, of a canvas that is a page's, for one from another thread.
    canvases.set(data.key, data.lend.getContext("2d"));
  } else {
    last = last.then(() => answer(data));
  }
};

async function answer({ id, call, with: values }) {
  try {
    await ready;
    if (!engine && call !== "create" && call !== "dispose") throw new Error("no GPU is open");
    const result = await calls[call](values, (told) => self.postMessage({ id, told }));
    self.postMessage({ id, result });
  } catch (error) {
    // Its own, or one that came back through it.
    if (error.name === "RuntimeError") return fail(error);
    self.postMessage({ id, error: { name: error.name, message: error.message }, loaded: engine?.loaded() ?? false });
  }
}

// A trap in WebAssembly leaves it unusable.
function fail(error) {
  const panic = lastPanic();
  const fatal = { name: "WorkerError", message: `the engine failed: ${error?.message ?? error}` };
  if (panic) {
    fatal.message = `the engine failed, by a mistake of ours: ${panic.replaceAll("\n", " ")}`;
  } else if (/unreachable/.test(fatal.message)) {
    // Without a word of ours it is the allocator that gave up.
    const megabytes = Math.round(heapBytes() / 1e6);
    fatal.name = "MemoryError";
    fatal.message = `the tab ran out of memory: the engine holds ${megabytes} MB of it and gets no more. ` +
      "Close other tabs, or choose a smaller picture or model";
  }
  self.postMessage({ fatal });
}

// A trap inside an asynchronous call of WebAssembly has nobody else to tell.
self.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  fail(event.reason);
});
self.addEventListener("error", (event) => {
  event.preventDefault();
  fail(event.error ?? event.message);
});
