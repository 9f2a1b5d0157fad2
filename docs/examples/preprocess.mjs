// Turn an image file into the pixels of an export of erde, in a browser. drawImage would resize
// otherwise in every browser, so this file has its own resize.

// The whole image, upright and on its background: { data: RGBA, width, height }.
async function upright(blob, described) {
  const { gray_bits: bits, transparent, frame } = described;
  if (bits !== 16 || transparent === 'ignore' || frame === 'only') {
    throw new Error(`no canvas does this: ${bits} bits of grey, ${transparent}, frame ${frame}`);
  }
  const bitmap = await createImageBitmap(blob, {
    imageOrientation: 'from-image', colorSpaceConversion: 'none', premultiplyAlpha: 'premultiply',
  });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.fillStyle = transparent;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

const filters = {
  bilinear: [1, (x) => Math.max(0, 1 - x)],
  bicubic: [2, (x) => (x < 1 ? ((1.5 * x - 2.5) * x) * x + 1
    : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0)],
};

// Pillow's weights of a resize in one direction, whole numbers of 2**22: [[first, weights], ...].
function weights(length, wanted, interpolation) {
  const [reach, filter] = filters[interpolation];
  const scale = length / wanted, wide = Math.max(scale, 1), rows = [];
  for (let row = 0; row < wanted; row++) {
    const centre = (row + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach * wide + 0.5));
    const last = Math.min(length, Math.trunc(centre + reach * wide + 0.5));
    const values = [];
    for (let at = first; at < last; at++) values.push(filter(Math.abs((at - centre + 0.5) / wide)));
    const sum = values.reduce((total, value) => total + value, 0);
    rows.push([first, values.map((value) => {
      const share = (value / sum) * 4194304;
      return Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
    })]);
  }
  return rows;
}

// Resize lines of pixels: `step` bytes between neighbours, `next` between lines.
function pass(data, lines, rows, step, next, out, outStep, outNext) {
  for (let line = 0; line < lines; line++) {
    rows.forEach(([first, shares], at) => {
      for (let channel = 0; channel < 3; channel++) {
        let sum = 2097152, from = line * next + first * step + channel;
        for (const share of shares) { sum += data[from] * share; from += step; }
        out[line * outNext + at * outStep + channel] = Math.min(255, Math.max(0, sum >> 22));
      }
    });
  }
}

function wider(image, wanted, interpolation) {
  const { data, width, height } = image;
  if (width === wanted) return image;
  const out = new Uint8Array(4 * wanted * height);
  pass(data, height, weights(width, wanted, interpolation), 4, 4 * width, out, 4, 4 * wanted);
  return { data: out, width: wanted, height };
}

function higher(image, wanted, interpolation) {
  const { data, width, height } = image;
  if (height === wanted) return image;
  const out = new Uint8Array(4 * width * wanted);
  pass(data, width, weights(height, wanted, interpolation), 4 * width, 4, out, 4 * width, 4);
  return { data: out, width, height: wanted };
}

// Pillow's resize of RGBA pixels in two passes, each rounded to 8 bits; alpha is lost.
export function resized(image, width, height, interpolation) {
  const lessHigh = image.height - height, lessWide = image.width - width;
  if (lessHigh > 0 && lessHigh > 2 * lessWide)  // since Pillow 13
    return wider(higher(image, height, interpolation), width, interpolation);
  return higher(wider(image, width, interpolation), height, interpolation);
}

const halfToEven = (value) => (value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));

// Pixels of a file (a Blob) at the size of the network: Uint8Array of size * size * 3.
// described: erde.input of the export.
export async function pixelsOf(blob, described) {
  let image = await upright(blob, described);
  const { size, short_side: short, resize } = described;
  const shortest = Math.min(image.width, image.height);
  const side = (length) => (resize === 'crop' ? Math.floor((short * length) / shortest) : size);
  image = resized(image, side(image.width), side(image.height), described.interpolation);
  const left = halfToEven((image.width - size) / 2), top = halfToEven((image.height - size) / 2);
  const pixels = new Uint8Array(3 * size * size);
  for (let y = 0, at = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const from = 4 * ((top + y) * image.width + left + x);
      for (let channel = 0; channel < 3; channel++) pixels[at++] = image.data[from + channel];
    }
  }
  return pixels;
}
