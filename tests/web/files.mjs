// Files by themselves: models, LoRAs, VAEs, dropped on the page, chosen, or at an address; they draw what the command line
// draws with them.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { engine } from "./engine.mjs";
import { apart, binary, changed, draw, inFolder, read, root, run, TINY } from "./native.mjs";
import { click, compared, downloaded, drop, fill, generate, ready, says, state, text } from "./page.mjs";
import { pickled } from "./pickle.mjs";
import { header, written } from "./safetensors.mjs";
import { whole } from "./server.mjs";
import { trouble } from "./trouble.mjs";

const GOLDENS = join(root, "tests/goldens");
const LORA = join(GOLDENS, "sd1-tiny/loras/kohya.safetensors");
const VAE = "vae/diffusion_pytorch_model.safetensors";

/** The tensors of the golden model in one file, its token embedding as long as it was: rows that no prompt uses are zeros. */
function single() {
  const golden = JSON.parse(readFileSync(join(GOLDENS, "single_files.json"))).find(({ name }) => name === "sd1");
  const [[token, rows]] = Object.entries(golden.tokens);
  const bytes = readFileSync(join(GOLDENS, "single_files", golden.file));
  const { tensors, start } = header(bytes);
  return Object.entries(tensors).map(([name, { dtype, shape, data_offsets: [from, to] }]) => {
    const data = bytes.subarray(start + from, start + to);
    if (name !== token) return { name, dtype, shape, data };
    const row = data.length / rows.length;
    const all = Buffer.alloc(golden.vocabulary * row);
    rows.forEach((at, i) => data.copy(all, at * row, i * row, (i + 1) * row));
    return { name, dtype, shape: [golden.vocabulary, shape[1]], data: all };
  });
}

/** Runs `body` with where the model lies as safetensors, as GGUF with blocks, and as torch pickles it. */
const withFiles = (body) =>
  inFolder(async (folder) => {
    const at = (name) => join(folder, name);
    writeFileSync(at("tiny-one.safetensors"), written(single()));
    writeFileSync(at("tiny-three.ckpt"), pickled(single()));
    await run(binary, ["convert", at("tiny-one.safetensors"), at("tiny-two.gguf"), "--quant", "q8_0", "--dtype", "f16"]);
    return body(at);
  });

const SMALL = { width: 64, height: 64, steps: 2, seed: 3 };
const FLAGS = ["a red apple", "-W", "64", "-H", "64", "--steps", "2", "--seed", "3"];

/** A model in one file, chosen, dropped and at an address. */
export async function files_hold_models(given) {
  const { page, driver, server } = given;
  await ready(given);
  const told = await withFiles(async (at) => {
    const [one, two, three] = ["one.safetensors", "two.gguf", "three.ckpt"].map((name) => at(`tiny-${name}`));
    const same = async (file) => {
      await generate(page, SMALL);
      const { difference, tab, native } = await compared(given, [...FLAGS, "-m", file]);
      // A tab does not read its files a second time to hash them.
      assert.equal(tab.parameters, native.parameters.replace(/ Model hash: [0-9a-f]{10},/, ""));
      return `${basename(file)} ${difference}`;
    };
    await driver.choose(page, "#files", [one]);
    await says(page, /^Ready: tiny-one, loaded/);
    const told = [await same(one)];
    await drop(given, [two]);
    await says(page, /^Ready: tiny-two, loaded/);
    told.push(await same(two));
    await drop(given, [three]);
    await says(page, /^Ready: tiny-three, loaded/);
    told.push(await same(three));
    server.mounts["/files/"] = (name) => (name === "tiny one.safetensors" ? whole(readFileSync(one)) : null);
    await fill(page, "[name=url]", `${server.url}files/tiny%20one.safetensors`);
    await click(page, "#address button");
    await says(page, /^Ready: tiny one, loaded/);
    // Its settings call it as the file is called there.
    await generate(page, SMALL);
    const { difference } = await compared(given, [...FLAGS, "-m", one]);
    return [...told, `at an address ${difference}`];
  });
  return `of 255 apart: ${told.join(", ")}`;
}

