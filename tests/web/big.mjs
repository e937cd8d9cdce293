// Models too large for WebAssembly's memory, made as they are asked for. The tiny ones with many times their channels: tensors
// repeat the tiny ones' numbers, a sixteenth of them in matrices, so that nothing overflows. And published ones by their names
// and shapes, of random numbers.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { root } from "./native.mjs";
import { begin, header } from "./safetensors.mjs";
import { whole } from "./server.mjs";

const GOLDENS = join(root, "tests/goldens");
const small = (path) => readFileSync(join(GOLDENS, "sd1-tiny/model", path));

/** Sizes that are not counts of channels: kernels, latents, colours, positions, words. */
const FIXED = [1, 3, 4, 77, JSON.parse(small("text_encoder/config.json")).vocab_size];

const BYTES_OF = { F16: 2, F32: 4, I64: 8 };

/** Random halves by the exponent that they have. */
const tiles = {};

/** The files of a model with `k` times as many channels, by path: `size`, and `bytes(from, to)` in pieces. */
export function scaled(k) {
  const files = {
    "unet/config.json": config(k, "unet/config.json", ["block_out_channels", "cross_attention_dim"]),
    "text_encoder/config.json":
      config(k, "text_encoder/config.json", ["hidden_size", "intermediate_size", "projection_dim"]),
    "unet/diffusion_pytorch_model.safetensors": file(tensors(k, small("unet/diffusion_pytorch_model.safetensors"))),
    "text_encoder/model.safetensors": file(tensors(k, small("text_encoder/model.safetensors"))),
  };
  for (const path of [
    "model_index.json", "scheduler/scheduler_config.json", "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json", "tokenizer/vocab.json", "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
  ]) {
    files[path] = whole(small(path));
  }
  const listing = Object.fromEntries(Object.entries(files).map(([path, { size }]) => [path, { size }]));
  files["files.json"] = whole(Buffer.from(JSON.stringify({ files: listing })));
  return files;
}

/** A model in one file, its UNet and its text encoder with `k` times as many channels. */
function single(k) {
  const golden = JSON.parse(readFileSync(join(GOLDENS, "single_files.json"))).find(({ name }) => name === "sd1");
  const [[token, rows]] = Object.entries(golden.tokens);
  const all = tensors(k, readFileSync(join(GOLDENS, "single_files", golden.file)), {
    fixed: [...FIXED, rows.length],
    keep: (name) => name.startsWith("first_stage_model."),
  });
  Object.assign(all.find(({ name }) => name === token).shape, { 0: golden.vocabulary });
  return file(all);
}

/**
 * A model in one file with the names and shapes of a published one (`layouts.py`), in f16; `sdxl-2` is one whose transformers
 * have two layers at most.
 */
export function published(name) {
  const [model, depth = Infinity] = name.split("-");
  const text = gunzipSync(readFileSync(join(GOLDENS, "layouts.txt.gz"))).toString();
  const lines = text.split("# ").find((part) => part.startsWith(`${model}\n`)).split("\n").slice(1);
  const stored = lines.filter(Boolean).map((line) => JSON.parse(line)).filter(([name]) => !name.endsWith("position_ids"))
    .filter(([name]) => !(/\.transformer_blocks\.(\d+)\./.exec(name)?.[1] >= Number(depth)));
  return file(stored.map(([name, shape]) => ({ name, dtype: "F16", shape, tile: random(name, shape) })));
}

const files = scaled(15);
/** Bytes of the folder's UNet. */
export const BYTES = files["unet/diffusion_pytorch_model.safetensors"].size;
const alone = single(18);
/** Bytes of the model in one file. */
export const SINGLE = alone.size;
files["single.safetensors"] = alone;
/** What the test server asks for a path. */
export function big(path) {
  const [, model] = /^published-([\w-]+)\.safetensors$/.exec(path) ?? [];
  if (model) files[path] ??= published(model);
  return files[path] ?? null;
}

function config(k, path, fields) {
  const json = JSON.parse(small(path));
  const times = (value) => (Array.isArray(value) ? value.map(times) : value * k);
  for (const field of fields.filter((field) => field in json)) json[field] = times(json[field]);
  return whole(Buffer.from(JSON.stringify(json)));
}

/** The tensors of a file with `k` times their channels, each with the numbers that it repeats. */
function tensors(k, bytes, { fixed = FIXED, keep = () => false } = {}) {
  const { tensors, start } = header(bytes);
  const inOrder = Object.entries(tensors).sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0]);
  return inOrder.map(([name, { dtype, shape, data_offsets: [from, to] }]) => {
    const tile = Buffer.from(bytes.subarray(start + from, start + to));
    const stays = dtype !== "F16" || keep(name);
    if (!stays && shape.length > 1 && !name.includes("embedding.")) sixteenth(tile);
    return { name, dtype, shape: shape.map((size) => (stays || fixed.includes(size) ? size : size * k)), tile };
  });
}

/** A file of tensors `{name, dtype, shape, tile}`, whose bytes are the tile's again and again. */
function file(tensors) {
  const sized = tensors.map((tensor) => ({ ...tensor, bytes: tensor.shape.reduce((a, b) => a * b, BYTES_OF[tensor.dtype]) }));
  const head = begin(sized);
  let at = head.length;
  const all = [{ at: 0, size: at, tile: head }];
  for (const { tile, bytes: size } of sized) {
    all.push({ at, size, tile: repeated(tile, Math.min(size, 1 << 18)) });
    at += size;
  }
  return {
    size: at,
    async *bytes(from, to) {
      for (const { at, size, tile } of all) {
        for (let here = Math.max(from, at); here < Math.min(to, at + size); ) {
          const start = (here - at) % tile.length;
          const count = Math.min(tile.length - start, Math.min(to, at + size) - here);
          yield tile.subarray(start, start + count);
          here += count;
        }
      }
    },
  };
}

/** Whole copies of `tile`, `bytes` of them or a little more. */
function repeated(tile, bytes) {
  return tile.length >= bytes ? tile : Buffer.concat(Array(Math.ceil(bytes / tile.length)).fill(tile));
}

/** Divides halves by 16: four off the exponent; what is too small for that becomes zero. */
function sixteenth(halves) {
  for (let at = 0; at < halves.length; at += 2) {
    const bits = halves.readUInt16LE(at);
    halves.writeUInt16LE(((bits >> 10) & 31) > 4 ? bits - (4 << 10) : bits & 0x8000, at);
  }
}

/** Halves of a tensor: ones where a norm multiplies, zeros where something is added, else as large as a layer's should be. */
function random(name, shape) {
  const inputs = shape.slice(1).reduce((a, b) => a * b, 1);
  if (shape.length === 1) return filled(name.endsWith(".weight") ? 0x3c00 : 0);
  // Signs and eleven bits of a power of two, which is what has about the spread that inputs of such a number leave as it is.
  const exponent = Math.round(15 - Math.log2(name.includes("embedding") ? 64 : Math.sqrt(inputs)));
  return (tiles[exponent] ??= filled(0, (bits) => (bits & 0x8000) | ((exponent - ((bits >> 10) & 1)) << 10) | (bits & 0x3ff)));
}

function filled(value, of = () => value) {
  const halves = Buffer.alloc(1 << 18);
  // xorshift32: Marsaglia 2003, doi:10.18637/jss.v008.i14.
  for (let at = 0, x = 0x9e3779b9; at < halves.length; at += 2) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    halves.writeUInt16LE(of((x >>> 8) & 0xffff), at);
  }
  return halves;
}
