// The browser's own file system (OPFS) as a store of downloaded models: a folder for each address.

const ROOT = "calotype-models";

/** The store's folder for an address; null where the browser has no such file system, as in some private windows. */
export async function folder(url) {
  try {
    const root = await navigator.storage.getDirectory();
    const models = await root.getDirectoryHandle(ROOT, { create: true });
    return await models.getDirectoryHandle(await digest(url), { create: true });
  } catch {
    return null;
  }
}

/** Bytes that all models take there, and what the browser would let them. */
export async function usage() {
  let models = 0;
  try {
    const root = await navigator.storage.getDirectory();
    models = await size(await root.getDirectoryHandle(ROOT));
  } catch {
    // There is none.
  }
  const { quota } = (await navigator.storage?.estimate?.()) ?? {};
  return { bytes: models, quota };
}

/** Whether the browser says that it has no room for so many bytes more. */
export async function lacks(bytes) {
  const { quota, usage } = (await navigator.storage.estimate?.().catch(() => null)) ?? {};
  return quota - usage < bytes;
}

/** Deletes every stored model. */
export async function clear() {
  try {
    const root = await navigator.storage.getDirectory();
    await root.removeEntry(ROOT, { recursive: true });
  } catch {
    // There is none.
  }
}

async function size(directory) {
  let bytes = 0;
  for await (const entry of directory.values()) {
    bytes += entry.kind === "directory" ? await size(entry) : (await entry.getFile()).size;
  }
  return bytes;
}

async function digest(text) {
  return hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))).slice(0, 24);
}

/** Bytes in lower-case hexadecimal. */
export function hex(buffer) {
  return Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A small JSON file; null where it is missing or unreadable. */
export async function readJson(directory, name) {
  try {
    const handle = await directory.getFileHandle(name);
    return JSON.parse(await (await handle.getFile()).text());
  } catch {
    return null;
  }
}

/** Writes it whole. */
export async function writeJson(directory, name, value) {
  const handle = await directory.getFileHandle(name, { create: true });
  const access = await handle.createSyncAccessHandle();
  try {
    const bytes = new TextEncoder().encode(JSON.stringify(value));
    access.truncate(0);
    access.write(bytes, { at: 0 });
    access.flush();
  } finally {
    access.close();
  }
}
