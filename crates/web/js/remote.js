// A model folder at an address, in the Hugging Face layout, or a file of weights.
//
// A file comes as one stream, is written to the browser's own file system as it comes, and is read from there piece by
// piece: it is never whole in memory. A stream that breaks goes on where it stopped, in this visit or a later one. How
// far each file is, and what it should be, is in the folder's journal. Where the server tells a checksum, in a list of
// its files or in a file's headers, what came is held against it.

import * as store from "./store.js";

const JOURNAL = "journal.json";
/** Bytes between two entries in the journal: what a closed tab may cost. */
const SLICE = 8 << 20;
/** Failures in a row, with nothing received, after which a download is given up for now. */
const PATIENCE = 5;
/** Files no larger than this are read at once, and not a tensor at a time: each read is a question to another process. */
const SMALL = 32 << 20;
/** Without a store, tensors are small and requests dear: this much is fetched at a time. */
const BLOCK = 4 << 20;
/** Of a large file by itself this much is looked at before all of it is fetched: it may be for nothing here. */
const LOOK = 16 << 20;
/** A file of weights in an address: the folder, the file, and what may follow. */
const FILE = /^([^?#]*\/)([^/?#]+\.(?:safetensors|ckpt|pt|pth|bin|gguf|h5))(\?[^#]*)?(?:#.*)?$/i;

export class RemoteFiles {
  #base;
  #directory;
  #journal;
  #tell;
  #Sha256;
  #asked = new Set();
  #blobs = new Map();
  #block = null;
  #small = null;
  #query = "";
  #looked = 0;
  name;
  /** The file, where the address is of one. */
  loose = null;

  static async open(url, { tell, Sha256 }) {
    const files = new RemoteFiles();
    const place = understand(url);
    files.#base = place.base;
    files.name = place.name;
    files.#query = place.query ?? "";
    if (place.file) files.loose = [place.file];
    files.#tell = tell;
    files.#Sha256 = Sha256;
    files.#directory = await store.folder(place.base);
    files.#journal = (files.#directory && (await store.readJson(files.#directory, JOURNAL))) ?? { files: {} };
    const listing = place.file && !place.api ? null : await list(place);
    if (listing) await files.#believe(listing);
    return files;
  }

  /** Every file's path; undefined where the server does not tell. */
  paths() {
    return this.#journal.listing && Object.keys(this.#journal.listing);
  }

  /** The file's length; undefined where there is none. */
  async size(path) {
    const { listing, files } = this.#journal;
    if (listing) return listing[path]?.size;
    // Without a list each file is asked for once a visit; without a network what is known from the last one counts.
    if (!this.#asked.has(path)) {
      this.#asked.add(path);
      await this.#compare(path, await this.#probe(path).catch((error) => {
        if (path in files && error instanceof TypeError) return files[path];
        throw error;
      }));
    }
    return files[path]?.size;
  }

  /** Bytes `from` up to and without `to`. */
  async read(path, from, to) {
    if (this.loose && !this.#blobs.has(path) && (await this.size(path)) > SMALL && this.#looked < LOOK) {
      const bytes = await this.#passing(path, from, to);
      this.#looked += to - from;
      if (bytes) return bytes;
    }
    if (!this.#blobs.has(path)) this.#blobs.set(path, await this.#keep(path));
    const blob = this.#blobs.get(path);
    if (!blob) {
      const bytes = await this.#passing(path, from, to);
      if (bytes) return bytes;
      throw new Error(`${path}: the server sends no parts of a file, and this browser has no room for all of it: ` +
        "download it, and open it from disk");
    }
    if (blob.size > SMALL) return new Uint8Array(await blob.slice(from, to).arrayBuffer());
    let bytes = this.#small?.path === path ? this.#small.bytes.deref() : null;
    if (!bytes) {
      bytes = new Uint8Array(await blob.arrayBuffer());
      this.#small = { path, bytes: new WeakRef(bytes) };
    }
    return bytes.subarray(from, to);
  }

  async settle() {
    if (this.#directory) await store.writeJson(this.#directory, JOURNAL, this.#journal).catch(() => {});
  }

  /** What the server has now goes before what was stored. */
  async #believe(listing) {
    for (const path of Object.keys(this.#journal.files)) {
      await this.#compare(path, listing[path] ?? null);
      if (!listing[path]) delete this.#journal.files[path];
    }
    this.#journal.listing = listing;
    await this.settle();
  }

  /** Forgets what was stored of a file that is another one now. */
  async #compare(path, now) {
    const { files } = this.#journal;
    const kept = files[path];
    if (kept && now && ["size", "sha256", "git"].every((key) => (kept[key] ?? "") === (now[key] ?? ""))) return;
    if (kept) await this.#directory?.removeEntry(flat(path)).catch(() => {});
    files[path] = now && { ...now };
  }

  /** Asks a server that has no listing. */
  async #probe(path) {
    const answer = await fetch(this.#url(path), { method: "HEAD" });
    if (answer.status === 404) return null;
    if (!answer.ok) throw new Error(`${this.#base}${path}: the server answers ${answer.status}`);
    const told = (name) => answer.headers.get(name);
    // What the hub, and what copies it, says of a large file.
    const sha256 = /^"?([0-9a-f]{64})"?$/.exec(told("x-linked-etag") ?? "")?.[1];
    if (!told("content-encoding") && told("content-length") !== null) {
      return { size: Number(told("content-length")), sha256 };
    }
    // Compressed on the way: its length is known when it is here.
    const whole = await fetch(this.#url(path));
    return { size: (await whole.arrayBuffer()).byteLength, sha256 };
  }

  /** The stored file, downloaded if it is not all there; null where it cannot be stored. */
  async #keep(path) {
    const size = await this.size(path);
    if (size === undefined) throw new Error(`${path}: no such file at ${this.#base}`);
    if (!this.#directory) return null;
    const entry = (this.#journal.files[path] ??= { ...this.#journal.listing[path] });
    entry.done ??= 0;
    const handle = await this.#directory.getFileHandle(flat(path), { create: true });
    const there = (await handle.getFile()).size;
    if (!entry.whole || there !== size) {
      // What does not fit would be fetched in vain, up to where the store is full.
      if (await store.lacks(size - there)) return null;
      entry.whole = false;
      entry.done = Math.min(entry.done, there);
      let access;
      try {
        access = await handle.createSyncAccessHandle();
      } catch {
        return null; // Another tab is writing it.
      }
      try {
        // All of its room at once: a file that grows asks for it write by write.
        if (there !== size) access.truncate(size);
        const sum = await this.#download(path, entry, access);
        await this.#verify(path, entry, access, sum);
        entry.whole = true;
      } catch (error) {
        if (error.name !== "QuotaExceededError") throw error;
        access.truncate(0);
        Object.assign(entry, { done: 0 });
        return null;
      } finally {
        access.close();
        await this.settle();
      }
    } else {
      this.#tell({ file: path, loaded: size, total: size, from: "store" });
    }
    return handle.getFile();
  }

  /** Fetches what is missing of a file; the SHA-256 of all of it. */
  async #download(path, entry, access) {
    const sum = new this.#Sha256();
    for (const piece of stored(access, entry.done)) sum.update(piece);
    let failures = 0;
    while (entry.done < entry.size) {
      const before = entry.done;
      try {
        await this.#stream(path, entry, access, sum);
      } catch (error) {
        if (error.name === "QuotaExceededError" || error.final) throw error;
        failures = entry.done > before ? 1 : failures + 1;
        if (failures > PATIENCE) {
          throw new Error(
            `${path}: the download broke off at ${entry.done} of ${entry.size} bytes (${error.message}); ` +
              "load it again to go on from there",
          );
        }
        await new Promise((resolve) => setTimeout(resolve, 200 * 2 ** failures));
      }
    }
    return sum.finish();
  }

  async #stream(path, entry, access, sum) {
    const start = entry.done;
    const headers = start > 0 ? { Range: `bytes=${start}-` } : {};
    const answer = await fetch(this.#url(path), { headers });
    if (!answer.ok) {
      const final = answer.status < 500 && answer.status !== 429;
      throw Object.assign(new Error(`${path}: the server answers ${answer.status}`), { final });
    }
    // A server without ranges sends all of it again; what is here already is passed over.
    let at = answer.status === 206 ? start : 0;
    let noted = start;
    const reader = answer.body.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const fresh = value.subarray(Math.max(0, Math.min(value.length, start - at)));
        const offset = at + value.length - fresh.length;
        at += value.length;
        if (at > entry.size) throw final(`${path}: the server sends more than the ${entry.size} bytes it announced`);
        if (!fresh.length) continue;
        if (access.write(fresh, { at: offset }) !== fresh.length) throw quota();
        sum.update(fresh);
        entry.done = at;
        this.#tell({ file: path, loaded: at, total: entry.size, from: "network" });
        if (at - noted >= SLICE) {
          access.flush();
          await this.settle();
          noted = at;
        }
      }
    } finally {
      reader.cancel().catch(() => {});
      access.flush();
    }
    if (entry.done < entry.size) throw new Error("the connection was closed early");
  }

  async #verify(path, entry, access, sum) {
    const wanted = entry.sha256 ?? entry.git;
    if (!wanted) return;
    const found = entry.sha256 ? sum : await gitName(entry, access);
    if (found === wanted) return;
    entry.done = 0;
    access.truncate(0);
    const kind = entry.sha256 ? "SHA-256" : "git's SHA-1";
    throw new Error(`${path}: damaged on the way (${kind} ${found}, not ${wanted}); load it again`);
  }

  #url(path) {
    return this.#base + (this.loose ? path.split("/").map(encodeURIComponent).join("/") : path) + this.#query;
  }

  /** Some of a file that is not stored; nothing where that would be all of a large one. */
  async #passing(path, from, to) {
    const kept = this.#block;
    if (kept?.path === path && kept.from <= from && to <= kept.from + kept.bytes.length) {
      return kept.bytes.slice(from - kept.from, to - kept.from);
    }
    const size = await this.size(path);
    const until = Math.min(size, Math.max(to, from + BLOCK));
    const answer = await fetch(this.#url(path), { headers: { Range: `bytes=${from}-${until - 1}` } });
    if (!answer.ok) throw new Error(`${path}: the server answers ${answer.status}`);
    if (answer.status !== 206 && size > SMALL) {
      answer.body.cancel().catch(() => {});
      return null;
    }
    let bytes = new Uint8Array(await answer.arrayBuffer());
    if (answer.status !== 206) bytes = bytes.slice(from, until);
    this.#tell({ file: path, loaded: to, total: size, from: "network" });
    if (bytes.length <= BLOCK) this.#block = { path, from, bytes };
    return bytes.slice(0, to - from);
  }
}

