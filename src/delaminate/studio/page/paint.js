// Paint: a sprite, or the picture of one layer, pixel by pixel. One stroke is one step of undo; every image follows.
import { api, attempt, edit, go, html, Picture, plural, say, store, Tool, useEffect, useKeys, useRef, useState } from "/lib.js";
import { useSprites } from "/image.js";
import { useOrder } from "/sprites.js";
import { encode, fetchPixels } from "/png.js";

const TOOLS = [["pencil", "Pencil", "p"], ["eraser", "Eraser", "r"], ["picker", "Pick a colour", "c"], ["fill", "Fill", "f"], ["lasso", "Split off with a lasso", "l"]];
const hex = (pixel) => `#${[...pixel].slice(0, 3).map((part) => part.toString(16).padStart(2, "0")).join("")}`;

export function PaintScreen({ project, place }) {
  const [target, layer] = place;
  const sprites = useSprites(project);
  const sprite = layer ? null : sprites?.find((each) => each.id === target);
  const [pixels, keep] = useState(null);
  const [tool, setTool] = useState("pencil");
  const [colour, setColour] = useState("#202020");
  const [alpha, setAlpha] = useState(255);
  const [width, setWidth] = useState(1);
  const [scale, setScale] = useState(0);
  const [cursor, setCursor] = useState(null);
  const [palette, setPalette] = useState([]);
  const box = useRef(), room = useRef(), here = useRef({ stroke: null, queue: Promise.resolve(), busy: 0 }).current;
  const source = layer ? `projects/${project.id}/scenes/${target}/layers/${encodeURIComponent(layer)}.png?raster=true` : `projects/${project.id}/sprites/${target}.png`;

  const draw = () => {
    if (!here.pixels || !box.current) return;
    box.current.getContext("2d").putImageData(new ImageData(here.pixels.data, here.pixels.width, here.pixels.height), 0, 0);
  };
  const [lasso, throwLasso] = useState(null); // corners, in pixels of the drawing
  const load = async () => {
    const found = await attempt(() => fetchPixels(source));
    if (!found || here.stroke || here.busy) return;
    here.pixels = found;
    keep(found);
    setPalette(colours(found));
  };
  useEffect(() => { load(); }, [source, store.change.number]);
  useEffect(draw, [pixels, scale]);
  useEffect(() => {
    if (!pixels || scale) return;
    setScale(Math.max(1, Math.min(32, Math.floor(Math.min((room.current.clientWidth - 48) / pixels.width, (room.current.clientHeight - 48) / pixels.height)))));
  }, [pixels]);

  const inside = (x, y) => x >= 0 && y >= 0 && x < here.pixels.width && y < here.pixels.height;
  const wanted = (used) => (used === "eraser" ? [0, 0, 0, 0] : [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)).concat(alpha));
  const put = (x, y, value) => {
    const { data, width: wide } = here.pixels;
    const before = Math.floor((width - 1) / 2);
    for (let row = y - before; row < y - before + width; row += 1) {
      for (let column = x - before; column < x - before + width; column += 1) {
        if (inside(column, row)) data.set(value, (row * wide + column) * 4);
      }
    }
  };
  const line = (from, to, value) => {
    const steps = Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]), 1);
    for (let step = 0; step <= steps; step += 1) put(Math.round(from[0] + ((to[0] - from[0]) * step) / steps), Math.round(from[1] + ((to[1] - from[1]) * step) / steps), value);
  };
  const fill = (x, y, value) => {
    const { data, width: wide, height } = here.pixels;
    const words = new Uint32Array(data.buffer);
    const old = words[y * wide + x];
    const now = new Uint32Array(new Uint8Array(value).buffer)[0];
    if (old === now) return;
    const open = [y * wide + x];
    while (open.length) {
      const at = open.pop();
      if (words[at] !== old) continue;
      words[at] = now;
      if (at % wide > 0) open.push(at - 1);
      if (at % wide < wide - 1) open.push(at + 1);
      if (at >= wide) open.push(at - wide);
      if (at < (height - 1) * wide) open.push(at + wide);
    }
  };
  const pick = (x, y) => {
    const found = here.pixels.data.subarray((y * here.pixels.width + x) * 4, (y * here.pixels.width + x) * 4 + 4);
    if (!found[3]) { setTool("eraser"); return; }
    setColour(hex(found));
    setAlpha(found[3]);
    if (tool === "picker") setTool("pencil");
  };
  const begin = (x, y, picks) => {
    if (!here.pixels || !inside(x, y) || tool === "lasso") return;
    if (tool === "picker" || picks) { pick(x, y); return; }
    here.before = here.pixels.data.slice();
    here.stroke = [x, y];
    if (tool === "fill") fill(x, y, wanted(tool));
    else put(x, y, wanted(tool));
    draw();
  };
  const end = () => {
    if (lasso) split();
    if (!here.stroke) return;
    here.stroke = null;
    if (here.before.every((value, at) => value === here.pixels.data[at])) return;
    const sent = { ...here.pixels, data: here.pixels.data.slice() };
    setPalette(colours(sent));
    here.busy += 1;
    here.queue = here.queue.then(async () => {
      const given = await attempt(async () => api(`projects/${project.id}/pictures`, await encode(sent)));
      const done = given && await edit(layer ? { operation: "repaint", scene: target, layer, picture: given.picture } : { operation: "repaint-sprite", sprite: target, picture: given.picture });
      here.busy -= 1;
      if (!done && !here.busy) load();
    });
  };
  const pixelOf = (event) => {
    const edge = box.current.getBoundingClientRect();
    return [Math.floor((event.clientX - edge.left) / scale), Math.floor((event.clientY - edge.top) / scale)];
  };
  const exactly = (event) => {
    const edge = box.current.getBoundingClientRect();
    return [(event.clientX - edge.left) / scale, (event.clientY - edge.top) / scale];
  };
  // What lies within the lasso becomes a sprite of its own; in no image anything moves.
  const split = async () => {
    const corners = lasso;
    throwLasso(null);
    if (!corners || corners.length < 3) return;
    const { data, width: wide, height: high } = here.pixels;
    const mask = { width: wide, height: high, data: new Uint8ClampedArray(wide * high * 4) };
    const within = (x, y) => {
      let odd = false;
      corners.forEach(([ax, ay], at) => {
        const [bx, by] = corners[(at + 1) % corners.length];
        if ((ay > y) !== (by > y) && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
      });
      return odd;
    };
    let [some, left] = [0, 0];
    for (let at = 0; at < wide * high; at += 1) {
      const chosen = within((at % wide) + 0.5, Math.floor(at / wide) + 0.5);
      if (chosen) mask.data.fill(255, at * 4, at * 4 + 4);
      if (data[at * 4 + 3]) { if (chosen) some += 1; else left += 1; }
    }
    if (!some || !left) {
      say("Draw the lasso round some of the sprite, not all of it.", true);
      return;
    }
    const given = await attempt(async () => api(`projects/${project.id}/pictures`, await encode(mask)));
    if (given && await edit({ operation: "split-sprite", sprite: target, picture: given.picture })) {
      say(`A part of ${plural(some, "pixel")} is a sprite of its own now; Ctrl Z joins them.`);
      go("p", project.id, "sprites", target);
    }
  };
  const press = (event) => {
    if (event.button > 0 && event.button !== 2) return;
    event.preventDefault();
    box.current.setPointerCapture(event.pointerId);
    if (tool === "lasso") throwLasso([exactly(event)]);
    begin(...pixelOf(event), event.altKey || event.button === 2);
  };
  const drag = (event) => {
    if (lasso) throwLasso([...lasso, exactly(event)]);
    const now = pixelOf(event);
    setCursor(inside(...(here.pixels ? now : [-1, -1])) ? now : null);
    if (!here.stroke || tool === "fill") return;
    line(here.stroke, now, wanted(tool));
    here.stroke = now;
    draw();
  };
  const step = (dx, dy) => {
    if (!here.pixels) return;
    const [x, y] = cursor ?? [here.pixels.width >> 1, here.pixels.height >> 1];
    setCursor([Math.max(0, Math.min(here.pixels.width - 1, x + dx)), Math.max(0, Math.min(here.pixels.height - 1, y + dy))]);
  };
  const back = () => (layer ? go("p", project.id, "image", target) : go("p", project.id, "sprites", target));
  const dot = (event) => {
    if (!cursor || event.target.closest?.("button, a, input")) return false;
    begin(...cursor);
    end();
    return true;
  };
  useKeys({
    ...Object.fromEntries(TOOLS.map(([name, , key]) => [key, () => (name === "lasso" && (!sprite || sprite.background) ? false : setTool(name))])),
    ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0), ArrowUp: () => step(0, -1), ArrowDown: () => step(0, 1), Enter: dot, " ": dot,
    "+": () => setScale(Math.min(64, scale + 1)), "=": () => setScale(Math.min(64, scale + 1)), "-": () => setScale(Math.max(1, scale - 1)), Escape: back,
  }, [tool, colour, alpha, width, scale, cursor, pixels, sprite]);
  const tools = TOOLS.filter(([key]) => key !== "lasso" || (sprite && !sprite.background));
  const size = pixels && { width: `${pixels.width * scale}px`, height: `${pixels.height * scale}px` };
  const name = layer ? "This layer" : sprite?.title ?? target;
  return html`<main class="workbench paint-screen"><h1 class="unseen">Paint ${name}</h1>
    <section class="stage" aria-label="Drawing">
      <div class="bar"><div class="segments" role="group" aria-label="Tool">${tools.map(([key, label, letter]) => html`<${Tool} icon=${key} label=${`${label} (${letter})`} pressed=${tool === key} onClick=${() => setTool(key)} />`)}</div>
        <label class="inline">Colour <input type="color" value=${colour} onInput=${(event) => { setColour(event.target.value); if (tool === "eraser") setTool("pencil"); }} /></label>
        <label class="inline">Opacity <input type="range" min="1" max="255" value=${alpha} onInput=${(event) => setAlpha(Number(event.target.value))} /></label>
        <label class="inline">Size <input class="number" type="number" min="1" max="64" value=${width} onInput=${(event) => setWidth(Math.max(1, Math.min(64, Number(event.target.value) || 1)))} /></label>
        <span class="push"></span>
        <${Tool} icon="minus" label="Zoom out (-)" onClick=${() => setScale(Math.max(1, scale - 1))} /><output class="zoom" aria-label="Zoom">${scale}×</output>
        <${Tool} icon="plus" label="Zoom in (+)" onClick=${() => setScale(Math.min(64, scale + 1))} />
        <button type="button" class="button" onClick=${back}>Done</button></div>
      <div class="paint-room" ref=${room}>${pixels && html`<div class="paint-sheet check" style=${size}>
        <canvas class="pixel" data-ready="1" ref=${box} width=${pixels.width} height=${pixels.height} style=${size} role="img" aria-label=${`${name}, ${pixels.width} by ${pixels.height} pixels. Arrow keys move the cursor, Enter paints.`} tabindex="0"
          onPointerDown=${press} onPointerMove=${drag} onPointerUp=${end} onPointerCancel=${end} onPointerLeave=${() => !here.stroke && setCursor(null)} onContextMenu=${(event) => event.preventDefault()}></canvas>
        ${scale >= 8 && html`<span class="paint-grid" style=${{ backgroundSize: `${scale}px ${scale}px` }}></span>`}
        ${lasso && html`<svg class="paint-lasso" viewBox=${`0 0 ${pixels.width} ${pixels.height}`} aria-hidden="true"><polygon points=${lasso.map((each) => each.join()).join(" ")} /></svg>`}
        ${cursor && html`<span class="paint-cursor" style=${{ left: `${cursor[0] * scale}px`, top: `${cursor[1] * scale}px`, width: `${scale}px`, height: `${scale}px` }}></span>`}</div>`}</div>
      <p class="caption">${cursor ? `${cursor[0]}, ${cursor[1]}` : html`<b>${name}</b>. Each stroke is one step; Ctrl Z takes it back. Right click picks a colour.`}</p>
    </section>
    <aside class="side" aria-label="Colours and images">
      <section class="panel"><h2 class="small">Its colours</h2><ul class="palette">${palette.map((each) => html`<li key=${each.join()}><${Swatch} each=${each} chosen=${hex(each) === colour && each[3] === alpha}
        take=${() => { setColour(hex(each)); setAlpha(each[3]); if (tool === "eraser" || tool === "picker") setTool("pencil"); }} /></li>`)}</ul>
        ${sprite && palette.some((each) => hex(each) === colour) && html`<${Recolour} project=${project} sprite=${sprite} sprites=${sprites} colour=${colour} became=${setColour} />`}</section>
      <${Following} project=${project} sprite=${layer ? null : target} scene=${layer ? target : null} sprites=${sprite} />
    </aside></main>`;
}

