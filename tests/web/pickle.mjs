// A file as torch saves it: a pickle that builds a dictionary of tensors, in a zip archive with their numbers.
// Instructions: Python's Lib/pickletools.py. Archive: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT

const STORAGES = { F16: "HalfStorage", F32: "FloatStorage" };

const u32 = (...values) => {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => bytes.writeUInt32LE(value, 4 * i));
  return bytes;
};
const u16 = (...values) => {
  const bytes = Buffer.alloc(2 * values.length);
  values.forEach((value, i) => bytes.writeUInt16LE(value, 2 * i));
  return bytes;
};

const text = (text) => Buffer.concat([Buffer.from("X"), u32(Buffer.byteLength(text)), Buffer.from(text)]);
const int = (value) => Buffer.concat([Buffer.from("J"), u32(value)]);
const tuple = (...items) => Buffer.concat([Buffer.from("("), ...items, Buffer.from("t")]);
const global = (module, name) => Buffer.from(`c${module}\n${name}\n`);

/** Tensors, `{name, dtype, shape, data}`, as such a file. */
export function pickled(tensors) {
  const items = tensors.map(({ name, dtype, shape, data }, key) => {
    const count = data.length / (dtype === "F16" ? 2 : 4);
    const storage = tuple(text("storage"), global("torch", STORAGES[dtype]), text(String(key)), text("cpu"), int(count));
    const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
    const args = tuple(Buffer.concat([storage, Buffer.from("Q")]), int(0), tuple(...shape.map(int)), tuple(...strides.map(int)),
      Buffer.from([0x89]), Buffer.from("N"));
    return Buffer.concat([text(name), global("torch._utils", "_rebuild_tensor_v2"), args, Buffer.from("R")]);
  });
  const pickle = Buffer.concat([Buffer.from([0x80, 2]), Buffer.from("}("), ...items, Buffer.from("u.")]);
  return zipped([
    ["model/data.pkl", pickle],
    ...tensors.map(({ data }, key) => [`model/data/${key}`, data]),
  ]);
}

/** An archive of members as they are. */
function zipped(members) {
  const [files, directory] = [[], []];
  let at = 0;
  for (const [name, data] of members) {
    // Method, time, date, sum, sizes, and the lengths of what follows.
    const common = Buffer.concat([u16(0, 0, 0), u32(0, data.length, data.length), u16(name.length, 0)]);
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), u16(20, 0), common, Buffer.from(name)]);
    directory.push(Buffer.from("PK\x01\x02"), u16(20, 20, 0), common, Buffer.alloc(10), u32(at), Buffer.from(name));
    files.push(local, data);
    at += local.length + data.length;
  }
  const list = Buffer.concat(directory);
  const end = Buffer.concat([Buffer.from("PK\x05\x06"), u16(0, 0, members.length, members.length), u32(list.length, at), u16(0)]);
  return Buffer.concat([...files, list, end]);
}
