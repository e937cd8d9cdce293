// A static server on localhost with range requests, which counts what it sends and can misbehave on demand.

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

/** Serves `mounts`, {"/prefix/": folder or function of the rest of the path}; the longest prefix that fits counts. */
export async function serve(mounts) {
  const state = { sent: 0, requests: [], refuse: null, dropAfter: null, pause: 0, noRanges: false };
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
  const file = prefix && (await find(mounts[prefix], path.slice(prefix.length) || "index.html"));
  if (!file) return response.writeHead(404).end();
  const asked = state.noRanges ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const from = asked ? Number(asked[1]) : 0;
  const to = asked?.[2] ? Math.min(Number(asked[2]) + 1, file.size) : file.size;
  const headers = {
    "Content-Type": KINDS[extname(path || "index.html")] ?? (path.endsWith("/") ? KINDS[".html"] : "application/octet-stream"),
    "Content-Length": to - from,
    "Accept-Ranges": "bytes",
    "Cache-Control": "no-store",
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
