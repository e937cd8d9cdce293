// Where models come from: servers that drop connections, lie or list checksums, and files from disk.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { engine } from "./engine.mjs";
import { root } from "./native.mjs";
import { contents, sum, whole } from "./server.mjs";
import { beforeTheWorker } from "./workers.mjs";

const TINY = join(root, "tests/goldens/sd1-tiny/model");
const UNET = readFileSync(join(TINY, "unet/diffusion_pytorch_model.safetensors")).length;

/** The error of loading what is at an address; empty where there is none. */
const refusal = (page, url) => page.evaluate((url) => engine.load(url).then(() => "", (error) => error.message), url);

/** A connection that breaks costs what was under way, not the file. */
export async function sources_resume_a_broken_download(given) {
  const { page, server } = given;
  given.expected = /ERR_CONTENT_LENGTH_MISMATCH|ERR_CONNECTION|ERR_INCOMPLETE/;
  await engine(given);
  let passed = 0;
  let broken = 0;
  server.dropAfter = (path, bytes) => {
    if (!path.includes("/unet/diffusion")) return false;
    passed += bytes;
    return broken === 0 && passed > UNET / 2 && ++broken === 1;
  };
  // What is on the wire when it breaks is lost, so it must not all be on the wire.
  Object.assign(server, { sent: 0, pause: 100 });
  await page.evaluate(() => engine.load("/tiny/"));
  assert.equal(broken, 1);
  const all = Object.values(contents(TINY)).reduce((sum, { length }) => sum + length, 0);
  assert.ok(server.sent < all + 700_000, `${server.sent} bytes were sent of a model of ${all}`);
  return `${server.sent} bytes sent for ${all}`;
}

/** A later visit goes on where the first one lost the server; a server without ranges does as well. */
export async function sources_go_on_in_a_later_visit(given) {
  const { page, server } = given;
  given.expected = /ERR_CONTENT_LENGTH_MISMATCH|ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY/;
  await engine(given);
  let passed = 0;
  server.dropAfter = (path, bytes) => path.includes("/unet/diffusion") && (passed += bytes) > UNET / 2;
  server.pause = 100;
  const error = await refusal(page, "/tiny/");
  assert.match(error, new RegExp(`broke off at \\d+ of ${UNET} bytes .* load it again to go on`));
  Object.assign(server, { dropAfter: null, pause: 0 });
  await engine(given);
  server.sent = 0;
  await page.evaluate(() => engine.load("/tiny/"));
  const resumed = server.sent;
  assert.ok(resumed < UNET + 200_000, `${resumed} bytes were sent`);
  await page.evaluate(() => engine.clearStorage());
  server.noRanges = true;
  await page.evaluate(() => engine.load("/tiny/"));
  return `${resumed} bytes in the second visit`;
}

/** A browser whose store is full: weights come from the server, range by range, and are not kept. */
export async function sources_do_without_a_store(given) {
  const { page, server } = given;
  beforeTheWorker(server, () => {
    const { truncate } = FileSystemSyncAccessHandle.prototype;
    FileSystemSyncAccessHandle.prototype.truncate = function (size) {
      if (size > 1e6) throw new DOMException("full", "QuotaExceededError");
      return truncate.call(this, size);
    };
  });
  await engine(given);
  await page.evaluate(() => engine.load("/tiny/"));
  const { bytes } = await page.evaluate(() => engine.storage());
  assert.ok(bytes < UNET, `${bytes} bytes were kept`);
}

/** A browser without files of its own, as in Firefox's private windows: there is nothing to keep and nothing to clear. */
export async function sources_do_without_a_file_system(given) {
  const { page, server } = given;
  beforeTheWorker(server, () => {
    StorageManager.prototype.getDirectory = async () => {
      throw new DOMException("Security error when calling GetDirectory", "SecurityError");
    };
  });
  await engine(given);
  const told = await page.evaluate(async () => {
    await engine.load("/tiny/");
    await engine.clearStorage();
    const { pictures } = await draw({ prompt: "kept nowhere", steps: 1 });
    return { ...(await engine.storage()), drawn: pictures.length };
  });
  assert.deepEqual([told.bytes, told.drawn], [0, 1]);
}