/** The first bytes of a stored file, in pieces. */
function* stored(access, length) {
  const piece = new Uint8Array(Math.min(BLOCK, length));
  for (let at = 0; at < length; ) {
    const count = access.read(piece.subarray(0, length - at), { at });
    if (count === 0) break;
    yield piece.subarray(0, count);
    at += count;
  }
}

function final(message) {
  return Object.assign(new Error(message), { final: true });
}

function quota() {
  return Object.assign(new Error("the browser's store is full"), { name: "QuotaExceededError" });
}

/** What git calls a file's contents, which is all that the hub tells of small ones. */
async function gitName({ size }, access) {
  const head = new TextEncoder().encode(`blob ${size}\0`);
  const bytes = new Uint8Array(head.length + size);
  bytes.set(head);
  access.read(bytes.subarray(head.length), { at: 0 });
  return store.hex(await crypto.subtle.digest("SHA-1", bytes));
}

function flat(path) {
  return encodeURIComponent(path);
}

/**
 * An address as a person has it: of a folder, of a file of weights, or of a model's or a file's page at Hugging Face or at a
 * host that copies it.
 */
function understand(url) {
  const file = /^(https?:\/\/[^/]+)\/([^/?#]+\/[^/?#]+)\/(?:resolve|blob)\/([^/?#]+)\/([^?#]+)/.exec(url);
  if (file && FILE.test(url)) {
    const [, host, model, revision, path] = file;
    return {
      base: `${host}/${model}/resolve/${revision}/`,
      api: `${host}/api/models/${model}/tree/${revision}?recursive=true`,
      name: model.split("/")[1],
      file: decodeURIComponent(path),
    };
  }
  const alone = FILE.exec(url);
  if (alone) {
    const [, base, name, query] = alone;
    return { base, name: decodeURIComponent(name), file: decodeURIComponent(name), query };
  }
  const hub =
    /^(https:\/\/huggingface\.co)\/([^/?#]+\/[^/?#]+)\/?$/.exec(url) ??
    /^(https?:\/\/[^/]+)\/([^/?#]+\/[^/?#]+)\/(?:tree|resolve|blob)\/([^/?#]+)\/?$/.exec(url);
  if (hub) {
    const [, host, model, revision = "main"] = hub;
    return {
      base: `${host}/${model}/resolve/${revision}/`,
      api: `${host}/api/models/${model}/tree/${revision}?recursive=true`,
      name: model.split("/")[1],
    };
  }
  const base = url.replace(/(model_index|files)\.json$/, "").replace(/\/*$/, "/");
  return { base, name: decodeURIComponent(base.split("/").filter(Boolean).pop()) };
}

/** Every file's size and checksum, where the server tells: from the hub's own list, or `files.json` in the folder. */
async function list({ base, api }) {
  try {
    const answer = await fetch(api ?? `${base}files.json`, { cache: "no-cache" });
    if (!answer.ok) return null;
    const told = await answer.json();
    if (!api) return told.files ?? null;
    const files = told.filter(({ type }) => type === "file");
    const sum = ({ lfs, oid }) => (lfs ? { sha256: lfs.oid } : { git: oid });
    return Object.fromEntries(files.map((file) => [file.path, { size: file.size, ...sum(file) }]));
  } catch {
    return null; // Offline: what is stored will do.
  }
}
