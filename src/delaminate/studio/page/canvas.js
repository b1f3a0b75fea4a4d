// The canvas: an image at whole pixels, what is selected, moving with the pointer, zoom and pan.
import * as Konva from "/vendor/konva.module.js";

const PALE = "#ffffff";

export class Canvas {
  // `on`: select(id or null, whether to add it), moving(id, dx, dy), moved(id), formed(what handles did), zoomed(scale),
  // divided(share of the width that shows the image before).
  constructor(box, on) {
    this.box = box;
    this.on = on;
    this.stage = new Konva.Stage({ container: box, width: box.clientWidth || 1, height: box.clientHeight || 1 });
    box.stage = this.stage;
    this.pictures = new Konva.Layer({ listening: false, imageSmoothingEnabled: false });
    this.marks = new Konva.Layer({ listening: false });
    this.checks = new Konva.Rect({ width: 1, height: 1 });
    this.image = new Konva.Image({});
    const mark = (colour, dash) => new Konva.Rect({ stroke: colour, strokeWidth: 1.5, strokeScaleEnabled: false, dash, visible: false });
    this.hovered = mark(PALE, [3, 3]);
    this.under = mark(PALE);
    this.chosen = mark("#0b7a6f");
    this.under.strokeWidth(3.5);
    this.skins = [0.3, 0.3].map((opacity) => new Konva.Image({ opacity, visible: false }));
    this.earlier = new Konva.Image({ visible: false });
    this.divider = new Konva.Rect({ fill: PALE, stroke: "#0008", strokeWidth: 1, strokeScaleEnabled: false, visible: false });
    this.pictures.add(this.checks, this.image, ...this.skins, this.earlier);
    this.marks.add(this.hovered, this.under, this.chosen, this.divider);
    this.handles = new Konva.Layer();
    this.grip = new Konva.Rect({ visible: false, listening: false });
    this.former = new Konva.Transformer({ visible: false, borderEnabled: false, rotateAnchorOffset: 22, anchorSize: 9, anchorCornerRadius: 2, ignoreStroke: true, flipEnabled: false, rotationSnaps: [-90, 0, 90, 180], rotationSnapTolerance: 4 });
    this.former.on("transformend", () => this.formed());
    this.handles.add(this.grip, this.former);
    this.stage.add(this.pictures, this.marks, this.handles);
    this.size = [1, 1];
    this.fitted = true;
    this.held = null;
    this.space = false;
    this.compositor = null;
    this.divided = null;
    this.also = [];
    this.listen();
    this.theme();
  }

  theme() {
    const style = getComputedStyle(document.documentElement);
    const tile = document.createElement("canvas");
    tile.width = tile.height = 16;
    const context = tile.getContext("2d");
    context.fillStyle = style.getPropertyValue("--check-a");
    context.fillRect(0, 0, 16, 16);
    context.fillStyle = style.getPropertyValue("--check-b");
    context.fillRect(8, 0, 8, 8);
    context.fillRect(0, 8, 8, 8);
    this.checks.fillPatternImage(tile);
    this.chosen.stroke(style.getPropertyValue("--accent").trim());
    this.former.setAttrs({ anchorStroke: style.getPropertyValue("--accent").trim(), anchorFill: style.getPropertyValue("--card").trim() });
    this.draw();
  }

