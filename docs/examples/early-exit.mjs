// Thresholds of a file written by `erde export --format onnx`, set before a session is made of it.
//
// An ONNX file is protobuf: fields of (number, type), nested. The way to the thresholds is
// model.graph (7) → initializer (5), the one whose name (8) is "thresholds" → raw_data (9).

/** A copy of the file's bytes whose default thresholds are these, in nats; 0 never, Infinity always. */
export function withThresholds(bytes, thresholds) {
  const copy = Uint8Array.from(bytes);
  for (const graph of fields(copy, 7)) {
    for (const tensor of fields(graph, 5)) {
      const [name] = fields(tensor, 8);
      if (!name || new TextDecoder().decode(name) !== 'thresholds') continue;
      const [data] = fields(tensor, 9);
      if (data.length !== 4 * thresholds.length) {
        throw new RangeError(`${data.length / 4} thresholds expected, got ${thresholds.length}`);
      }
      const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
      thresholds.forEach((nats, index) => view.setFloat32(4 * index, nats, true));
      return copy;
    }
  }
  throw new Error('there are no thresholds in this file');
}

/** Contents of every field of a number that holds bytes, as views into the message. */
function* fields(message, wanted) {
  let at = 0;
  const varint = () => {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = message[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
  };
  while (at < message.length) {
    const key = varint();
    const type = key % 8;
    if (type === 0) varint();
    else if (type === 1) at += 8;
    else if (type === 5) at += 4;
    else {
      const length = varint();
      if (Math.floor(key / 8) === wanted) yield message.subarray(at, at + length);
      at += length;
    }
  }
}
