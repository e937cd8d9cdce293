// Files that the user opened from disk: a model folder, or components of a model. Nothing is copied: bytes are read
// when they are asked for.

const INDEX = "model_index.json";

export class LocalFiles {
  #files = new Map();
  #tell;
  name;
  /** The files that are components of a model by themselves, where there is no folder. */
  parts = null;

  constructor(files, { tell }) {
    this.#tell = tell;
    const base = (path) => path.split("/").pop();
    // The folder is the one with model_index.json; where there is none the engine says what is missing.
    const index = files.find(({ path }) => base(path) === INDEX);
    const folder = index ? index.path.slice(0, -INDEX.length) : "";
    for (const { path, file } of files) {
      if (path.startsWith(folder)) this.#files.set(path.slice(folder.length), file);
    }
    this.name = folder.split("/").filter(Boolean).pop() ?? files[0]?.path.split("/")[0] ?? "no file";
    if (index || files.some(({ path }) => path.includes("/"))) return;

    const other = files.find(({ path }) => !path.endsWith(".safetensors"));
    if (!other) {
      this.parts = files.map(({ path }) => path);
    } else if (files.length > 1 && files.some(({ path }) => path.endsWith(".safetensors"))) {
      throw new Error(
        `${other.path} does not go with single files: select .safetensors files only, which take the place of the ` +
          "loaded model's own, or open the whole folder of a model",
      );
    } else if (!other.path.endsWith(".json")) {
      throw new Error(
        `${other.path} is not a model: open a folder in the diffusers layout, with ${INDEX} in it, or the ` +
          ".safetensors files of a component",
      );
    }
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