  listen() {
    this.ends = new AbortController();
    const heard = { signal: this.ends.signal };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.theme(), heard);
    this.watch = new ResizeObserver(() => {
      this.stage.size({ width: this.box.clientWidth || 1, height: this.box.clientHeight || 1 });
      if (this.fitted) this.fit();
    });
    this.watch.observe(this.box);
    this.box.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(event.deltaY < 0 ? 1.25 : 0.8, this.pointer(event));
    }, { ...heard, passive: false });
    this.box.addEventListener("pointerdown", (event) => this.press(event), heard);
    this.box.addEventListener("pointermove", (event) => this.drag(event), heard);
    for (const kind of ["pointerup", "pointercancel"]) this.box.addEventListener(kind, () => this.release(), heard);
    this.box.addEventListener("pointerleave", () => this.hover(null), heard);
    const space = (down) => (event) => {
      if (event.code !== "Space" || event.target.closest?.("button, input, select, textarea, a")) return;
      this.space = down;
      if (down) event.preventDefault();
    };
    addEventListener("keydown", space(true), heard);
    addEventListener("keyup", space(false), heard);
  }

  close() {
    this.ends.abort();
    this.watch.disconnect();
    this.stage.destroy();
  }

  pointer(event) {
    const edge = this.box.getBoundingClientRect();
    return { x: event.clientX - edge.left, y: event.clientY - edge.top };
  }

  pixel(event) {
    const at = this.pointer(event);
    return [Math.floor((at.x - this.stage.x()) / this.stage.scaleX()), Math.floor((at.y - this.stage.y()) / this.stage.scaleX())];
  }

  press(event) {
    if (this.former.isTransforming() || this.stage.getIntersection(this.pointer(event))) return; // a handle
    this.box.setPointerCapture(event.pointerId);
    const [x, y] = this.pixel(event);
    if (this.divided && event.button === 0 && !this.space) {
      this.held = { divides: true };
      this.drag(event);
      return;
    }
    const pan = event.button === 1 || this.space || !this.compositor;
    const found = pan ? null : this.compositor.at(x, y);
    const layer = found && !this.fixed(found) ? found : null;
    if (!pan) this.on.select(layer?.id ?? null, event.shiftKey);
    this.held = { x, y, at: this.pointer(event), from: this.stage.position(), layer, dx: 0, dy: 0 };
  }

  fixed(layer) {
    return layer.left <= 0 && layer.top <= 0 && layer.width >= this.size[0] && layer.height >= this.size[1] && layer.back;
  }

  drag(event) {
    if (!this.held) {
      const found = this.compositor?.at(...this.pixel(event));
      this.hover(found && !this.fixed(found) ? found : null);
      return;
    }
    const { held } = this;
    if (held.divides) {
      this.on.divided(Math.min(1, Math.max(0, (this.pointer(event).x - this.stage.x()) / this.stage.scaleX() / this.size[0])));
      return;
    }
    if (!held.layer) {
      const at = this.pointer(event);
      this.fitted = false;
      this.stage.position({ x: Math.round(held.from.x + at.x - held.at.x), y: Math.round(held.from.y + at.y - held.at.y) });
      this.draw();
      return;
    }
    const [x, y] = this.pixel(event);
    const dx = x - held.x - held.dx, dy = y - held.y - held.dy;
    if (!dx && !dy) return;
    held.dx += dx;
    held.dy += dy;
    this.on.moving(held.layer.id, dx, dy);
  }

  release() {
    const { held } = this;
    this.held = null;
    if (held?.layer && (held.dx || held.dy)) this.on.moved(held.layer.id);
  }

  hover(layer) {
    const same = this.hovered.visible() === Boolean(layer) && (!layer || (this.hovered.x() === layer.left && this.hovered.y() === layer.top));
    this.box.classList.toggle("on-layer", Boolean(layer));
    if (same) return;
    this.frame(this.hovered, layer);
    this.marks.batchDraw();
  }

  frame(mark, layer) {
    mark.visible(Boolean(layer));
    if (layer) mark.setAttrs({ x: layer.left, y: layer.top, width: layer.width, height: layer.height });
  }

  show(picture, width, height, compositor = null) {
    this.compositor = compositor;
    this.image.setAttrs({ image: picture, width, height });
    this.checks.setAttrs({ width, height });
    if (this.size[0] !== width || this.size[1] !== height) {
      this.size = [width, height];
      this.fit();
    }
    this.draw();
  }

  // Frames the layers that are selected; a single one that may be has handles.
  select(layer, others = []) {
    this.frame(this.chosen, layer);
    this.frame(this.under, layer);
    others.forEach((each, at) => {
      this.also[at] ??= this.chosen.clone({ dash: [4, 3] });
      if (!this.also[at].getLayer()) this.marks.add(this.also[at]);
      this.frame(this.also[at], each);
    });
    this.also.slice(others.length).forEach((mark) => mark.visible(false));
    const held = Boolean(layer) && !layer.back && !others.length && layer.width > 0;
    this.grip.visible(held);
    this.former.visible(held);
    if (held) {
      this.grip.setAttrs({ x: layer.left, y: layer.top, width: layer.width, height: layer.height, scaleX: 1, scaleY: 1, rotation: 0 });
      Object.assign(this.grip, { x0: layer.left, y0: layer.top });
      this.former.nodes([this.grip]);
    }
    this.handles.batchDraw();
    this.marks.batchDraw();
  }

  // What was done with the handles: factors across and down, degrees, and how far the middle has moved.
  formed() {
    const { grip } = this;
    const [wide, high] = [grip.width(), grip.height()];
    const middle = grip.getTransform().point({ x: wide / 2, y: high / 2 });
    const moved = [middle.x - grip.x0 - wide / 2, middle.y - grip.y0 - high / 2];
    this.on.formed({ across: grip.scaleX(), down: grip.scaleY(), degrees: grip.rotation(), dx: moved[0], dy: moved[1] });
  }

  // The frames before and after, faintly over the image; null: not.
  onion(pictures) {
    this.skins.forEach((skin, at) => {
      const picture = pictures?.[at];
      skin.setAttrs({ visible: Boolean(picture), image: picture ?? undefined, width: this.size[0], height: this.size[1] });
    });
    this.pictures.batchDraw();
  }

  // Another picture of the image over a share of its width, from the left; null: none.
  divide(picture, share) {
    this.divided = picture && { picture, share };
    this.earlier.visible(Boolean(picture));
    this.divider.visible(Boolean(picture));
    this.box.classList.toggle("divided", Boolean(picture));
    this.draw();
  }

  placeDivider() {
    const { picture, share } = this.divided;
    const [width, height] = this.size;
    const at = Math.max(1, Math.round(share * width));
    this.earlier.setAttrs({ image: picture, width: at, height, crop: { x: 0, y: 0, width: (picture.naturalWidth * at) / width, height: picture.naturalHeight } });
    this.divider.setAttrs({ x: at - 1 / this.stage.scaleX(), y: 0, width: 2 / this.stage.scaleX(), height });
  }

  draw() {
    this.compositor?.paint();
    if (this.divided) this.placeDivider();
    this.checks.fillPatternScale({ x: 0.875 / this.stage.scaleX(), y: 0.875 / this.stage.scaleX() });
    this.stage.batchDraw();
  }

  fit() {
    const room = Math.min((this.stage.width() - 32) / this.size[0], (this.stage.height() - 32) / this.size[1]);
    const scale = room >= 2 ? Math.floor(room) : Math.max(0.02, room);
    this.stage.scale({ x: scale, y: scale });
    this.stage.position({
      x: Math.round((this.stage.width() - this.size[0] * scale) / 2), y: Math.round((this.stage.height() - this.size[1] * scale) / 2),
    });
    this.fitted = true;
    this.on.zoomed(scale);
    this.draw();
  }

  zoom(factor, at = { x: this.stage.width() / 2, y: this.stage.height() / 2 }) {
    const before = this.stage.scaleX();
    let scale = Math.min(64, Math.max(0.05, before * factor));
    if (scale > 1 && factor > 1) scale = Math.max(Math.round(scale), Math.floor(before) + 1);
    if (scale > 1 && factor < 1) scale = Math.max(1, Math.min(Math.round(scale), Math.ceil(before) - 1));
    scale = Math.min(64, scale);
    this.fitted = false;
    this.stage.scale({ x: scale, y: scale });
    this.stage.position({
      x: Math.round(at.x - ((at.x - this.stage.x()) / before) * scale), y: Math.round(at.y - ((at.y - this.stage.y()) / before) * scale),
    });
    this.on.zoomed(scale);
    this.draw();
  }
}
