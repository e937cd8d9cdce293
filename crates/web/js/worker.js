// The Worker: it holds the engine, and answers one call after the other.

import init, { Engine, Sha256, heapBytes, samplers, settings } from "./calotype_web.js";
import { LocalFiles } from "./local.js";
import { RemoteFiles } from "./remote.js";
import * as store from "./store.js";

const ready = init({ module_or_path: new URL("./calotype_web_bg.wasm", import.meta.url) });
let engine = null;
let stopped = false;

const calls = {
  async create({ powerPreference }) {
    engine = await Engine.create(powerPreference);
    // wgpu's web backend passes on neither the names nor all of the features.
    const adapter = await navigator.gpu.requestAdapter({ powerPreference });
    const { vendor, architecture, device, description } = adapter?.info ?? {};
    const name = description || [vendor, architecture, device].filter(Boolean).join(" ");
    return { ...engine.adapter(), name, features: [...(adapter?.features ?? [])].sort() };
  },

  async load({ source, dtype, name }, tell) {
    const files = source.url
      ? await RemoteFiles.open(source.url, { tell, Sha256 })
      : new LocalFiles(source.files, { tell });
    try {
      return await engine.load(name ?? files.name, files, dtype);
    } finally {
      await files.settle?.();
    }
  },

  async generate({ words, latents, preview }, tell) {
    stopped = false;
    return engine.generate(words, latents, preview, (step, steps, seconds, image) => {
      tell({ step, steps, seconds, preview: image });
      return stopped;
    });
  },

  plan: ({ words }) => engine.plan(words),
  memory: () => ({ ...engine.memory(), jsBytes: performance.memory?.usedJSHeapSize }),
  samplers: () => JSON.parse(samplers()),
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

let last = Promise.resolve();
self.onmessage = ({ data }) => {
  if (data.stop) {
    stopped = true;
    return;
  }
  last = last.then(() => answer(data));
};

async function answer({ id, call, with: values }) {
  try {
    await ready;
    if (!engine && call !== "create" && call !== "dispose") throw new Error("no GPU is open");
    const result = await calls[call](values, (told) => self.postMessage({ id, told }));
    self.postMessage({ id, result });
  } catch (error) {
    // A trap in WebAssembly leaves it unusable.
    const fatal = error instanceof WebAssembly.RuntimeError;
    const message = fatal ? `the engine failed (${error.message}, ${heapBytes()} bytes of memory)` : error.message;
    self.postMessage(fatal ? { fatal: message } : { id, error: { name: error.name, message } });
  }
}

// A trap inside an asynchronous call of WebAssembly has nobody else to tell.
self.addEventListener("unhandledrejection", ({ reason }) => {
  self.postMessage({ fatal: `the engine failed: ${reason?.message ?? reason}` });
});
self.addEventListener("error", ({ message }) => {
  self.postMessage({ fatal: `the engine failed: ${message}` });
});
