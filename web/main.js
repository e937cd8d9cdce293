// The page: what a person sees and clicks. The engine and all it knows is behind Calotype.

import { Calotype } from "./pkg/calotype.js";

// `?model=ADDRESS` opens another model than the one beside the page.
const asked = new URLSearchParams(location.search).get("model");
const SMALL = { source: new URL("./model/", import.meta.url), name: "builtin" };

const $ = (id) => document.getElementById(id);
const form = $("form");
const field = (name) => form.elements.namedItem(name);

let engine = null;
let running = null;
/** What made the model that is loaded, or that is to be loaded: a model, then the files that were added to it. */
let recipe = [asked ? { source: new URL(asked, document.baseURI) } : SMALL];
/** The model whose own settings are in the form. */
let fitted = null;
/** The model's LoRAs and their scales, as the form has them: the model hears of them when it draws. */
let loras = [];

start();

async function start() {
  form.addEventListener("submit", (event) => (event.preventDefault(), draw()));
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  $("stop").addEventListener("click", () => running?.abort());
  for (const id of ["folder", "files"]) $(id).addEventListener("change", ({ target }) => choose(target));
  $("default").addEventListener("click", () => load(SMALL));
  $("address").addEventListener("submit", (event) => {
    event.preventDefault();
    load({ source: new FormData(event.target).get("url") });
  });
  for (const id of ["dtype", "fewSteps", "prediction"]) $(id).addEventListener("change", reopen);
  $("clear").addEventListener("click", clear);
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) document.addEventListener(kind, drag);

  await reopen();
}

async function connect() {
  busy(true, "Opening the GPU…");
  try {
    engine = await Calotype.create({ powerPreference: "high-performance" });
  } catch (error) {
    busy(false, "No picture can be made here.");
    complain(error);
    return false;
  }
  // What an engine that is gone drew on cannot be given to another.
  const canvas = $("canvas");
  canvas.replaceWith(Object.assign(canvas.cloneNode(), { ariaLabel: "No picture yet" }));
  const { name, kind, driver, f16, features, maxBuffer, maxBinding, workgroupMemory, kernels } = engine.adapter;
  const lines = {
    Name: name || "the browser does not tell",
    Kind: kind,
    Driver: driver,
    Kernels: kernels,
    "Half floats": f16 ? "yes (shader-f16)" : "no",
    Features: features.join(", "),
    "Largest buffer": bytes(maxBuffer),
    "Largest binding": bytes(maxBinding),
    "Workgroup memory": bytes(workgroupMemory),
  };
  const rows = Object.entries(lines).filter(([, value]) => value);
  $("adapter").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  for (const [name, words] of [["sampler", await engine.samplers()], ["scheduler", await engine.schedules()]]) {
    field(name).replaceChildren(field(name).options[0], ...words.map((word) => new Option(word)));
  }
  return true;
}

// All of the recipe once more: on a new engine, where the last one is gone, or in another precision.
async function reopen() {
  const [steps, wanted] = [recipe, loras];
  for (const step of steps) {
    if (await load(step)) continue;
    [recipe, loras] = [steps, wanted];
    return false;
  }
  list(wanted.filter(({ name }) => loras.some((lora) => lora.name === name)));
  return true;
}

async function load(step) {
  if (running) return complain(new Error("A picture is under way: stop it first."));
  if (!engine && !(await connect())) return false;
  const { source, name } = step;
  busy(true, "Loading the model…");
  try {
    const [dtype, prediction] = ["dtype", "prediction"].map((id) => $(id).value || undefined);
    const options = { name, dtype, prediction, fewSteps: $("fewSteps").checked };
    const model = await engine.load(source, { ...options, onProgress: showLoading });
    recipe = model.added ? [...recipe, step] : [step];
    const known = model.added ? loras : [];
    list(model.loras.map((lora) => known.find(({ name }) => name === lora.name) ?? lora));
    $("model").textContent = `${model.name}: ${(model.parameters / 1e6).toFixed(1)} million parameters, made for ` +
      `${model.width} × ${model.height} pixels, runs in ${model.dtype}, takes ${bytes(model.peakBytes)} of the GPU's ` +
      "memory";
    for (const side of ["width", "height"]) Object.assign(field(side), { step: model.step, min: model.step });
    // Its own settings, unless they are there already and somebody may have changed them.
    const own = ["width", "height", "steps", "cfgScale"].map((name) => [name, model[name]]);
    if (fitted !== String([model.name, own])) for (const [name, value] of own) field(name).value = value;
    fitted = String([model.name, own]);
    $("fewSteps").parentElement.hidden = model.fewSteps === null;
    field("sampler").options[0].textContent = `the model’s own (${model.sampler})`;
    progress(0, 1);
    const names = [...model.loras.map(({ name }) => name), ...model.embeddings.map((name) => `the word ${name}`)];
    const beside = names.length ? ` with ${names.join(", ")}` : "";
    const took = model.seconds ? `, loaded in ${model.seconds.toFixed(1)} s` : "";
    busy(false, `Ready: ${model.name}${beside}${took}.`);
    if (model.notes.length) complain(new Error(model.notes.join(" ")));
    return true;
  } catch (error) {
    fail(error, engine.model ? `${engine.model.name} is still loaded.` : "No model is loaded.");
    return false;
  } finally {
    showStorage();
  }
}

