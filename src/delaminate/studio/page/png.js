// PNG to pixels and back, exact to the bit: a browser's canvas would round colours where alpha is low.
const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

async function through(bytes, stream) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

export async function decode(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const view = new DataView(bytes.buffer);
  const parts = [];
  let head = null;
  for (let at = 8; at + 8 <= bytes.length;) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === "IHDR") head = { width: view.getUint32(at + 8), height: view.getUint32(at + 12), depth: bytes[at + 16], colour: bytes[at + 17], lace: bytes[at + 20] };
    if (kind === "IDAT") parts.push(bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const channels = head && { 0: 1, 2: 3, 4: 2, 6: 4 }[head.colour];
  if (!channels || head.depth !== 8 || head.lace) return byCanvas(blob);
  const raw = await through(new Blob(parts), new DecompressionStream("deflate"));
  return { width: head.width, height: head.height, data: unfiltered(raw, head.width, head.height, channels) };
}

function unfiltered(raw, width, height, channels) {
  const stride = width * channels;
  let before = new Uint8Array(stride);
  const data = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y += 1) {
    const filter = raw[y * (stride + 1)];
    const line = raw.subarray(y * (stride + 1) + 1, (y + 1) * (stride + 1));
    for (let x = 0; x < stride && filter; x += 1) {
      const left = x >= channels ? line[x - channels] : 0, up = before[x];
      if (filter === 1) line[x] += left;
      else if (filter === 2) line[x] += up;
      else if (filter === 3) line[x] += (left + up) >> 1;
      else {
        const corner = x >= channels ? before[x - channels] : 0;
        const a = Math.abs(up - corner), b = Math.abs(left - corner), c = Math.abs(left + up - 2 * corner);
        line[x] += a <= b && a <= c ? left : b <= c ? up : corner;
      }
    }
    for (let x = 0, to = y * width * 4; x < stride; x += channels, to += 4) {
      const grey = channels < 3;
      data[to] = line[x];
      data[to + 1] = line[grey ? x : x + 1];
      data[to + 2] = line[grey ? x : x + 2];
      data[to + 3] = channels === 4 ? line[x + 3] : channels === 2 ? line[x + 1] : 255;
    }
    before = line;
  }
  return data;
}

async function byCanvas(blob) {
  const picture = await createImageBitmap(blob);
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  return context.getImageData(0, 0, picture.width, picture.height);
}

const CRCS = Uint32Array.from({ length: 256 }, (_, start) => {
  let value = start;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function chunk(kind, body) {
  const out = new Uint8Array(12 + body.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, body.length);
  for (let at = 0; at < 4; at += 1) out[4 + at] = kind.charCodeAt(at);
  out.set(body, 8);
  let crc = 0xffffffff;
  for (let at = 4; at < out.length - 4; at += 1) crc = CRCS[(crc ^ out[at]) & 255] ^ (crc >>> 8);
  view.setUint32(out.length - 4, crc ^ 0xffffffff);
  return out;
}

export async function encode({ width, height, data }) {
  const raw = new Uint8Array(height * (width * 4 + 1));
  for (let y = 0; y < height; y += 1) raw.set(data.subarray(y * width * 4, (y + 1) * width * 4), y * (width * 4 + 1) + 1);
  const head = new Uint8Array(13);
  const view = new DataView(head.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  head.set([8, 6, 0, 0, 0], 8);
  const packed = await through(raw, new CompressionStream("deflate"));
  return new Blob([new Uint8Array(SIGNATURE), chunk("IHDR", head), chunk("IDAT", packed), chunk("IEND", new Uint8Array())], { type: "image/png" });
}

export async function fetchPixels(path) {
  const answer = await fetch(`/api/${path}`);
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error ?? "The picture cannot be shown.");
  return decode(await answer.blob());
}
