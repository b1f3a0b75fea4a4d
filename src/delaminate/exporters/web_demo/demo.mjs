// The page: a picture in, its layers out.
import { bytes, png, zip } from './pixels.mjs';

const byId = (id) => document.getElementById(id);
const SMALL = 160; // pixels a side up to which they are shown as squares
let graph, library, shown, busy = false;

function say(text, wrong = false) {
  byId('status').textContent = text;
  byId('status').classList.toggle('wrong', wrong);
}

function element(name, properties = {}, ...children) {
  const found = Object.assign(document.createElement(name), properties);
  found.append(...children);
  return found;
}

function show(canvas, rgba, [height, width]) {
  canvas.width = width; canvas.height = height;
  canvas.classList.toggle('pixel', Math.max(width, height) <= SMALL);
  canvas.getContext('2d').putImageData(new ImageData(rgba, width, height), 0, 0);
}

function save(name, data, type) {
  const link = element('a', { href: URL.createObjectURL(new Blob([data], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const hue = (index) => (index * 137.5 + 172) % 360; // far apart, however many

function colourOf(index, background) {
  return background && index === 0 ? [0.5, 0.5, 0.5] : [0, 8, 4].map((n) => { // HSL of lightness 0.55, saturation 0.6
    const k = (n + hue(index) / 30) % 12;
    return 0.55 - 0.27 * Math.max(-1, Math.min(k - 3, 9 - k, 1));
  });
}

function titleOf(index, facts, entries) {
  if (facts.layers.background && index === 0) return 'Background';
  const number = index + (facts.layers.background ? 0 : 1);
  if (!entries) return facts.layers.count === 2 ? 'Foreground' : `Region ${number}`;
  if (entries.shape.length === 2) return facts.dictionary[Number(entries.data[index])];
  const each = entries.data.length / entries.shape[1], first = (number - 1) * each;
  const there = entries.data.subarray(first, first + each).filter((entry) => entry >= 0).length;
  return `Layer ${number}: ${there} sprite${there === 1 ? '' : 's'}`;
}

function layersOf(outputs, facts, count) {
  const { layers, visibility, entries } = outputs;
  return Array.from({ length: layers.shape[1] }, (_, index) => {
    const start = index * 4 * count, alpha = layers.data.subarray(start + 3 * count, start + 4 * count);
    const seen = visibility.data.subarray(index * count, (index + 1) * count);
    return {
      index, start, alpha, seen, on: true, title: titleOf(index, facts, entries),
      share: seen.reduce((a, b) => a + b, 0) / count,
      empty: !alpha.some((value) => value > 0), rgba: bytes(layers.data, 4, count, start),
    };
  }).filter((layer) => !layer.empty);
}

// Composite the layers that are ticked, back to front, over black.
function rebuild() {
  const { outputs, count, size, layers } = shown, values = new Float32Array(3 * count);
  for (const { on, alpha, start } of layers) {
    if (!on) continue;
    for (let c = 0; c < 3; c++) for (let i = 0; i < count; i++) {
      const at = c * count + i;
      values[at] += alpha[i] * (outputs.layers.data[start + at] - values[at]);
    }
  }
  show(byId('rebuilt'), bytes(values, 3, count), size);
}

function regions() {
  const { count, size, layers } = shown, background = graph.facts.layers.background, found = new Float32Array(3 * count);
  for (let i = 0; i < count; i++) {
    let best = background ? -1 : layers.reduce((left, { alpha }) => left * (1 - alpha[i]), 1), colour = [0.5, 0.5, 0.5];
    for (const { seen, index } of layers) if (seen[i] > best) { best = seen[i]; colour = colourOf(index, background); }
    for (let c = 0; c < 3; c++) found[c * count + i] = colour[c];
  }
  show(byId('regions'), bytes(found, 3, count), size);
}

const fileName = (layer) => `${String(layer.index).padStart(2, '0')}-${layer.title.toLowerCase().replace(/[^a-z0-9]+/g, '-')}.png`;

function card(layer) {
  const { size } = shown, canvas = element('canvas'), tick = element('input', { type: 'checkbox', checked: true });
  const swatch = element('i', { className: 'swatch' });
  swatch.style.background = `rgb(${colourOf(layer.index, graph.facts.layers.background).map((v) => Math.round(v * 255)).join(' ')})`;
  const button = element('button', { type: 'button', textContent: 'PNG', title: `Download ${fileName(layer)}` });
  const item = element('li', { className: 'card' }, element('div', { className: 'check' }, canvas),
    element('label', {}, tick, swatch, layer.title),
    element('div', { className: 'row' }, `seen: ${(100 * layer.share).toFixed(layer.share < 0.1 ? 1 : 0)} %`, button));
  show(canvas, layer.rgba, size);
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', layer.title);
  button.onclick = async () => save(fileName(layer), await png(layer.rgba, size), 'image/png');
  tick.onchange = () => { layer.on = tick.checked; item.classList.toggle('hidden', !layer.on); rebuild(); };
  return item;
}

async function take(blob, name) {
  if (!graph || busy) return;
  busy = true;
  say(`Taking ${name} apart ...`);
  try {
    const { rgb, original } = await library.pixelsOf(blob, graph.facts).catch((error) => {
      throw error.name === 'InvalidStateError' ? new Error('It is no picture that this browser can read.') : error;
    });
    const { outputs, milliseconds } = await library.takeApart(graph, rgb), size = graph.size, count = size[0] * size[1];
    shown = { outputs, size, count, name, layers: layersOf(outputs, graph.facts, count) };
    const image = new Uint8ClampedArray(count * 4).fill(255);
    for (let i = 0; i < count; i++) image.set(rgb.subarray(i * 3, i * 3 + 3), i * 4);
    show(byId('image'), image, size);
    rebuild();
    regions();
    byId('layers').replaceChildren(...shown.layers.map(card));
    byId('size').textContent = original.join() === size.join() ? `${size[1]} x ${size[0]} pixels.`
      : `${original[1]} x ${original[0]} pixels, brought to the model's ${size[1]} x ${size[0]}.`;
    byId('found').hidden = false;
    say(`${name}: ${shown.layers.length} layers in ${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms.`);
  } catch (error) {
    say(`${name}: ${error.message}`, true);
  } finally {
    busy = false;
  }
}

function receive(files) {
  const file = [...files].find((each) => each.type.startsWith('image/')) ?? files[0];
  if (file) take(file, file.name || 'The picture');
}

function listen() {
  const drop = byId('drop');
  for (const name of ['dragover', 'dragenter']) addEventListener(name, (event) => { event.preventDefault(); drop.classList.add('over-it'); });
  addEventListener('dragleave', (event) => { if (!event.relatedTarget) drop.classList.remove('over-it'); });
  addEventListener('drop', (event) => { event.preventDefault(); drop.classList.remove('over-it'); receive(event.dataTransfer.files); });
  addEventListener('paste', (event) => receive(event.clipboardData.files));
  byId('file').onchange = (event) => { receive(event.target.files); event.target.value = ''; };
  byId('all').onclick = async () => {
    const files = await Promise.all(shown.layers.map(async (layer) => [fileName(layer), await png(layer.rgba, shown.size)]));
    save(`${shown.name.replace(/\.[^.]*$/, '')}-layers.zip`, zip(files), 'application/zip');
  };
}

function describe({ title, method, by, layers, input, checked, made, page }) {
  byId('title').textContent = title;
  document.title = `${title} · Delaminate`;
  const rows = { Method: `${method}, by ${by}`, Pictures: `${input.shape[3]} x ${input.shape[2]} pixels`, Layers: layers.count,
    'Checked against torch': `within ${checked.largest_difference.toExponential(0)}` };
  byId('facts').append(...Object.entries(rows).map(([key, value]) => element('div', {}, element('dt', { textContent: key }), element('dd', { textContent: value }))));
  byId('footer').textContent = `Made by Delaminate ${made.delaminate}; runs by onnxruntime-web ${page.runtime.version} (${page.runtime.license}).`;
  byId('examples').append(...page.examples.map((file) => {
    const picture = element('img', { src: file, alt: '', className: Math.max(input.shape[2], input.shape[3]) <= SMALL ? 'pixel' : '' });
    const button = element('button', { type: 'button', title: `Take ${file} apart` }, picture);
    button.setAttribute('aria-label', button.title);
    button.onclick = async () => take(await (await fetch(file)).blob(), file);
    return button;
  }));
  byId('examples').hidden = !page.examples.length;
}

async function start() {
  say('Loading the model ...');
  try {
    library = await import('./graph.mjs');
    const opened = await library.open();
    describe(opened.facts);
    await library.takeApart(opened, new Uint8Array(3 * opened.size[0] * opened.size[1])); // the first time is the slowest
    graph = opened;
    byId('file').disabled = false;
    say('Ready.');
    document.documentElement.dataset.ready = 'yes';
  } catch (error) {
    say(`The model could not be loaded: ${error.message}`, true);
  }
}

listen();
start();
