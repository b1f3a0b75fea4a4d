// Pixels as Delaminate takes and leaves them: Pillow's bilinear filter, PNG without loss, ZIP.

const BITS = 22; // of Pillow's fixed point, for 8-bit channels

// Which input pixels an output pixel mixes along one axis, with what weights (Pillow, Resample.c).
function taps(source, target) {
  const scale = source / target, wide = Math.max(scale, 1), narrow = 1 / wide;
  return Array.from({ length: target }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - wide + 0.5), 0);
    const end = Math.min(Math.trunc(centre + wide + 0.5), source);
    const weights = Array.from({ length: end - first }, (_, j) => Math.max(1 - Math.abs((j + first - centre + 0.5) * narrow), 0));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((w) => Math.trunc(0.5 + (sum ? w / sum : w) * 2 ** BITS)) };
  });
}

const clipped = (sum) => Math.min(Math.max(sum >> BITS, 0), 255);

/** Resize RGB bytes (height x width x 3): first along rows, then along columns, each rounded to 8 bits.
 * To the bit as Pillow, which takes the columns of some tall pictures first: those are within one level of 255. */
export function resized(rgb, [height, width], [newHeight, newWidth]) {
  let wide = rgb;
  if (newWidth !== width) {
    wide = new Uint8Array(height * newWidth * 3);
    taps(width, newWidth).forEach(({ first, weights }, x) => {
      for (let y = 0; y < height; y++) for (let c = 0; c < 3; c++) {
        let sum = 2 ** (BITS - 1);
        for (let j = 0; j < weights.length; j++) sum += rgb[(y * width + first + j) * 3 + c] * weights[j];
        wide[(y * newWidth + x) * 3 + c] = clipped(sum);
      }
    });
  }
  if (newHeight === height) return wide;
  const out = new Uint8Array(newHeight * newWidth * 3), row = newWidth * 3;
  taps(height, newHeight).forEach(({ first, weights }, y) => {
    for (let i = 0; i < row; i++) {
      let sum = 2 ** (BITS - 1);
      for (let j = 0; j < weights.length; j++) sum += wide[(first + j) * row + i] * weights[j];
      out[y * row + i] = clipped(sum);
    }
  });
  return out;
}

/** RGB bytes (height x width x 3) as floats in [0, 1], channel after channel. */
export function planes(rgb) {
  const count = rgb.length / 3, found = new Float32Array(rgb.length);
  for (let i = 0; i < count; i++) for (let c = 0; c < 3; c++) found[c * count + i] = rgb[i * 3 + c] / 255;
  return found;
}

/** Channel after channel in [0, 1], three or four of them, as RGBA bytes. */
export function bytes(values, channels, count, start = 0) {
  const found = new Uint8ClampedArray(count * 4).fill(255); // which rounds and clips
  for (let c = 0; c < channels; c++) for (let i = 0; i < count; i++) found[i * 4 + c] = values[start + c * count + i] * 255;
  return found;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function checksum(data) {
  let sum = 0xffffffff;
  for (const byte of data) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return whole;
}

function numbers(layout) { // pairs of width in bytes and value, little endian
  const view = new DataView(new ArrayBuffer(layout.reduce((sum, [width]) => sum + width, 0)));
  let at = 0;
  for (const [width, value] of layout) { width === 2 ? view.setUint16(at, value, true) : view.setUint32(at, value, true); at += width; }
  return new Uint8Array(view.buffer);
}

const text = (value) => new TextEncoder().encode(value);

/** Encode RGBA bytes as PNG. A canvas would multiply colours by alpha, and lose them where it is small. */
export async function png(rgba, [height, width]) {
  const rows = new Uint8Array(height * (width * 4 + 1)); // each begins with its filter, 0
  for (let y = 0; y < height; y++) rows.set(rgba.subarray(y * width * 4, (y + 1) * width * 4), y * (width * 4 + 1) + 1);
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream('deflate'));
  const chunk = (name, data) => {
    const body = joined([text(name), data]), ends = new DataView(new ArrayBuffer(8));
    ends.setUint32(0, data.length); ends.setUint32(4, checksum(body));
    return joined([new Uint8Array(ends.buffer, 0, 4), body, new Uint8Array(ends.buffer, 4)]);
  };
  const head = new DataView(new ArrayBuffer(13));
  head.setUint32(0, width); head.setUint32(4, height); head.setUint8(8, 8); head.setUint8(9, 6);
  return joined([
    Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10), chunk('IHDR', new Uint8Array(head.buffer)),
    chunk('IDAT', new Uint8Array(await new Response(packed).arrayBuffer())), chunk('IEND', new Uint8Array(0)),
  ]);
}

/** Put files, pairs of name and bytes, into a ZIP, as they are. */
export function zip(files) {
  const parts = [], list = [];
  let at = 0;
  for (const [name, data] of files) {
    const title = text(name), about = [[2, 20], [2, 0x800], [2, 0], [2, 0], [2, 33], [4, checksum(data)], [4, data.length], [4, data.length], [2, title.length], [2, 0]];
    list.push(numbers([[4, 0x02014b50], [2, 20], ...about, [2, 0], [2, 0], [2, 0], [4, 0], [4, at]]), title);
    parts.push(numbers([[4, 0x04034b50], ...about]), title, data);
    at += 30 + title.length + data.length;
  }
  const names = joined(list);
  return joined([...parts, names, numbers([[4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, names.length], [4, at], [2, 0]])]);
}
