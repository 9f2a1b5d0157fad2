// node run.mjs MODEL.onnx PIXELS SIDE [THRESHOLD...] prints one JSON object: label, exit,
// probabilities and milliseconds of each image. PIXELS is a file of raw uint8 RGB images.
import { readFileSync } from 'node:fs';
import * as ort from 'onnxruntime-web';
import { withThresholds } from './early-exit.mjs';

ort.env.wasm.numThreads = 1;
const [model, pixels, side, ...thresholds] = process.argv.slice(2);
let bytes = new Uint8Array(readFileSync(model));
if (thresholds.length) bytes = withThresholds(bytes, thresholds.map(Number));
const session = await ort.InferenceSession.create(bytes, { logSeverityLevel: 3 });

const all = new Uint8Array(readFileSync(pixels));
const size = 3 * side * side;
const results = { label: [], exit: [], probabilities: [], milliseconds: [] };
for (let at = 0; at < all.length; at += size) {
  const shape = [1, Number(side), Number(side), 3];
  const image = new ort.Tensor('uint8', all.slice(at, at + size), shape);
  const start = performance.now();
  const { label, exit, probabilities } = await session.run({ image });
  results.milliseconds.push(performance.now() - start);
  results.label.push(Number(label.data[0]));
  results.exit.push(Number(exit.data[0]));
  results.probabilities.push([...probabilities.data]);
}
console.log(JSON.stringify(results));