function showLoading({ file, loaded, total, from }) {
  const where = { network: "Downloading", store: "Reading", disk: "Reading" }[from];
  progress(loaded, total);
  say(`${where} ${file}: ${bytes(loaded)} of ${bytes(total)}`);
}

function choose(input) {
  const files = [...input.files];
  input.value = "";
  give(files);
}

// What a person has: pictures for their settings, all else for the model.
function give(files) {
  const isPicture = ({ type }) => type === "image/png";
  const [picture, others] = [files.find(isPicture), files.filter((file) => !isPicture(file))];
  if (picture) take(picture);
  if (others.length) load({ source: others });
}

// The model's LoRAs in the form.
function list(all) {
  loras = all.map((lora) => ({ ...lora }));
  const rows = loras.map((lora) => {
    const row = Object.assign(element("div"), { className: "lora" });
    const scale = Object.assign(element("input"), { type: "number", step: "any", required: true, value: lora.scale });
    scale.ariaLabel = `Scale of ${lora.name}`;
    scale.addEventListener("input", () => (lora.scale = scale.valueAsNumber));
    const remove = Object.assign(element("button", "Remove"), { type: "button", ariaLabel: `Remove ${lora.name}` });
    remove.addEventListener("click", () => list(loras.filter((other) => other !== lora)));
    row.append(element("span", lora.name), scale, remove);
    return row;
  });
  $("loras").replaceChildren($("loras").firstElementChild, ...rows);
  $("loras").hidden = !rows.length;
}

// Has the model take them as they are in the form.
async function lay() {
  const same = (lora, i) => lora.name === loras[i]?.name && lora.scale === loras[i].scale;
  const { loras: laid } = engine.model;
  if (laid.length !== loras.length || !laid.every(same)) await engine.setLoras(loras);
}

async function draw() {
  if (running) return;
  if (!engine?.model && !(await reopen())) return;
  const words = Object.fromEntries(
    [...new FormData(form)].filter(([, value]) => value !== "").map(([name, value]) => [name, value]),
  );
  for (const name of ["steps", "cfgScale", "width", "height"]) words[name] = Number(words[name]);
  running = new AbortController();
  busy(true, "Getting the GPU ready…");
  $("stop").disabled = false;
  const preview = $("wantsPreview").checked ? Math.max(1, Math.ceil(words.steps / 10)) : 0;
  const began = performance.now();
  try {
    await lay();
    const canvas = $("canvas");
    for await (const told of engine.generate({ ...words, preview, canvas, signal: running.signal })) {
      if (told.type === "step") {
        progress(told.step, told.steps);
        const rate = told.step / told.seconds;
        say(`Step ${told.step} of ${told.steps}, ${rate.toFixed(rate < 10 ? 2 : 0)} steps a second`);
        if (told.shown) canvas.ariaLabel = `The picture after step ${told.step}`;
        continue;
      }
      canvas.ariaLabel = words.prompt;
      told.pictures.forEach(hang);
      const { load, text, denoise, decode } = told.timings;
      const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
      const parts = Object.entries({ "getting ready": load, text, steps: denoise, pixels: decode });
      const spent = parts.filter(([, ms]) => ms >= 50).map(([name, ms]) => `${name} ${seconds(ms)}`).join(", ");
      say(`Done in ${seconds(performance.now() - began)}: ${spent}. Seed ${told.pictures[0].seed}.`);
      if (told.notes.length) complain(new Error(told.notes.join(" ")));
    }
  } catch (error) {
    if (error.name === "AbortError") say("Stopped.");
    else fail(error, "No picture.");
  } finally {
    running = null;
    $("stop").disabled = true;
    busy(false);
  }
}

function fail(error, text) {
  busy(false, text);
  complain(error);
  if (engine.model) return;
  $("model").textContent = "None: Generate loads it again.";
  // A GPU that was lost, or an engine that broke, is not used again.
  if (error.name !== "DeviceError" && !engine.stopped) return;
  engine.dispose();
  engine = null;
  say(`${text} Generate opens the GPU again.`);
}

