// The page: what a person sees and clicks. The engine and all it knows is behind Calotype.

import { Calotype } from "./pkg/calotype.js";

const DEFAULT = { url: new URL("./model/", import.meta.url), name: "builtin" };

const $ = (id) => document.getElementById(id);
const form = $("form");
const field = (name) => form.elements.namedItem(name);

let engine = null;
let running = null;

start();

async function start() {
  form.addEventListener("submit", (event) => (event.preventDefault(), draw()));
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  $("stop").addEventListener("click", () => running?.abort());
  $("folder").addEventListener("change", ({ target }) => open(target));
  $("files").addEventListener("change", ({ target }) => open(target));
  $("default").addEventListener("click", () => load(DEFAULT.url, DEFAULT.name));
  $("address").addEventListener("submit", (event) => {
    event.preventDefault();
    load(new FormData(event.target).get("url"));
  });
  $("clear").addEventListener("click", clear);
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) document.addEventListener(kind, drag);

  if (await connect()) await load(DEFAULT.url, DEFAULT.name);
}

async function connect() {
  try {
    engine = await Calotype.create({ powerPreference: "high-performance" });
  } catch (error) {
    say("No picture can be made here.");
    complain(error);
    return false;
  }
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
  for (const name of await engine.samplers()) field("sampler").append(new Option(name));
  return true;
}

async function load(source, name) {
  if (running) return complain(new Error("A picture is under way: stop it first."));
  if (!engine && !(await connect())) return;
  busy(true, "Loading the model…");
  try {
    const model = await engine.load(source, { name, onProgress: showLoading });
    const own = `${model.name}: ${(model.parameters / 1e6).toFixed(1)} million parameters, made for ` +
      `${model.width} × ${model.height} pixels, runs in ${model.dtype}, takes ${bytes(model.peakBytes)} of the GPU's memory`;
    $("model").textContent = own;
    Object.assign(field("width"), { value: model.width, step: model.step, min: model.step });
    Object.assign(field("height"), { value: model.height, step: model.step, min: model.step });
    field("sampler").options[0].textContent = `the model’s own (${model.sampler})`;
    progress(0, 1);
    busy(false, `Ready: ${model.name}, loaded in ${model.seconds.toFixed(1)} s.`);
  } catch (error) {
    busy(false, engine?.model ? `${engine.model.name} is still loaded.` : "No model is loaded.");
    complain(error);
  }
  showStorage();
}

function showLoading({ file, loaded, total, from }) {
  const where = { network: "Downloading", store: "Reading", disk: "Reading" }[from];
  progress(loaded, total);
  say(`${where} ${file}: ${bytes(loaded)} of ${bytes(total)}`);
}

function open(input) {
  const files = [...input.files];
  input.value = "";
  if (files.length) load(files);
}

async function draw() {
  if (running || !engine?.model) return;
  const words = Object.fromEntries(
    [...new FormData(form)].filter(([, value]) => value !== "").map(([name, value]) => [name, value]),
  );
  for (const name of ["steps", "cfgScale", "width", "height"]) words[name] = Number(words[name]);
  running = new AbortController();
  busy(true, "Reading the prompt…");
  $("stop").disabled = false;
  const preview = $("wantsPreview").checked ? Math.max(1, Math.ceil(words.steps / 10)) : 0;
  const began = performance.now();
  try {
    for await (const told of engine.generate({ ...words, preview, signal: running.signal })) {
      if (told.type === "step") {
        progress(told.step, told.steps);
        const rate = told.step / told.seconds;
        say(`Step ${told.step} of ${told.steps}, ${rate.toFixed(rate < 10 ? 2 : 0)} steps a second`);
        if (told.preview) paint(told.preview, `The picture after step ${told.step}`);
        continue;
      }
      for (const picture of told.pictures) {
        paint(picture.image, words.prompt);
        hang(picture);
      }
      const { text, denoise, decode } = told.timings;
      const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
      say(`Done in ${seconds(performance.now() - began)}: text ${seconds(text)}, steps ${seconds(denoise)}, ` +
        `pixels ${seconds(decode)}. Seed ${told.pictures[0].seed}.`);
      if (told.notes.length) complain(new Error(told.notes.join(" ")));
    }
  } catch (error) {
    if (error.name === "AbortError") {
      say("Stopped.");
    } else {
      say("No picture.");
      complain(error);
      if (error.name === "DeviceError" || error.name === "WorkerError") lose();
    }
  } finally {
    running = null;
    $("stop").disabled = true;
    busy(false);
  }
}

// The engine is beyond repair; the next load gets another.
function lose() {
  engine.dispose();
  engine = null;
  $("model").textContent = "None: load it again.";
}

function paint(image, label) {
  const canvas = $("canvas");
  Object.assign(canvas, { width: image.width, height: image.height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  canvas.setAttribute("aria-label", label);
}

function hang({ png, settings, seed, width, height }) {
  const url = URL.createObjectURL(png);
  const image = Object.assign(new Image(width, height), { src: url, alt: settings.split("\n")[0] });
  const save = Object.assign(element("a", "Download PNG"), { href: url, download: `calotype-${seed}.png`, className: "button" });
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
    const settings = await engine.settings(png);
    if (!settings) return complain(new Error("This PNG carries no settings."));
    for (const [name, value] of Object.entries(settings)) {
      const into = field(name);
      if (into) into.value = value;
    }
    if (!settings.sampler) field("sampler").value = "";
    if (!settings.scheduler) field("scheduler").value = "";
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
  if (event.type !== "drop" || !engine) return;
  const files = [...event.dataTransfer.files];
  const picture = files.find((file) => file.type === "image/png");
  if (picture) take(picture);
  else if (files.length) load(files);
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
  $("generate").disabled = is || !engine?.model;
  for (const control of document.querySelectorAll(".panels input, .panels button")) control.disabled = is;
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
  $("trouble").textContent = error.message;
  $("trouble").hidden = false;
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
