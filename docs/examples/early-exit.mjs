// Set the thresholds of a file written by `erde export --format onnx`, before you create a session.
//
// An ONNX file is protobuf: nested fields of (number, type). The thresholds are in
// model.graph (7) → the initializer (5) with the name (8) "thresholds" → raw_data (9).

/** Return a copy of the file with these default thresholds in nats; 0: never, Infinity: always. */
export function withThresholds(bytes, thresholds) {
  const copy = Uint8Array.from(bytes);
  for (const graph of fields(copy, 7)) {
    for (const tensor of fields(graph, 5)) {
      const [name] = fields(tensor, 8);
      if (!name || new TextDecoder().decode(name) !== 'thresholds') continue;
      const [data] = fields(tensor, 9);
      if (data.length !== 4 * thresholds.length) {
        throw new RangeError(`expected ${data.length / 4} thresholds, got ${thresholds.length}`);
      }
      const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
      thresholds.forEach((nats, index) => view.setFloat32(4 * index, nats, true));
      return copy;
    }
  }
  throw new Error('this file has no thresholds');
}

/** Yield the contents of every bytes field with this number, as views into the message. */
function* fields(message, number) {
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
      if (Math.floor(key / 8) === number) yield message.subarray(at, at + length);
      at += length;
    }
  }
}
