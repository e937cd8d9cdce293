// A model folder that the user opened from disk. Nothing is copied: bytes are read when they are asked for.

export class LocalFiles {
  #files = new Map();
  #tell;
  name;

  constructor(files, { tell }) {
    this.#tell = tell;
    // The folder is the one with model_index.json; where there is none the engine says what is missing.
    const index = files.find(({ path }) => path.split("/").pop() === "model_index.json");
    const folder = index ? index.path.slice(0, -"model_index.json".length) : "";
    for (const { path, file } of files) {
      if (path.startsWith(folder)) this.#files.set(path.slice(folder.length), file);
    }
    this.name = folder.split("/").filter(Boolean).pop() ?? files[0]?.path ?? "no file";
    const single = files.length === 1 && !index ? files[0].path : null;
    if (single && !/\.(safetensors|json)$/.test(single)) {
      throw new Error(`${single} is not a model: open a folder in the diffusers layout, with model_index.json in it`);
    }
    if (single?.endsWith(".safetensors")) {
      throw new Error(
        `${single} is one file: a model is a folder in the diffusers layout, with model_index.json in it. ` +
          "Open the folder, or select all of its files",
      );
    }
  }

  async size(path) {
    return this.#files.get(path)?.size;
  }

  async read(path, from, to) {
    const file = this.#files.get(path);
    const bytes = new Uint8Array(await file.slice(from, to).arrayBuffer());
    this.#tell({ file: path, loaded: to, total: file.size, from: "disk" });
    return bytes;
  }
}
