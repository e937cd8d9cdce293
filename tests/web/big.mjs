// A model too large for WebAssembly's memory, made as it is asked for: the tiny one with many times its channels.
// Its tensors repeat the tiny ones' numbers, a sixteenth of them in matrices, so that nothing overflows.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./native.mjs";
import { whole } from "./server.mjs";

const folder = join(root, "tests/goldens/sd1-tiny/model");
const small = (path) => readFileSync(join(folder, path));

/** Sizes that are not counts of channels: kernels, latents, colours, positions, words. */
const FIXED = new Set([1, 3, 4, 77, JSON.parse(small("text_encoder/config.json")).vocab_size]);

/** The files of a model with `k` times as many channels, by path: `size`, and `bytes(from, to)` in pieces. */
export function scaled(k) {
  const files = {
    "unet/config.json": config(k, "unet/config.json", ["block_out_channels", "cross_attention_dim"]),
    "text_encoder/config.json":
      config(k, "text_encoder/config.json", ["hidden_size", "intermediate_size", "projection_dim"]),
    "unet/diffusion_pytorch_model.safetensors": weights(k, "unet/diffusion_pytorch_model.safetensors"),
    "text_encoder/model.safetensors": weights(k, "text_encoder/model.safetensors"),
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

const files = scaled(15);
/** Bytes of its UNet. */
export const BYTES = files["unet/diffusion_pytorch_model.safetensors"].size;
/** What the test server asks for a path. */
export const big = (path) => files[path] ?? null;

function config(k, path, fields) {
  const json = JSON.parse(small(path));
  const times = (value) => (Array.isArray(value) ? value.map(times) : value * k);
  for (const field of fields.filter((field) => field in json)) json[field] = times(json[field]);
  return whole(Buffer.from(JSON.stringify(json)));
}

function weights(k, path) {
  const bytes = small(path);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + length));
  delete header.__metadata__;
  const parts = [];
  let at = 0;
  for (const [name, tensor] of Object.entries(header).sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0])) {
    const [from, to] = tensor.data_offsets;
    const tile = Buffer.from(bytes.subarray(8 + length + from, 8 + length + to));
    const shape = tensor.shape.map((size) => (FIXED.has(size) || tensor.dtype !== "F16" ? size : size * k));
    const numel = shape.reduce((a, b) => a * b, 1);
    if (tensor.dtype === "F16" && shape.length > 1 && !name.includes("embedding.")) sixteenth(tile);
    const size = numel * (tile.length / tensor.shape.reduce((a, b) => a * b, 1));
    header[name] = { dtype: tensor.dtype, shape, data_offsets: [at, at + size] };
    parts.push({ at, size, tile: repeated(tile, Math.min(size, 1 << 18)) });
    at += size;
  }
  const json = Buffer.from(JSON.stringify(header));
  const head = Buffer.alloc(8 + json.length);
  head.writeBigUInt64LE(BigInt(json.length));
  json.copy(head, 8);
  const all = [{ at: 0, size: head.length, tile: head }, ...parts.map((p) => ({ ...p, at: p.at + head.length }))];
  return {
    size: head.length + at,
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
  return Buffer.concat(Array(Math.ceil(bytes / tile.length)).fill(tile));
}

/** Divides halves by 16: four off the exponent; what is too small for that becomes zero. */
function sixteenth(halves) {
  for (let at = 0; at < halves.length; at += 2) {
    const bits = halves.readUInt16LE(at);
    halves.writeUInt16LE(((bits >> 10) & 31) > 4 ? bits - (4 << 10) : bits & 0x8000, at);
  }
}
