// The model: its graph in ONNX Runtime, what goes in and what comes out.
import * as ort from './ort/ort.wasm.bundle.min.mjs';
import { planes, resized } from './pixels.mjs';

const LARGEST = 1e8; // pixels

ort.env.wasm.numThreads = 1; // more would need headers that a plain server does not send

async function fetched(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name} is missing beside this page.`);
  return answer;
}

/** Load the graph of this folder. */
export async function open() {
  const facts = await (await fetched('model.json')).json();
  const graph = new Uint8Array(await (await fetched('model.onnx')).arrayBuffer());
  const session = await ort.InferenceSession.create(graph, { executionProviders: ['wasm'] });
  return { facts, session, size: facts.preprocessing.size };
}

/** Decode a picture, and bring it to the model's size as Delaminate does: RGB bytes, height x width x 3. */
export async function pixelsOf(blob, facts) {
  const picture = await createImageBitmap(blob, { colorSpaceConversion: 'none' });
  const { width, height } = picture;
  if (width * height > LARGEST) throw new Error(`It has ${width} x ${height} pixels; this page takes up to ${LARGEST / 1e6} million.`);
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext('2d', { willReadFrequently: true });
  const behind = facts.preprocessing.transparent;
  context.fillStyle = `rgb(${behind.join(' ')})`;
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, 0, 0);
  picture.close();
  const rgba = context.getImageData(0, 0, width, height).data, rgb = new Uint8Array(width * height * 3);
  for (let i = 0, j = 0; i < rgba.length; i += 4) { rgb[j++] = rgba[i]; rgb[j++] = rgba[i + 1]; rgb[j++] = rgba[i + 2]; }
  return { rgb: resized(rgb, [height, width], facts.preprocessing.size), original: [height, width] };
}

/** Take RGB bytes of the model's size apart: what the graph gives, by name, and how long it took in milliseconds. */
export async function takeApart({ facts, session, size }, rgb) {
  const start = performance.now();
  const images = new ort.Tensor('float32', planes(rgb), [1, 3, ...size]);
  const found = await session.run({ [facts.input.name]: images });
  const outputs = Object.fromEntries(Object.entries(found).map(([name, tensor]) => [name, { data: tensor.data, shape: tensor.dims }]));
  return { outputs, milliseconds: performance.now() - start };
}
