// Files that the user opened from disk: a model folder, or files by themselves. Nothing is copied: bytes are read when they
// are asked for.

const INDEX = "model_index.json";
/** What files of weights are called. By themselves they may be called anything: their bytes say what they are. */
const WEIGHTS = /\.(safetensors|ckpt|pt|pth|bin|gguf|h5)$/i;

export class LocalFiles {
  #files = new Map();
  #tell;
  name;
  /** The files that are to be opened each by itself, where there is no folder of a model. */
  loose = null;

  constructor(files, { tell }) {
    this.#tell = tell;
    const base = (path) => path.split("/").pop();
    // The folder is the one with model_index.json.
    const index = files.find(({ path }) => base(path) === INDEX);
    const folder = index ? index.path.slice(0, -INDEX.length) : "";
    for (const { path, file } of files) {
      if (path.startsWith(folder)) this.#files.set(path.slice(folder.length), file);
    }
    this.name = folder.split("/").filter(Boolean).pop() ?? files[0]?.path.split("/")[0] ?? "no file";
    if (index) return;
    // What lies right in a folder is as good as chosen itself. Of a model's folder that lacks its index the engine says so.
    const alone = this.paths().filter((path) => !path.includes("/") || /^[^/]+\/[^/]+$/.test(path) && WEIGHTS.test(path));
    // JSON beside weights is theirs, as PEFT's of a LoRA.
    const weights = alone.filter((path) => !path.endsWith(".json"));
    if (alone.length) this.loose = weights.length ? weights : alone;
  }

  paths() {
    return [...this.#files.keys()];
  }

  async size(path) {
    return this.#files.get(path)?.size;
  }

  async read(path, from, to) {
    const file = this.#files.get(path);
    let bytes;
    try {
      bytes = new Uint8Array(await file.slice(from, to).arrayBuffer());
    } catch (error) {
      throw new Error(`${path}: can no longer be read (${error.message}); open it again`);
    }
    this.#tell({ file: path, loaded: to, total: file.size, from: "disk" });
    return bytes;
  }
}
