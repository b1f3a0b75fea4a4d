// Layers become an image by the library's own formula: alpha * rgb + (1 - alpha) * behind, in floating point, where it changed.
export class Compositor {
  constructor(width, height) {
    Object.assign(this, { width, height, layers: [] });
    this.canvas = document.createElement("canvas");
    this.canvas.width = width;
    this.canvas.height = height;
    this.context = this.canvas.getContext("2d");
    this.dirty = null;
  }

  // Back to front: id, visible, opacity, and pixels `data` of `width` x `height` at (left, top).
  use(layers) {
    this.layers = layers;
    this.touch(0, 0, this.width, this.height);
  }

  touch(left, top, width, height) {
    const d = this.dirty ?? [Infinity, Infinity, -Infinity, -Infinity];
    this.dirty = [Math.min(d[0], left), Math.min(d[1], top), Math.max(d[2], left + width), Math.max(d[3], top + height)];
  }

  touchLayer(layer) {
    this.touch(layer.left, layer.top, layer.width, layer.height);
  }

  move(layer, dx, dy) {
    this.touchLayer(layer);
    layer.left += dx;
    layer.top += dy;
    this.touchLayer(layer);
  }

  paint() {
    if (!this.dirty) return;
    const x0 = Math.max(0, this.dirty[0]), y0 = Math.max(0, this.dirty[1]);
    const x1 = Math.min(this.width, this.dirty[2]), y1 = Math.min(this.height, this.dirty[3]);
    this.dirty = null;
    const wide = x1 - x0, high = y1 - y0;
    if (wide <= 0 || high <= 0) return;
    const sum = new Float32Array(wide * high * 4); // colour times alpha, and alpha
    for (const layer of this.layers) {
      if (!layer.visible || layer.opacity <= 0) continue;
      const left = Math.max(x0, layer.left), right = Math.min(x1, layer.left + layer.width);
      const top = Math.max(y0, layer.top), bottom = Math.min(y1, layer.top + layer.height);
      const { data } = layer;
      const unit = layer.opacity / 255;
      for (let y = top; y < bottom; y += 1) {
        let from = ((y - layer.top) * layer.width + left - layer.left) * 4;
        let to = ((y - y0) * wide + left - x0) * 4;
        for (let x = left; x < right; x += 1, from += 4, to += 4) {
          const alpha = data[from + 3] * unit;
          if (alpha === 0) continue;
          const through = 1 - alpha;
          sum[to] = alpha * data[from] + through * sum[to];
          sum[to + 1] = alpha * data[from + 1] + through * sum[to + 1];
          sum[to + 2] = alpha * data[from + 2] + through * sum[to + 2];
          sum[to + 3] = alpha + through * sum[to + 3];
        }
      }
    }
    const out = new ImageData(wide, high);
    for (let at = 0; at < sum.length; at += 4) {
      const alpha = sum[at + 3];
      if (alpha === 0) continue;
      out.data[at] = sum[at] / alpha;
      out.data[at + 1] = sum[at + 1] / alpha;
      out.data[at + 2] = sum[at + 2] / alpha;
      out.data[at + 3] = alpha * 255;
    }
    this.context.putImageData(out, x0, y0);
  }

  // The layer that is seen at a pixel, the front-most first.
  at(x, y) {
    for (let index = this.layers.length - 1; index >= 0; index -= 1) {
      const layer = this.layers[index];
      const column = x - layer.left, row = y - layer.top;
      if (!layer.visible || column < 0 || row < 0 || column >= layer.width || row >= layer.height) continue;
      if (layer.data[(row * layer.width + column) * 4 + 3] * layer.opacity > 25) return layer;
    }
    return null;
  }
}

// Cut layers out of their atlas; those of a reduced atlas are enlarged to the canvas.
export function cut(atlas, box) {
  const data = new Uint8ClampedArray(box.width * box.height * 4);
  for (let y = 0; y < box.height; y += 1) {
    const from = ((box.y + y) * atlas.width + box.x) * 4;
    data.set(atlas.data.subarray(from, from + box.width * 4), y * box.width * 4);
  }
  const made = { id: box.layer, left: box.left, top: box.top, width: box.width, height: box.height, data };
  if (box.scale <= 1) return made;
  const width = Math.round(box.width * box.scale), height = Math.round(box.height * box.scale);
  const large = new Uint8ClampedArray(width * height * 4);
  const source = new Uint32Array(data.buffer), target = new Uint32Array(large.buffer);
  for (let y = 0; y < height; y += 1) {
    const row = Math.min(box.height - 1, Math.floor(y / box.scale)) * box.width;
    for (let x = 0; x < width; x += 1) target[y * width + x] = source[row + Math.min(box.width - 1, Math.floor(x / box.scale))];
  }
  return { ...made, width, height, data: large };
}

export function pictureOf({ width, height, data }) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, width);
  canvas.height = Math.max(1, height);
  if (width && height) canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
  return canvas;
}