// One colour of the palette becomes another: here, in all poses of the thing, or wherever it is.
function Recolour({ project, sprite, sprites, colour, became }) {
  const order = useOrder(project, true); // strokes make no other poses
  const [to, setTo] = useState(colour);
  const [wide, setWide] = useState("poses");
  useEffect(() => setTo(colour), [colour]);
  const poses = order?.characters.find((some) => some.includes(sprite.id));
  const choices = [["one", "This sprite", [sprite.id]], ...(poses ? [["poses", `Its ${poses.length} poses`, poses]] : []),
    ["all", "Every sprite", sprites.filter((each) => !each.background).map((each) => each.id)]];
  const [, name, chosen] = choices.find(([key]) => key === wide) ?? choices[0];
  const replace = async () => {
    if (!(await edit({ operation: "recolour-sprites", sprites: chosen, colour, to }))) return;
    became(to);
    say(`${colour} is ${to} now: ${name.toLowerCase()}. Ctrl Z takes it back.`);
  };
  return html`<div class="recolour"><label class="field">Replace ${colour} by <input type="color" value=${to} onInput=${(event) => setTo(event.target.value)} /></label>
    <div class="row"><select aria-label="Where the colour is replaced" value=${choices.some(([key]) => key === wide) ? wide : "one"} onChange=${(event) => setWide(event.target.value)}>${choices.map(([key, label]) => html`<option value=${key}>${label}</option>`)}</select>
    <button type="button" class="button" disabled=${to === colour} onClick=${replace}>Replace</button></div></div>`;
}

