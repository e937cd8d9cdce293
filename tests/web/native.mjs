// The same picture from the command line, and what is in a PNG.

import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { inflateSync } from "node:zlib";
import { header } from "./safetensors.mjs";

export const root = new URL("../../", import.meta.url).pathname;
/** The command line. */
export const binary = process.env.CALOTYPE ?? join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "release/calotype");

/** Runs a program to its end, which other tests need not wait for; an error where it fails. */
export const run = promisify(execFile);

/** The tiny model of the goldens. */
export const TINY = join(root, "tests/goldens/sd1-tiny/model");

/** Runs `body` with a folder that goes afterwards. */
export async function inFolder(body) {
  const folder = mkdtempSync(join(tmpdir(), "calotype-"));
  try {
    return await body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What cargo starts this project's programs with, if anything: a machine may have its Vulkan device only there. */
const runner = Object.entries(process.env).find(([name]) => /^CARGO_TARGET_\w+_RUNNER$/.test(name))?.[1].split(" ") ?? [];

/** Draws with the flags of `calotype generate`, `on` this device and in this precision. Returns the PNG's bytes. */
export function draw(flags, on = ["--backend", "cpu", "--dtype", "f32"]) {
  return inFolder(async (folder) => {
    const file = join(folder, "out.png");
    const [program, ...args] = [...runner, binary, "generate", ...flags, ...on, "-o", file];
    await run(program, args, { cwd: root });
    return readFileSync(file);
  });
}

/** One of the tiny model's files with every half of a tensor changed. */
export function changed(path, name, change) {
  const bytes = readFileSync(join(TINY, path));
  const { tensors, start } = header(bytes);
  const { dtype, data_offsets: [from, to] } = tensors[name];
  if (dtype !== "F16") throw new Error(`${name} is ${dtype}`);
  for (let at = start + from; at < start + to; at += 2) {
    bytes.writeUInt16LE(change(bytes.readUInt16LE(at)), at);
  }
  return bytes;
}

/** Width, height, RGB pixels and the text under `parameters` of an 8-bit RGB PNG. */
export function read(png) {
  const parts = [];
  let width, height, parameters;
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at);
    const kind = png.toString("latin1", at + 4, at + 8);
    const data = png.subarray(at + 8, at + 8 + length);
    if (kind === "IHDR") {
      [width, height] = [data.readUInt32BE(0), data.readUInt32BE(4)];
      if (data[8] !== 8 || data[9] !== 2 || data[12] !== 0) throw new Error("not an 8-bit RGB PNG");
    }
    if (kind === "IDAT") parts.push(data);
    if (kind === "tEXt" && data.toString("latin1", 0, 11) === "parameters\0") parameters = data.toString("latin1", 11);
    at += 12 + length;
  }
  return { width, height, parameters, pixels: unfilter(inflateSync(Buffer.concat(parts)), width * 3, height) };
}

// PNG's five filters (https://www.w3.org/TR/png-3/#9Filters), three bytes a pixel.
function unfilter(raw, stride, height) {
  const out = Buffer.alloc(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)];
    for (let x = 0; x < stride; x++) {
      const at = y * stride + x;
      const left = x >= 3 ? out[at - 3] : 0;
      const up = y > 0 ? out[at - stride] : 0;
      const corner = x >= 3 && y > 0 ? out[at - stride - 3] : 0;
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
      out[at] = raw[y * (stride + 1) + 1 + x] + guess;
    }
  }
  return out;
}

function paeth(left, up, corner) {
  const estimate = left + up - corner;
  const [a, b, c] = [left, up, corner].map((value) => Math.abs(estimate - value));
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

/** The largest difference of two pictures, of 255. */
export function apart(a, b) {
  if (a.width !== b.width || a.height !== b.height) return Infinity;
  return a.pixels.reduce((most, value, i) => Math.max(most, Math.abs(value - b.pixels[i])), 0);
}

/** The f32 tensors of a safetensors file, by name. */
export function tensors(file) {
  const bytes = readFileSync(file);
  const { tensors, start } = header(bytes);
  return (name) => {
    const { dtype, data_offsets: [from, to] } = tensors[name];
    if (dtype !== "F32") throw new Error(`${name} is ${dtype}`);
    const copy = Uint8Array.from(bytes.subarray(start + from, start + to));
    return Array.from(new Float32Array(copy.buffer));
  };
}
