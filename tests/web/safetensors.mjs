// Safetensors files, read and written.

/** A file's tensors by name, and where their bytes begin. */
export function header(bytes) {
  const length = Number(bytes.readBigUInt64LE(0));
  const { __metadata__, ...tensors } = JSON.parse(bytes.toString("utf8", 8, 8 + length));
  return { tensors, start: 8 + length };
}

/** What a file begins with whose tensors, `{name, dtype, shape, bytes}`, follow in this order. */
export function begin(tensors) {
  let at = 0;
  const entries = tensors.map(({ name, dtype, shape, bytes }) => [name, { dtype, shape, data_offsets: [at, (at += bytes)] }]);
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const head = Buffer.alloc(8 + json.length);
  head.writeBigUInt64LE(BigInt(json.length));
  json.copy(head, 8);
  return head;
}

/** A file of tensors, `{name, dtype, shape, data}`. */
export function written(tensors) {
  return Buffer.concat([begin(tensors.map((tensor) => ({ ...tensor, bytes: tensor.data.length }))), ...tensors.map(({ data }) => data)]);
}