function Swatch({ each, chosen, take }) {
  return html`<button type="button" class="swatch" aria-pressed=${chosen} aria-label=${`Colour ${hex(each)}${each[3] < 255 ? `, ${Math.round(each[3] / 2.55)} % opaque` : ""}`} title=${hex(each)}
    style=${{ backgroundColor: hex(each), opacity: Math.max(0.25, each[3] / 255) }} onClick=${take}></button>`;
}

// The most frequent colours.
function colours({ data }) {
  const counts = new Map();
  const words = new Uint32Array(data.buffer, data.byteOffset, data.length / 4);
  for (const word of words) if (word >>> 24) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).slice(0, 28).map(([word]) => [word & 255, (word >>> 8) & 255, (word >>> 16) & 255, word >>> 24]);
}

function Following({ project, sprite, scene }) {
  const [found, keep] = useState(scene ? { total: 1, occurrences: [{ scene }] } : null);
  useEffect(() => {
    if (sprite) attempt(() => api(`projects/${project.id}/sprites/${sprite}/occurrences?limit=6`)).then((value) => value && keep(value));
  }, [sprite]);
  return html`<section class="panel"><h2 class="small">${found ? `Follows in ${plural(found.total, "image")}` : "Images that follow"}</h2>
    <ul class="following">${(found?.occurrences ?? []).map((each) => html`<li key=${each.scene}><a href=${`#/p/${project.id}/image/${each.scene}`} aria-label="Open this image">
      <${Picture} src=${`/api/projects/${project.id}/scenes/${each.scene}/composite.png?side=256&v=${store.project.revision}`} checks=${false} /></a></li>`)}</ul></section>`;
}
