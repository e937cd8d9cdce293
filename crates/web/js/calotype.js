// Calotype in a page: the engine runs in a Worker, this is its face. Types and words: calotype.d.ts.

const NO_WEBGPU =
  "This browser has no WebGPU, or keeps it from this page. It needs https or localhost, and Chrome or Edge 113, " +
  "Safari 26, Firefox 141, or newer.";

export class Calotype {
  #worker;
  #calls = new Map();
  #next = 1;
  #drawing = false;
  #lent = new WeakMap();
  adapter;
  model = null;

  constructor(worker) {
    this.#worker = worker;
    worker.onmessage = ({ data }) => this.#receive(data);
    worker.onerror = (event) => {
      event.preventDefault?.();
      this.#fail(named("WorkerError", `the engine stopped: ${event.message ?? "its files could not be loaded"}`));
    };
  }

  static async create({ powerPreference, timeout = 120_000 } = {}) {
    if (!globalThis.navigator?.gpu) throw named("DeviceError", NO_WEBGPU);
    const engine = new Calotype(new Worker(new URL("./worker.js", import.meta.url), { type: "module" }));
    const late = setTimeout(() => engine.#fail(named("DeviceError", "the GPU does not answer")), timeout);
    try {
      engine.adapter = await engine.#call("create", { powerPreference });
    } catch (error) {
      engine.dispose();
      throw error;
    } finally {
      clearTimeout(late);
    }
    return engine;
  }

  get stopped() {
    return this.#calls === null;
  }

  async load(source, { onProgress, name, ...options } = {}) {
    const values = { source: plain(source), name, options: JSON.stringify(options) };
    this.model = await this.#call("load", values, (told) => onProgress?.(told));
    return this.model;
  }

  async setLoras(loras) {
    this.model = await this.#call("setLoras", { loras });
    return this.model;
  }

  async *generate({ signal, preview = 0, latents, canvas, ...words }) {
    signal?.throwIfAborted();
    if (this.#drawing) throw named("UsageError", "a picture is under way: stop it, or wait for it");
    this.#drawing = true;
    words.seed ??= random();
    const lent = canvas && this.#lend(canvas);
    const show = (told) => {
      if (!canvas || !told.preview) return told;
      paint(canvas, told.preview);
      return { ...told, preview: undefined, shown: true };
    };
    const steps = [];
    let wake = () => {};
    let ended = false;
    const done = this.#call("generate", { words: json(words), preview, latents, canvas: lent }, (step) => {
      steps.push(step);
      wake();
    }).finally(() => {
      ended = true;
      wake();
    });
    done.catch(() => {});
    const stop = () => this.#worker.postMessage({ stop: true });
    signal?.addEventListener("abort", stop, { once: true });
    try {
      for (;;) {
        if (steps.length) {
          yield { type: "step", ...show(withImage(steps.shift())) };
        } else if (ended) {
          break;
        } else {
          await new Promise((resolve) => (wake = resolve));
        }
      }
      const { pictures, ...rest } = await done;
      const drawn = pictures.map(withPicture);
      if (canvas && !lent) paint(canvas, drawn[0].image);
      yield { type: "done", pictures: drawn, ...rest };
    } catch (error) {
      if (error?.name === "StoppedError") signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", stop);
      // Whoever breaks out of the loop wants no more of it.
      if (!ended) stop();
      await done.catch(() => {});
      this.#drawing = false;
    }
  }

  plan(words) {
    return this.#call("plan", { words: json(words) });
  }

  encodeText(prompt) {
    return this.#call("encodeText", { prompt });
  }

  settings(png) {
    return this.#call("settings", { png });
  }

  samplers() {
    return this.#call("samplers", {});
  }

  /** The names that `scheduler` takes. */
  schedules() {
    return this.#call("schedules", {});
  }

  memory() {
    return this.#call("memory", {});
  }

  storage() {
    return this.#call("storage", {});
  }

  clearStorage() {
    return this.#call("clearStorage", {});
  }

  dispose() {
    // The device goes at once, then the Worker with all its memory.
    this.#worker.postMessage({ id: -1, call: "dispose", with: {} });
    setTimeout(() => this.#worker.terminate(), 250);
    this.#fail(named("UsageError", "the engine was disposed of"));
  }

  // Gives the Worker a canvas to draw on by itself; null where the browser cannot, and this page has to draw.
  #lend(canvas) {
    if (this.#lent.has(canvas)) return this.#lent.get(canvas);
    let key = null;
    try {
      const offscreen = canvas.transferControlToOffscreen();
      key = this.#next++;
      this.#worker.postMessage({ lend: offscreen, key }, [offscreen]);
    } catch {
      // There is no OffscreenCanvas, or this canvas is drawn on by the page already.
    }
    this.#lent.set(canvas, key);
    return key;
  }

  #call(call, values, onTold) {
    if (this.#calls === null) return Promise.reject(named("UsageError", "the engine has stopped: create another"));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject, onTold });
      this.#worker.postMessage({ id, call, with: values });
    });
  }

  #receive({ id, told, result, error, fatal, loaded }) {
    if (fatal) return this.#fail(named(fatal.name, fatal.message));
    // A load that failed late has cost the model before it.
    if (loaded === false) this.model = null;
    const call = this.#calls?.get(id);
    if (!call) return;
    if (told) return call.onTold?.(told);
    this.#calls.delete(id);
    if (error) call.reject(named(error.name, error.message));
    else call.resolve(result);
  }

  #fail(error) {
    this.model = null;
    for (const call of this.#calls?.values() ?? []) call.reject(error);
    this.#calls = null;
  }
}

function named(name, message) {
  return Object.assign(new Error(message), { name });
}

function random() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}

// Seeds cross as digits: they may be larger than JSON's numbers.
function json(words) {
  const digits = ["seed", "variationSeed"].filter((name) => words[name] !== undefined);
  return JSON.stringify({ ...words, ...Object.fromEntries(digits.map((name) => [name, String(words[name])])) });
}

// What can be sent to a Worker: an address made absolute here, where relative ones are meant, or files.
function plain(source) {
  if (typeof source === "string" || source instanceof URL) return { url: new URL(source, document.baseURI).href };
  const files = Array.from(source, (file) => ({ path: file.webkitRelativePath || file.name, file }));
  return { files };
}

function withImage({ preview, ...step }) {
  return preview ? { ...step, preview: image(preview) } : step;
}

function withPicture({ pixels, width, height, png, ...rest }) {
  return { ...rest, image: image({ pixels, width, height }), png: new Blob([png], { type: "image/png" }) };
}

function paint(canvas, image) {
  Object.assign(canvas, { width: image.width, height: image.height });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function image({ pixels, width, height }) {
  return new ImageData(pixels, width, height);
}