/** LoRAs join the list, each with its scale; a VAE takes the VAE's place; what was added goes again. */
export async function files_are_added_to_the_model(given) {
  const { page, driver, server } = given;
  await ready(given);
  await drop(given, [LORA]);
  await says(page, /^Ready: tiny with kohya\.$/);
  assert.equal(await text(page, "#loras .lora span"), "kohya");
  await fill(page, "#loras input", "0.7");
  await generate(page, SMALL);
  const flags = [...FLAGS, "-m", TINY];
  const { difference, tab, native } = await compared(given, [...flags, "--lora", `${LORA}:0.7`]);
  // A tab does not read its files a second time to hash them.
  const named = native.parameters.replace("Model: model", "Model: tiny");
  assert.equal(tab.parameters, named.replace(/ Lora hashes: "[^"]*",/, ""));
  assert.match(tab.parameters, /^a red apple <lora:kohya:0\.7>\n/);
  assert.ok(apart(tab, read(await draw([...flags], driver.native))) > 4, "the LoRA changed nothing");

  const second = await inFolder(async (folder) => {
    const file = join(folder, "inverted.safetensors");
    writeFileSync(file, changed(VAE, "decoder.conv_out.weight", (half) => half ^ 0x8000));
    // Which a server lends as well as a disk.
    server.mounts["/files/"] = (name) => (name === "inverted.safetensors" ? whole(readFileSync(file)) : null);
    await fill(page, "[name=url]", `${server.url}files/inverted.safetensors`);
    await click(page, "#address button");
    await says(page, /^Ready: tiny \+ inverted\.safetensors with kohya, loaded/);
    await generate(page, SMALL);
    return (await compared(given, [...flags, "--lora", `${LORA}:0.7`, "--vae", file])).difference;
  });

  await click(page, "#loras button");
  await click(page, "#default");
  await says(page, /^Ready: builtin/);
  await fill(page, "[name=url]", `${server.url}tiny/`);
  await click(page, "#address button");
  await says(page, /^Ready: tiny, loaded/);
  await generate(page, SMALL);
  const { difference: third } = await compared(given, flags);
  return `of 255 apart: LoRA ${difference}, VAE ${second}, without them ${third}`;
}

/** Embeddings are words of the prompt from then on, whoever trained them; one for another model is refused. */
export async function files_bring_words(given) {
  const { page, driver } = given;
  await ready(given);
  const [web, kohya] = ["sd1-web.pt", "sd1-kohya.safetensors"].map((name) => join(GOLDENS, "embeddings", name));
  await drop(given, [web, kohya]);
  await says(page, /^Ready: tiny with the word sd1-kohya, the word sd1-web, loaded/);
  const [prompt, ...flags] = ["a photo of sd1-web, (sd1-kohya:1.2)", ...FLAGS.slice(1), "-m", TINY];
  await generate(page, { ...SMALL, prompt });
  const words = ["--embedding", web, "--embedding", kohya];
  const { difference, tab, native } = await compared(given, [prompt, ...flags, ...words]);
  // A tab does not read its files a second time to hash them.
  const named = native.parameters.replace("Model: model", "Model: tiny");
  assert.equal(tab.parameters, named.replace(/ TI hashes: "[^"]*",/, ""));
  assert.ok(apart(tab, read(await draw([prompt, ...flags], driver.native))) > 4, "the words changed nothing");
  await drop(given, [join(GOLDENS, "embeddings/sd2-one.bin")]);
  await trouble(page, /sd2-one.*48.*32/);
  assert.match(await state(page), /^tiny is still loaded/);
  await generate(page, { ...SMALL, prompt });
  assert.equal(apart(tab, await downloaded(given)), 0);
  return `of 255 apart: ${difference}`;
}

/** A LoRA that is taken off the list draws no more, and a model and its LoRA may come together. */
export async function files_come_and_go_together(given) {
  const { page } = given;
  await ready(given);
  await withFiles(async (at) => {
    await drop(given, [LORA, at("tiny-one.safetensors")]);
    // Made for a text encoder of another width.
    const told = await trouble(page, /kohya\.safetensors.*/);
    assert.match(await state(page), /^tiny is still loaded/, told);
  });
  await drop(given, [LORA]);
  await says(page, /^Ready: tiny with kohya/);
  await generate(page, SMALL);
  const before = await downloaded(given);
  await click(page, "#loras button");
  await generate(page, SMALL);
  const after = await downloaded(given);
  assert.ok(apart(before, after) > 4);
  assert.doesNotMatch(after.parameters, /lora/);
  return "taken off";
}

/** What a file is that cannot be used is said in a line, with what to do, and the model stays. */
export async function files_that_are_wrong_say_so(given) {
  const { page } = given;
  await ready(given);
  await inFolder(async (folder) => {
    const file = (name, bytes) => (writeFileSync(join(folder, name), bytes), join(folder, name));
    const tensors = (...names) => written(names.map((name) => ({ name, dtype: "F32", shape: [1], data: Buffer.alloc(4) })));
    const [all, bytes] = [single(), written(single())];
    const cases = [
      [file("notes.txt", "no model, but words"), /^notes\.txt: .*it is text, and begins with: no model, but words/],
      [file("page.ckpt", "<!DOCTYPE html><html>"), /^page\.ckpt: .*web page; the download needs another address/],
      [file("half.safetensors", bytes.subarray(0, 200_000)), /^half\.safetensors: truncated/],
      [file("half.gguf", "GGUF\x03\0\0\0"), /^half\.gguf: truncated/],
      [file("control.safetensors", tensors("control_model.input_hint_block.0.bias")), /^control\.safetensors: a ControlNet, and no model/],
      [file("flux.safetensors", tensors("double_blocks.0.img_attn.qkv.weight")), /^flux\.safetensors: a diffusion transformer/],
      [join(GOLDENS, "sdxl-tiny/lora.safetensors"), /^lora\.safetensors.*(another|SDXL)/],
    ];
    for (const [path, pattern] of cases) {
      await drop(given, [path]);
      await trouble(page, pattern);
      assert.match(await state(page), /^tiny is still loaded/);
    }
    const two = [file("a.safetensors", bytes), file("b.safetensors", bytes)];
    await drop(given, two);
    await trouble(page, /^a\.safetensors and b\.safetensors are a model each: open one of them$/);
    await drop(given, [file("torn.safetensors", written(all.filter(({ name }) => !name.startsWith("cond_stage_model."))))]);
    await trouble(page, /^torn\.safetensors: the file holds the UNet and the VAE, and no text encoder: give it as a text encoder's file/);
  });
  await generate(page, { steps: 1, width: 64, height: 64 });
}

/** Without a model there is nothing to add to. */
export async function files_need_a_model_to_be_added_to(given) {
  const { page } = given;
  await engine(given);
  const told = await page.evaluate(async () => {
    const file = async (url, name) => new File([await (await fetch(url)).arrayBuffer()], name);
    const refused = async (...files) => engine.load(files).then(() => "", ({ name, message }) => `${name} ${message}`);
    const lora = await file("/goldens/sd1-tiny/loras/kohya.safetensors", "mine.safetensors");
    const vae = await file("/tiny/vae/diffusion_pytorch_model.safetensors", "vae.safetensors");
    return [await refused(lora), await refused(vae), await engine.setLoras([]).catch(({ message }) => message)];
  });
  assert.match(told[0], /^UsageError mine: no model, but what is added to one: load the model that it is for first/);
  assert.match(told[1], /^ModelError vae\.safetensors: the file holds the VAE, and no text encoder and no UNet: give them as/);
  assert.match(told[2], /^no model is loaded/);
}