function hang({ png, settings, seed, width, height }) {
  const url = URL.createObjectURL(png);
  const image = Object.assign(new Image(width, height), { src: url, alt: settings.split("\n")[0] });
  const file = { href: url, download: `calotype-${seed}.png`, className: "button" };
  const save = Object.assign(element("a", "Download PNG"), file);
  const again = Object.assign(element("button", "Use these settings"), { type: "button" });
  again.addEventListener("click", () => take(png));
  const actions = Object.assign(element("div"), { className: "actions" });
  actions.append(save, again);
  const caption = element("figcaption");
  caption.append(element("p", settings), actions);
  const figure = element("figure");
  figure.append(image, caption);
  $("gallery").prepend(figure);
}

// A picture's settings into the form.
async function take(png) {
  try {
    if (!engine && !(await connect())) return;
    const settings = await engine.settings(png);
    if (!settings) return complain(new Error("This PNG carries no settings."));
    for (const [name, value] of Object.entries(settings)) {
      const into = field(name);
      if (into) into.value = value;
    }
    if (!settings.sampler) field("sampler").value = "";
    for (const name of ["scheduler", "samplerDialect", "rng"]) if (!settings[name]) field(name).value = "";
    // The prompt says how much of a LoRA there was.
    const asked = [...settings.prompt.matchAll(/<lora:([^:>]+):(-?[\d.]+)>/g)];
    const scale = (name) => asked.findLast(([, of]) => of === name)?.[2];
    list(loras.map((lora) => ({ ...lora, scale: Number(scale(lora.name) ?? lora.scale) })));
    calm();
    say("The picture's settings are in the form.");
  } catch (error) {
    complain(error);
  }
}

function drag(event) {
  if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
  event.preventDefault();
  document.body.classList.toggle("dropping", event.type === "dragenter" || event.type === "dragover");
  if (event.type !== "drop") return;
  unfold(event.dataTransfer.items).then(give, complain);
}

// Dropped files, and those in dropped folders with their paths, as an <input webkitdirectory> would give them.
async function unfold(items) {
  const found = [];
  const visit = async (entry) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      const path = entry.fullPath.slice(1);
      if (path.includes("/")) Object.defineProperty(file, "webkitRelativePath", { value: path });
      return found.push(file);
    }
    const reader = entry.createReader();
    // A reader gives some entries at a time, and none when it is through.
    for (let some; (some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))).length; ) {
      for (const entry of some) await visit(entry);
    }
  };
  // The list is gone after the first await.
  const all = [...items].filter(({ kind }) => kind === "file").map((item) => item.webkitGetAsEntry() ?? item.getAsFile());
  for (const entry of all) await (entry instanceof File ? found.push(entry) : visit(entry));
  return found;
}

async function clear() {
  try {
    await engine?.clearStorage();
  } catch (error) {
    complain(error);
  }
  showStorage();
}

async function showStorage() {
  const { bytes: kept, quota } = (await engine?.storage().catch(() => null)) ?? {};
  $("storage").textContent = kept ? `${bytes(kept)}${quota ? ` of ${bytes(quota)} allowed` : ""}` : "nothing yet";
}

function busy(is, text) {
  if (is) calm();
  $("generate").disabled = is || !navigator.gpu;
  for (const control of document.querySelectorAll(".panels :is(input, button, select), #fewSteps")) control.disabled = is;
  form.setAttribute("aria-busy", is);
  if (text) say(text);
}

function progress(value, max) {
  Object.assign($("progress"), { max, value });
}

function say(text) {
  $("state").textContent = text;
}

function complain(error) {
  $("trouble").textContent = inLabels(error.message);
  $("trouble").hidden = false;
}

// The engine speaks of `cfgScale`, the form of a CFG scale.
function inLabels(text) {
  for (const control of document.querySelectorAll("[name]")) {
    const label = control.labels?.[0]?.firstChild.textContent.trim();
    if (label && label.toLowerCase() !== control.name) {
      text = text.replace(new RegExp(`(?<![\\w/.])${control.name}(?![\\w/.])`, "g"), label);
    }
  }
  return text;
}

function calm() {
  $("trouble").hidden = true;
}

function element(name, text = "") {
  return Object.assign(document.createElement(name), { textContent: text });
}

function bytes(count) {
  const unit = count >= 1e9 ? 1e9 : count >= 1e6 ? 1e6 : 1e3;
  const value = count / unit;
  return `${value.toFixed(value < 10 ? 1 : 0)} ${{ 1e9: "GB", 1e6: "MB", 1e3: "kB" }[unit]}`;
}