/** The page's own model comes with the checksum of every file, and bytes that are not those are refused. */
export async function sources_refuse_damaged_bytes(given) {
  const { page, server } = given;
  const listing = JSON.parse(readFileSync(join(root, "web/dist/model/files.json"))).files;
  for (const [path, bytes] of Object.entries(contents(join(root, "web/dist/model")))) {
    if (path === "files.json") continue;
    assert.deepEqual(listing[path], { size: bytes.length, sha256: sum("sha256", bytes) }, path);
  }
  const damaged = (text) => String(text).replace(/("vae\/diffusion[^}]*"sha256": ?")./, "$1x");
  server.instead = { "/tiny/files.json": damaged };
  await engine(given);
  assert.match(await refusal(page, "/tiny/"), /vae\/diffusion_pytorch_model\.safetensors: damaged on the way \(SHA-256/);
}

/** The hub's layout: a list of files by their models' name, with a SHA-256 for large ones and git's name for others. */
export async function sources_check_what_the_hub_lists(given) {
  const { page, server } = given;
  const files = contents(TINY);
  const damaged = new Set();
  const bytes = (path) => {
    const file = Buffer.from(files[path]);
    if (damaged.has(path)) file[file.length - 2] ^= 1;
    return file;
  };
  server.mounts["/api/models/org/tiny/tree/v1"] = () => whole(Buffer.from(JSON.stringify(
    Object.entries(files).map(([path, file]) => ({
      type: "file", path, size: file.length, oid: sum("sha1", `blob ${file.length}\0`, file),
      ...(path.endsWith(".safetensors") && { lfs: { oid: sum("sha256", file), size: file.length } }),
    })).concat([{ type: "directory", path: "unet", oid: "0", size: 0 }]))));
  server.mounts["/org/tiny/resolve/v1/"] = (path) => (files[path] ? whole(bytes(path)) : null);
  await engine(given);
  const visit = () => refusal(page, `${server.url}org/tiny/tree/v1`);
  for (const [path, kind] of [
    ["tokenizer/merges.txt", "git's SHA-1"],
    ["text_encoder/model.safetensors", "SHA-256"],
  ]) {
    damaged.add(path);
    assert.match(await visit(), new RegExp(`${path}: damaged on the way \\(${kind}`));
    damaged.delete(path);
  }
  assert.equal(await visit(), "");
  // Each file was asked for once, the damaged ones twice.
  const asked = server.requests.filter((path) => path.startsWith("/org/tiny/"));
  assert.equal(asked.length, new Set(asked).size + 2);
}

/** A host that copies the hub but has no list tells the checksum of a large file in its headers. */
export async function sources_check_the_headers(given) {
  const { page, server } = given;
  given.expected = /404/;
  const files = contents(TINY);
  server.mounts["/org/copy/resolve/main/"] = (path) => (files[path] ? whole(files[path]) : null);
  let wrong = "vae/";
  server.headers = (path) => {
    const name = path.slice("/org/copy/resolve/main/".length);
    if (!path.startsWith("/org/copy/") || !name.endsWith(".safetensors")) return {};
    return { "X-Linked-Etag": `"${sum("sha256", files[name], name.startsWith(wrong) ? "more" : "")}"` };
  };
  await engine(given);
  const url = `${server.url}org/copy/resolve/main`;
  assert.match(await refusal(page, url), /vae\/diffusion_pytorch_model\.safetensors: damaged on the way \(SHA-256/);
  wrong = "nothing";
  assert.equal(await refusal(page, url), "");
  // Without a network, what is stored is enough.
  await engine(given);
  given.expected = /404|ERR_/;
  server.refuse = (path) => path.startsWith("/org/");
  assert.equal(await refusal(page, url), "");
}

/** A browser that says to have no room for a large file: none of it is fetched to be kept. */
export async function sources_keep_nothing_in_vain(given) {
  const { page, server } = given;
  beforeTheWorker(server, () => {
    StorageManager.prototype.estimate = async () => ({ quota: 1e6, usage: 0 });
    const { truncate } = FileSystemSyncAccessHandle.prototype;
    FileSystemSyncAccessHandle.prototype.truncate = function (size) {
      if (size > 1e6) throw new Error("room was asked for in vain");
      return truncate.call(this, size);
    };
  });
  await engine(given);
  await page.evaluate(() => engine.load("/tiny/"));
  const { bytes } = await page.evaluate(() => engine.storage());
  assert.ok(bytes < UNET, `${bytes} bytes were kept`);
}
