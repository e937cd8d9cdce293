// A static server on localhost with range requests, which counts what it sends and can misbehave on demand.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { open, stat } from "node:fs/promises";
import { extname, join, normalize } from "node:path";

const KINDS = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/** How a server behaves that nobody told otherwise. */
export const WELL = { sent: 0, refuse: null, dropAfter: null, pause: 0, noRanges: false, headers: null, instead: null };

/** Serves `mounts`, {"/prefix/": folder or function of the rest of the path}; the longest prefix that fits counts. */
export async function serve(mounts) {
  const state = { ...WELL, requests: [], mounts };
  const server = createServer((request, response) => {
    answer(mounts, state, request, response).catch((error) => {
      response.destroyed || response.writeHead(500).end(String(error));
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  state.url = `http://localhost:${server.address().port}/`;
  state.close = () => (server.closeAllConnections(), server.close());
  return state;
}

async function answer(mounts, state, request, response) {
  const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
  state.requests.push(path);
  if (state.refuse?.(path)) return response.destroy();
  const prefix = Object.keys(mounts)
    .filter((prefix) => path.startsWith(prefix))
    .sort((a, b) => b.length - a.length)[0];
  let file = prefix && (await find(mounts[prefix], path.slice(prefix.length) || "index.html"));
  if (!file) return response.writeHead(404).end();
  const other = state.instead?.[path];
  if (other) file = whole(Buffer.from(other(await all(file))));
  const asked = state.noRanges ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const from = asked ? Number(asked[1]) : 0;
  const to = asked?.[2] ? Math.min(Number(asked[2]) + 1, file.size) : file.size;
  const headers = {
    "Content-Type": KINDS[extname(path || "index.html")] ?? (path.endsWith("/") ? KINDS[".html"] : "application/octet-stream"),
    "Content-Length": to - from,
    "Accept-Ranges": "bytes",
    "Cache-Control": "no-store",
    ...state.headers?.(path),
  };
  if (asked) headers["Content-Range"] = `bytes ${from}-${to - 1}/${file.size}`;
  response.writeHead(asked ? 206 : 200, headers);
  if (request.method === "HEAD") return response.end();
  for await (const chunk of file.bytes(from, to)) {
    if (response.destroyed) return;
    if (state.dropAfter?.(path, chunk.length)) return response.socket.end();
    if (state.pause) await new Promise((resolve) => setTimeout(resolve, state.pause));
    state.sent += chunk.length;
    if (!response.write(chunk)) await drained(response);
  }
  response.end();
}

/** A file that is in memory. */
export function whole(bytes) {
  return {
    size: bytes.length,
    async *bytes(from, to) {
      // In pieces, as from a disk: a connection can break between them.
      for (let at = from; at < to; at += 1 << 16) yield bytes.subarray(at, Math.min(at + (1 << 16), to));
    },
  };
}

/** The paths of a folder's files in it. */
export function filesIn(folder) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1));
}

/** A folder's files, by their paths in it. */
export function contents(folder) {
  return Object.fromEntries(filesIn(folder).map((path) => [path, readFileSync(join(folder, path))]));
}

export const sum = (kind, ...parts) => parts.reduce((hash, part) => hash.update(part), createHash(kind)).digest("hex");

/** What a folder answers to a path, with the list of its files that `cargo xtask web` would put beside them. */
export function listed(folder) {
  const files = contents(folder);
  const entries = Object.entries(files).map(([path, b]) => [path, { size: b.length, sha256: sum("sha256", b) }]);
  files["files.json"] = Buffer.from(JSON.stringify({ files: Object.fromEntries(entries) }));
  return (path) => (files[path] ? whole(files[path]) : null);
}

async function all(file) {
  const pieces = [];
  for await (const piece of file.bytes(0, file.size)) pieces.push(piece);
  return Buffer.concat(pieces);
}

function drained(response) {
  return new Promise((resolve) => {
    const done = () => {
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.on("drain", done).on("close", done);
  });
}

async function find(mount, path) {
  if (typeof mount === "function") return mount(path);
  const name = join(mount, normalize(join("/", path)));
  const found = await stat(name).catch(() => null);
  if (!found?.isFile()) return null;
  return {
    size: found.size,
    async *bytes(from, to) {
      const file = await open(name);
      try {
        yield* file.createReadStream({ start: from, end: to - 1, autoClose: false, highWaterMark: 1 << 18 });
      } finally {
        await file.close();
      }
    },
  };
}
