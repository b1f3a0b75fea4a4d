// The image: its layers on a canvas, beside it all images, the layers, and sprites to add or to swap in.
import { affects, api, attempt, edit, go, html, Icon, Long, NameField, plural, Picture, say, set, store, Tool, useEffect, useKeys, useMemo, usePages, useRef, useState, useStore } from "/lib.js";
import { Canvas } from "/canvas.js";
import { Compositor, cut, pictureOf } from "/compositor.js";
import { frameSource, stage, Timeline, useTracks } from "/timeline.js";
import { fetchPixels } from "/png.js";

const VIEWS = [
  ["layers", "Layers", "The image as it is now, composited from its layers"],
  ["original", "Original", "The image that was given"],
  ["reconstruction", "As found", "The layers as they were found, before any edit"],
  ["segmentation", "Segmentation", "Which layer is seen where"],
  ["residual", "Unexplained", "What the layers did not explain; bright is much"],
  ["divided", "Before/after", "The image that was given at the left, its layers as they are now at the right"],
];
const ROW = 44;

async function loadScene(project, id) {
  const place = `projects/${project}/scenes/${id}`;
  for (let trial = 0; ; trial += 1) {
    const [scene, atlas, pixels] = await Promise.all([api(place), api(`${place}/atlas`), fetchPixels(`${place}/atlas.png`)]);
    if ((scene.version !== atlas.version || pixels.width !== atlas.width || pixels.height !== atlas.height) && trial < 4) continue;
    const boxes = new Map(atlas.boxes.map((box) => [box.layer, cut(pixels, box)]));
    const layers = scene.layers.map((layer, index) => ({
      ...(boxes.get(layer.id) ?? { left: 0, top: 0, width: 0, height: 0, data: new Uint8ClampedArray() }),
      ...layer, back: index === 0 && scene.background,
    }));
    return { ...scene, layers };
  }
}

export function ImageScreen({ project, scene: asked }) {
  useStore();
  // The image that is open is the first to show a change; the small ones follow it, or the change itself where none is open.
  const [shown, show] = useState(store.change.number);
  const images = usePages(`projects/${project.id}/scenes`, shown, "scenes");
  const id = asked ?? images.items[0]?.id;
  useEffect(() => { if (!id) show(store.change.number); }, [id, store.change.number]);
  const index = images.items.findIndex((row) => row?.id === id);
  const choose = (step) => {
    const next = images.items[index + step];
    if (next) go("p", project.id, "image", next.id);
    return Boolean(next);
  };
  useKeys({ PageDown: () => choose(1), PageUp: () => choose(-1) }, [index, images.items]);
  const tracks = useTracks(project);
  const isClip = tracks && images.total > 1 && (tracks.is_clip || tracks.tracks.some((each) => each.frames.length > 1));
  return html`<main class="workbench">
    <${Strip} project=${project} images=${images} index=${index} />
    ${id ? html`<${Bench} key=${id} project=${project} id=${id} tracks=${isClip ? tracks : null} shown=${(number) => show((old) => Math.max(old, number))} beside=${[images.items[index - 1], images.items[index + 1]]} />`
      : html`<section class="stage-empty">${images.of && images.total === 0 ? "There are no images here." : ""}</section>`}
    ${isClip && index >= 0 && html`<${Timeline} project=${project} images=${images} index=${index} tracks=${tracks} />`}
  </main>`;
}

function Strip({ project, images, index }) {
  const narrow = useNarrow();
  const [asking, ask] = useState(false);
  const row = (at) => {
    const each = images.items[at];
    return html`<li key=${at}>${each && html`<a class="thumb" aria-current=${at === index ? "true" : undefined} href=${`#/p/${project.id}/image/${each.id}`}>
      <${Picture} src=${`/api/projects/${project.id}/scenes/${each.id}/composite.png?side=192&v=${each.version}`} checks=${false} />
      <span class="name">${each.title}</span></a>`}</li>`;
  };
  return html`<nav class="strip" aria-label="Images">
    <header><h1 class="small">${images.of ? plural(images.total, "image") : "Images"}</h1>
      ${!narrow && images.items[index] && html`<${Tool} icon="plus" label="New image of these sprites" onClick=${() => ask(true)} />`}</header>
    ${asking && html`<${NewImage} project=${project} like=${images.items[index]} taken=${images.items} close=${() => ask(false)} />`}
    <${Long} count=${images.total} height=${120} columns=${narrow ? 3 : 1} item=${row} label="Images" shown=${index} onRange=${images.onRange} />
  </nav>`;
}

// An empty canvas, or one with the background of the image that is shown: sprites are added to it.
function NewImage({ project, like, taken, close }) {
  const box = useRef();
  const free = () => {
    const names = new Set(taken.map((each) => each?.name));
    let number = 1;
    while (names.has(`new-${number}`)) number += 1;
    return `new-${number}`;
  };
  const [name, setName] = useState(free);
  const [background, setBackground] = useState(true);
  useEffect(() => box.current.showModal(), []);
  const make = (event) => attempt(async () => {
    event.preventDefault();
    const made = await api(`projects/${project.id}/scenes`, { name: name.trim(), like: like.id, background });
    set({ commands: [...store.commands, made.command].slice(-200) });
    close();
    go("p", project.id, "image", made.id);
  });
  return html`<dialog ref=${box} class="ask" aria-label="New image" onClose=${close}>
    <form onSubmit=${make}><h2>New image</h2>
      <p class="soft">As large as ${like.title}. Add sprites from the dictionary to it.</p>
      <label class="field">Name <input value=${name} required maxlength="255" onInput=${(event) => setName(event.target.value)} /></label>
      <label class="check-field"><input type="checkbox" checked=${background} onChange=${(event) => setBackground(event.target.checked)} /> With its background</label>
      <div class="row"><button class="button primary" disabled=${!name.trim()}>Make it</button><button type="button" class="button" onClick=${() => box.current.close()}>Cancel</button></div>
    </form></dialog>`;
}

function Bench({ project, id, tracks, beside, shown }) {
  const box = useRef(), canvas = useRef(), bench = useRef({ ghosts: new Map(), timer: 0, loading: 0, sent: new Set() });
  const [scene, keep] = useState(null);
  const [chosen, setChosen] = useState(null);
  const [also, setAlso] = useState(() => new Set()); // what is selected besides
  const [solo, setSolo] = useState(null);
  const [view, setView] = useState("layers");
  const [scale, setScale] = useState(1);
  const [missing, miss] = useState(null);
  const [share, divide] = useState(0.5); // of the width, which shows the image that was given
  const [earlier, setEarlier] = useState(null);
  const here = bench.current;
  Object.assign(here, { scene, chosen, also, solo });
  // A thing of a clip stays selected from frame to frame.
  const choose = (layer, adds = false) => {
    if (adds && layer && here.chosen && layer !== here.chosen) {
      setAlso((old) => { const next = new Set(old); if (!next.delete(layer)) next.add(layer); return next; });
      return;
    }
    if (adds && layer === here.chosen) return;
    if (!here.also.has(layer) || !here.pressing) setAlso(new Set());
    setChosen(layer);
    store.track = here.scene?.layers.find((each) => each.id === layer)?.track ?? null;
  };

  const redraw = () => {
    if (here.frame) return;
    here.frame = requestAnimationFrame(() => {
      here.frame = 0;
      if (!here.compositor || here.view !== "layers") return;
      const find = (wanted) => here.compositor.layers.find((each) => each.id === wanted);
      canvas.current.select(find(here.chosen) ?? null, [...here.also].map(find).filter(Boolean));
      canvas.current.draw();
    });
  };

  // Where a layer is: in this image, or, where edits are of whole tracks, in every frame in which its thing is seen.
  const placesOf = (layer) => {
    const number = here.scene?.layers.find((each) => each.id === layer)?.track ?? null;
    const track = store.whole && number !== null && here.tracks?.tracks.find((each) => each.track === number);
    return track ? track.frames.map((frame, at) => ({ scene: here.tracks.scenes[frame], layer: track.layers[at] })) : [{ scene: id, layer }];
  };
  // What is done to a selected layer is done to all that are selected.
  const together = (layer) => (layer === here.chosen || here.also.has(layer) ? [here.chosen, ...here.also] : [layer]);
  const meant = (layer) => together(layer).flatMap(placesOf);
  here.tracks = tracks;

  // Moves are shown at once, gathered for a moment, and sent as one step.
  const moving = (layer, dx, dy) => {
    for (const each of together(layer)) {
      const found = here.compositor?.layers.find((one) => one.id === each);
      if (!found || found.back) continue;
      const ghost = here.ghosts.get(each) ?? [0, 0];
      here.ghosts.set(each, [ghost[0] + dx, ghost[1] + dy]);
      here.compositor.move(found, dx, dy);
    }
    redraw();
  };
  const flush = async () => {
    clearTimeout(here.timer);
    const going = [...here.ghosts].filter(([, [dx, dy]]) => dx || dy);
    if (!going.length) return;
    const sent = new Map(going);
    here.sent.add(sent);
    here.ghosts.clear();
    await edit(...going.flatMap(([layer, [dx, dy]]) => placesOf(layer).map((place) => ({ operation: "move", ...place, dx, dy }))));
    here.sent.delete(sent);
    await load();
  };
  const nudge = (dx, dy) => {
    if (!here.chosen) return false;
    moving(here.chosen, dx, dy);
    clearTimeout(here.timer);
    here.timer = setTimeout(flush, 250);
    return true;
  };

  const load = async () => {
    const mine = (here.loading += 1);
    const found = await attempt(() => loadScene(project.id, id));
    if (!found || mine !== here.loading || here.closed || here.sent.size) return;
    if (!here.compositor || here.compositor.width !== found.width || here.compositor.height !== found.height) {
      here.compositor = new Compositor(found.width, found.height);
    }
    const made = here.known && found.layers.find((layer) => !here.known.has(layer.id));
    if (made) { // what was just added or copied is selected
      here.known = null;
      choose(made.id);
    } else if (here.chosen && !found.layers.some((layer) => layer.id === here.chosen)) choose(null);
    else if (!here.chosen && store.track !== null) setChosen(found.layers.find((layer) => layer.track === store.track)?.id ?? null);
    keep(found);
  };

  useEffect(() => {
    canvas.current = new Canvas(box.current, {
      select: (layer, adds) => { here.pressing = true; choose(layer, adds); here.pressing = false; }, moving, moved: () => flush(), zoomed: setScale, formed: (done) => here.form(done), divided: divide,
    });
    stage.show = (picture) => {
      setEarlier(null);
      canvas.current.select(null);
      canvas.current.onion(null);
      canvas.current.show(picture, here.scene?.width ?? picture.naturalWidth, here.scene?.height ?? picture.naturalHeight);
    };
    stage.back = () => here.back?.();
    here.first = store.change.number;
    load();
    return () => {
      stage.show = stage.back = null;
      flush();
      here.closed = true;
      cancelAnimationFrame(here.frame);
      canvas.current.close();
    };
  }, []);
  useEffect(() => {
    const { number } = store.change;
    (number !== here.first && affects(store.change, id) ? load() : Promise.resolve()).finally(() => shown(number));
  }, [store.change.number]);

  here.back = () => {
    if (here.closed || !here.compositor || here.view !== "layers" || !here.scene) return;
    canvas.current.show(here.compositor.canvas, here.scene.width, here.scene.height, here.compositor);
    canvas.current.onion(here.skins);
    redraw();
  };
  useEffect(() => {
    here.view = view;
    if (!scene) return undefined;
    miss(null);
    if (view !== "divided") setEarlier(null);
    let mine = true;
    const fetch = (name, found, not) => {
      const picture = new Image();
      picture.onload = () => mine && found(picture);
      picture.onerror = () => mine && not();
      picture.src = `/api/projects/${project.id}/scenes/${id}/${name}.png?side=${Math.max(scene.width, scene.height)}&v=${scene.version}`;
    };
    if (view === "layers" || view === "divided") {
      const moved = (layer, axis) => [here.ghosts, ...here.sent].reduce((sum, each) => sum + (each.get(layer.id)?.[axis] ?? 0), 0);
      here.compositor.use(scene.layers.map((layer) => ({
        ...layer, left: layer.left + moved(layer, 0), top: layer.top + moved(layer, 1), visible: solo ? solo.has(layer.id) : layer.visible,
      })));
      here.compositor.paint();
      canvas.current.show(here.compositor.canvas, scene.width, scene.height, view === "layers" ? here.compositor : null);
      if (view === "layers") redraw();
      else {
        canvas.current.select(null);
        fetch("original", setEarlier, () => fetch("reconstruction", (picture) => { miss("original"); setEarlier(picture); }, () => miss("original")));
      }
    } else {
      fetch(view, (picture) => {
        canvas.current.select(null);
        canvas.current.show(picture, scene.width, scene.height);
      }, () => miss(view));
    }
    return () => { mine = false; };
  }, [scene, solo, view]);
  useEffect(() => canvas.current.divide(earlier, share), [earlier, share]);
  useEffect(redraw, [chosen, also]);
  useEffect(() => { // a track that was chosen in the timeline
    const found = store.track !== null && scene?.layers.find((each) => each.track === store.track);
    if (found && found.id !== here.chosen) { setAlso(new Set()); setChosen(found.id); }
  }, [store.track]);
  const [before, after] = beside ?? [];
  useEffect(() => {
    let mine = true;
    here.skins = null;
    if (!store.onion || !scene || view !== "layers" || !tracks) { canvas.current.onion(null); return undefined; }
    const fetch = (row) => new Promise((done) => {
      if (!row) { done(null); return; }
      const picture = new Image();
      picture.onload = () => done(picture);
      picture.onerror = () => done(null);
      picture.src = frameSource(project, row, Math.max(scene.width, scene.height));
    });
    Promise.all([fetch(before), fetch(after)]).then((pictures) => {
      if (!mine || here.closed) return;
      here.skins = pictures;
      canvas.current.onion(pictures);
    });
    return () => { mine = false; };
  }, [scene, view, store.onion, before?.version, after?.version, Boolean(tracks)]);

  const layer = scene?.layers.find((each) => each.id === chosen) ?? null;
  // Does the same to all that is meant, as one step. What is about one place in a stack is about one layer.
  const act = async (operation, more = {}) => {
    await flush();
    const backs = new Set(scene.layers.filter((each) => each.back).map((each) => each.id));
    const places = meant(layer.id).filter((place) => operation !== "remove" || place.scene !== id || !backs.has(place.layer));
    return edit(...places.map((place) => ({ operation, ...place, ...more })));
  };
  here.form = async ({ across, down, degrees, dx, dy }) => {
    await flush();
    const near = (one, other) => Math.abs(one - other) < 1e-3;
    const whole = (number) => Math.round(number * 1000) / 1000;
    const operations = meant(here.chosen).flatMap((place) => [
      ...(near(across, 1) && near(down, 1) ? [] : [{ operation: "scale", ...place, across: whole(across), down: whole(down) }]),
      ...(near(degrees, 0) ? [] : [{ operation: "rotate", ...place, degrees: whole(degrees) }]),
      ...(Math.abs(dx) < 0.01 && Math.abs(dy) < 0.01 ? [] : [{ operation: "move", ...place, dx: whole(dx), dy: whole(dy) }]),
    ]);
    if (!operations.length || !(await edit(...operations))) redraw();
  };
  const local = (target, patch) => keep((old) => ({ ...old, layers: old.layers.map((each) => (each.id === target ? { ...each, ...patch } : each)) }));
  const toggle = (target) => {
    const places = meant(target.id);
    for (const place of places) if (place.scene === id) local(place.layer, { visible: !target.visible });
    edit(...places.map((place) => ({ operation: target.visible ? "hide" : "show", ...place })));
  };
  const soloOf = (target) => setSolo((old) => (old?.has(target.id) && old.size === 1 ? null : new Set([target.id])));
  const reorder = (target, position) => {
    const least = scene.background ? 1 : 0;
    if (target.back || position < least || position >= scene.layers.length) return false;
    keep((old) => {
      const layers = old.layers.filter((each) => each.id !== target.id);
      layers.splice(position, 0, target);
      return { ...old, layers };
    });
    return edit({ operation: "reorder", scene: id, layer: target.id, position });
  };
  const walk = (step) => {
    if (!scene) return;
    const at = scene.layers.findIndex((each) => each.id === chosen);
    const next = scene.layers[at < 0 ? scene.layers.length - 1 : (at + step + scene.layers.length) % scene.layers.length];
    choose(next?.id ?? null);
  };
  const making = async (work) => {
    here.known = new Set(scene?.layers.map((each) => each.id));
    if (!(await work())) here.known = null;
  };
  const duplicate = () => making(() => act("duplicate"));
  const withLayer = (work) => () => (here.chosen && layer ? work() : false);
  useKeys({
    ArrowLeft: () => nudge(-1, 0), ArrowRight: () => nudge(1, 0), ArrowUp: () => nudge(0, -1), ArrowDown: () => nudge(0, 1),
    "shift-ArrowLeft": () => nudge(-10, 0), "shift-ArrowRight": () => nudge(10, 0),
    "shift-ArrowUp": () => nudge(0, -10), "shift-ArrowDown": () => nudge(0, 10),
    h: withLayer(() => toggle(layer)), o: withLayer(() => soloOf(layer)),
    d: withLayer(duplicate), "ctrl-d": withLayer(duplicate),
    Delete: withLayer(() => !layer.back && act("remove")), Backspace: withLayer(() => !layer.back && act("remove")),
    "]": withLayer(() => reorder(layer, scene.layers.indexOf(layer) + 1)), "[": withLayer(() => reorder(layer, scene.layers.indexOf(layer) - 1)),
    n: withLayer(() => document.getElementById("layer-name")?.select()),
    e: withLayer(() => paintRoute(project, id, layer)),
    j: () => walk(-1), k: () => walk(1),
    "+": () => canvas.current.zoom(1.25), "=": () => canvas.current.zoom(1.25), "-": () => canvas.current.zoom(0.8), 0: () => canvas.current.fit(),
    Escape: () => { if (solo) setSolo(null); else choose(null); },
    ...Object.fromEntries(VIEWS.map(([name], at) => [String(at + 1), () => setView(name)])),
  }, [scene, chosen, solo]);

  const about = VIEWS.find(([name]) => name === view)[2];
  return html`
    <section class="stage" aria-label="Canvas">
      <div class="bar">
        <div class="segments" role="group" aria-label="View">
          ${VIEWS.map(([name, label, title]) => html`<button type="button" title=${title} aria-pressed=${view === name} onClick=${() => setView(name)}>${label}</button>`)}
        </div>
        <span class="push"></span>
        <${Tool} icon="minus" label="Zoom out (-)" onClick=${() => canvas.current.zoom(0.8)} />
        <output class="zoom" aria-label="Zoom">${scale >= 1 ? `${Math.round(scale * 10) / 10}×` : `${Math.round(scale * 100)} %`}</output>
        <${Tool} icon="plus" label="Zoom in (+)" onClick=${() => canvas.current.zoom(1.25)} />
        <${Tool} icon="fit" label="Fit to the window (0)" onClick=${() => canvas.current.fit()} />
      </div>
      <div class="canvas" ref=${box} role="img" aria-label=${scene ? `${scene.title}: ${about}. ${plural(scene.layers.length, "layer")}.` : "The image is loading"}
        data-ready=${scene ? scene.version : undefined} data-view=${view}></div>
      ${missing && !earlier && html`<p class="stage-note">${missing === "original" ? "The image that this was made of is not known here." : "This was not measured for this image."}</p>`}
      <p class="caption">${earlier ? html`<label class="inline">${missing ? "As found" : "Original"} <input type="range" class="divide" min="0" max="1" step="0.01" value=${share} aria-label="Share of the width that shows the image before" onInput=${(event) => divide(Number(event.target.value))} /> Now</label>`
        : solo ? html`Only ${plural(solo.size, "layer")} shown. <button type="button" class="link" onClick=${() => setSolo(null)}>Show all</button>`
        : layer ? html`<b>${layer.name}</b> at ${Math.round(layer.centre[0])}, ${Math.round(layer.centre[1])}. Arrow keys move it by a pixel, with shift by ten.`
        : html`Click a layer to select it, drag to move it. <button type="button" class="link" onClick=${() => set({ help: true })}>All keys</button>`}</p>
    </section>
    <aside class="side" aria-label="Layers and sprites">
      <${Layers} scene=${scene} chosen=${chosen} also=${also} choose=${choose} toggle=${toggle} soloOf=${soloOf} solo=${solo} reorder=${reorder} />
      ${layer && html`<${Chosen} key=${layer.id} project=${project} id=${id} scene=${scene} layer=${layer} count=${1 + also.size} tracks=${tracks} act=${act} local=${local} reorder=${reorder} duplicate=${duplicate} />`}
      <${Shelf} project=${project} layer=${layer?.back ? null : layer}
        add=${(sprite) => making(() => edit({ operation: "add", scene: id, sprite: sprite.id, x: Math.floor(scene.width / 2), y: Math.floor(scene.height / 2) }))}
        swap=${(sprite) => act("replace", { sprite: sprite.id })} />
    </aside>`;
}

function paintRoute(project, scene, layer) {
  if (layer.sprite) go("p", project.id, "paint", layer.sprite);
  else go("p", project.id, "paint", scene, layer.id);
}

function Layers({ scene, chosen, also, choose, toggle, soloOf, solo, reorder }) {
  const [wanted, search] = useState("");
  const [over, setOver] = useState(null);
  const held = useRef(null);
  const pictures = useMemo(() => new Map(), [scene?.version, scene?.id]);
  const rows = scene ? scene.layers.map((layer, position) => ({ layer, position })).reverse() : [];
  const found = wanted ? rows.filter(({ layer }) => layer.name.toLowerCase().includes(wanted.toLowerCase())) : rows;
  const item = (at) => {
    const { layer, position } = found[at];
    const off = solo ? !solo.has(layer.id) : !layer.visible;
    return html`<li key=${layer.id} class=${`layer${off ? " off" : ""}${over === layer.id ? " over" : ""}`} aria-current=${layer.id === chosen || also.has(layer.id) ? "true" : undefined}
      draggable=${!layer.back} onDragStart=${(event) => { held.current = layer; event.dataTransfer.effectAllowed = "move"; }}
      onDragOver=${(event) => { if (held.current && !layer.back) { event.preventDefault(); setOver(layer.id); } }}
      onDragLeave=${() => setOver(null)} onDragEnd=${() => { held.current = null; setOver(null); }}
      onDrop=${(event) => { event.preventDefault(); setOver(null); if (held.current && held.current !== layer) reorder(held.current, position); held.current = null; }}>
      <button type="button" class="tool" aria-pressed=${layer.visible} aria-label=${`${layer.visible ? "Hide" : "Show"} ${layer.name}`}
        title="Hide or show (alt-click: show only this)" onClick=${(event) => (event.altKey ? soloOf(layer) : toggle(layer))}><${Icon} name=${layer.visible ? "eye" : "hidden"} /></button>
      <button type="button" class="pick" aria-pressed=${layer.id === chosen || also.has(layer.id)} aria-label=${layer.name} onClick=${(event) => choose(layer.id, event.shiftKey)}>
        <${Small} layer=${layer} pictures=${pictures} /><span class="name">${layer.name}</span>
      </button>${layer.opacity < 1 && html`<span class="soft layer-opacity">${Math.round(layer.opacity * 100)} %</span>`}</li>`;
  };
  const shown = found.findIndex(({ layer }) => layer.id === chosen);
  return html`<section class="panel layers-panel" aria-label="Layers">
    <header><h2 class="small">${scene ? plural(scene.layers.length, "layer") : "Layers"}</h2><span class="soft">front first</span></header>
    ${rows.length > 12 && html`<input type="search" placeholder="Find a layer" aria-label="Find a layer" value=${wanted} onInput=${(event) => search(event.target.value)} />`}
    <${Long} count=${found.length} height=${ROW} item=${item} label="Layers, front to back" shown=${shown} />
  </section>`;
}

// A layer by itself, small.
function Small({ layer, pictures }) {
  const box = useRef();
  useEffect(() => {
    let picture = pictures.get(layer.id);
    if (!picture) pictures.set(layer.id, (picture = pictureOf(layer)));
    const context = box.current.getContext("2d");
    const scale = Math.min(64 / picture.width, 64 / picture.height);
    const wide = Math.max(1, picture.width * scale), high = Math.max(1, picture.height * scale);
    context.clearRect(0, 0, 64, 64);
    context.imageSmoothingEnabled = scale < 1;
    context.drawImage(picture, (64 - wide) / 2, (64 - high) / 2, wide, high);
  }, [layer.data]);
  return html`<canvas class="check small-layer" width="64" height="64" ref=${box} aria-hidden="true"></canvas>`;
}

function Chosen({ project, id, scene, layer, count, tracks, act, local, reorder, duplicate }) {
  const position = scene.layers.findIndex((each) => each.id === layer.id);
  const track = tracks?.tracks.find((each) => each.track === layer.track);
  const frames = track?.frames.length ?? 0;
  return html`<section class="panel chosen" aria-label="Selected layer">
    ${count > 1 && html`<p class="soft">${count} layers are selected; what is done here is done to all of them.</p>`}
    ${frames > 1 && html`<div class="segments" role="group" aria-label="Where edits of this layer are done">
      <button type="button" aria-pressed=${!store.whole} onClick=${() => set({ whole: false })}>This frame</button>
      <button type="button" aria-pressed=${Boolean(store.whole)} title="What is done to this layer is done in every frame in which this thing is seen" onClick=${() => set({ whole: true })}>All ${frames} frames</button></div>`}
    <${NameField} id="layer-name" value=${layer.name} onName=${(name) => { local(layer.id, { name }); act("rename", { name }); }} />
    <label class="field">Opacity <span class="with-value"><input type="range" min="0" max="1" step="0.01" value=${layer.opacity}
      onInput=${(event) => local(layer.id, { opacity: Number(event.target.value) })}
      onChange=${(event) => act("fade", { opacity: Number(event.target.value) })} /><output>${Math.round(layer.opacity * 100)} %</output></span></label>
    <div class="row">
      <${Tool} icon="pencil" text="Paint" label="Paint (e)" onClick=${() => paintRoute(project, id, layer)} />
      <${Tool} icon="up" label="To the front by one (])" disabled=${layer.back || position === scene.layers.length - 1} onClick=${() => reorder(layer, position + 1)} />
      <${Tool} icon="down" label="To the back by one ([)" disabled=${layer.back || position <= (scene.background ? 1 : 0)} onClick=${() => reorder(layer, position - 1)} />
      <${Tool} icon="copy" label="Duplicate (d)" disabled=${layer.back} onClick=${duplicate} />
      <${Tool} icon="trash" label="Delete (Delete)" disabled=${layer.back} onClick=${() => act("remove")} />
    </div>
    <${Looks} layer=${layer} act=${act} />
  </section>`;
}

// ---- How a layer looks: its size, its turn and its colour

const part = (number) => Math.round(Math.min(1, Math.max(0, number)) * 255).toString(16).padStart(2, "0");
const parts = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255);
const whole = (number) => Math.round(number * 1e4) / 1e4;

function Looks({ layer, act }) {
  const [open, setOpen] = useState(store.looks);
  return html`<details class="looks" open=${open} onToggle=${(event) => { store.looks = event.target.open; setOpen(store.looks); }}><summary>Size, turn and colour</summary>
    ${open && html`<div class="looks-body">${!layer.back && html`<${Shape} act=${act} />`}<${Colour} layer=${layer} act=${act} /></div>`}</details>`;
}

// By how much the layer is made larger, turned and mirrored, about its middle.
function Shape({ act }) {
  const [size, setSize] = useState("100");
  const [turn, setTurn] = useState("0");
  const scale = () => {
    const factor = Number(size) / 100;
    setSize("100");
    if (factor > 0 && factor !== 1) act("scale", { across: whole(factor), down: whole(factor) });
  };
  const rotate = () => {
    const degrees = Number(turn);
    setTurn("0");
    if (degrees) act("rotate", { degrees });
  };
  const enter = (done) => (event) => { if (event.key === "Enter") { event.preventDefault(); done(); } };
  return html`
    <label class="field">Size <span class="with-value"><input class="number" type="number" min="0.1" max="100000" step="any" value=${size} onInput=${(event) => setSize(event.target.value)} onChange=${scale} onKeyDown=${enter(scale)} /> %</span></label>
    <label class="field">Turn by <span class="with-value"><input class="number" type="number" min="-360" max="360" step="any" value=${turn} onInput=${(event) => setTurn(event.target.value)} onChange=${rotate} onKeyDown=${enter(rotate)} /> °</span></label>
    <div class="row">
      <${Tool} icon="mirror" label="Mirror, left to right" onClick=${() => act("scale", { across: -1, down: 1 })} />
      <${Tool} icon="flip" label="Mirror, top to bottom" onClick=${() => act("scale", { across: 1, down: -1 })} />
      <${Tool} icon="undo" label="Turn a quarter to the left" onClick=${() => act("rotate", { degrees: -90 })} />
      <${Tool} icon="redo" label="Turn a quarter to the right" onClick=${() => act("rotate", { degrees: 90 })} />
    </div>`;
}

// Colour is gain times the sprite's, and an offset: a tint keeps the drawing, one colour covers it.
function Colour({ layer, act }) {
  const strongest = Math.max(...layer.gain, 1e-6);
  const flat = layer.gain.every((each) => each === 0);
  const [shown, show] = useState(null);
  const tint = shown?.tint ?? `#${(flat ? layer.offset : layer.gain.map((each) => each / strongest)).map(part).join("")}`;
  const light = shown?.light ?? (flat ? 1 : strongest);
  const send = (gain, offset) => { show(null); act("recolour", { gain: gain.map(whole), offset: offset.map(whole) }); };
  const tinted = (colour, factor) => (flat ? send([0, 0, 0], parts(colour)) : send(parts(colour).map((each) => each * factor), layer.offset));
  const own = layer.gain.every((each) => each === 1) && layer.offset.every((each) => each === 0);
  return html`
    <label class="field">${flat ? "Colour" : "Tint"} <span class="with-value"><input type="color" value=${tint} onInput=${(event) => show({ tint: event.target.value, light })} onChange=${(event) => tinted(event.target.value, light)} />
      <span class="soft">${tint}</span></span></label>
    ${!flat && html`<label class="field">Light <span class="with-value"><input type="range" min="0" max="2" step="0.02" value=${light} onInput=${(event) => show({ tint, light: Number(event.target.value) })}
      onChange=${(event) => tinted(tint, Math.max(0.02, Number(event.target.value)))} /><output>${Math.round(light * 100)} %</output></span></label>`}
    <div class="row"><button type="button" class="button" disabled=${flat} title="Covers the drawing with the colour; its outline stays" onClick=${() => send([0, 0, 0], parts(tint))}>One colour</button>
      <button type="button" class="button" disabled=${own} onClick=${() => send([1, 1, 1], [0, 0, 0])}>Own colours</button></div>`;
}

function useNarrow() {
  const asked = useMemo(() => matchMedia("(max-width: 899px)"), []);
  const [narrow, set] = useState(asked.matches);
  useEffect(() => {
    const look = () => set(asked.matches);
    asked.addEventListener("change", look);
    return () => asked.removeEventListener("change", look);
  }, []);
  return narrow;
}

export function useSprites(project) {
  const [sprites, keep] = useState(null);
  useEffect(() => {
    let mine = true;
    attempt(() => api(`projects/${project.id}/sprites`)).then((found) => mine && found && keep(found.sprites));
    return () => { mine = false; };
  }, [project.id, store.change.number]);
  return sprites;
}

export const spritePicture = (project, sprite, side = 128) => `/api/projects/${project.id}/sprites/${sprite.id}.png?side=${side}&v=${sprite.version}`;

function Shelf({ project, layer, add, swap }) {
  const sprites = useSprites(project);
  const [swapping, setSwapping] = useState(false);
  const shown = (sprites ?? []).filter((sprite) => !sprite.background);
  const swaps = swapping && layer;
  if (!shown.length) return null;
  return html`<section class="panel shelf" aria-label="Sprites">
    <header><h2 class="small">Sprites</h2>
      <div class="segments" role="group" aria-label="What a click on a sprite does">
        <button type="button" aria-pressed=${!swaps} onClick=${() => setSwapping(false)}>Add</button>
        <button type="button" aria-pressed=${Boolean(swaps)} disabled=${!layer} title="Show another sprite in the selected layer" onClick=${() => setSwapping(true)}>Swap</button>
      </div></header>
    <ul class="shelf-grid">${shown.map((sprite) => html`<li key=${sprite.id}><button type="button" class="card-button" title=${`${swaps ? "Swap in" : "Add"} ${sprite.title}`}
      aria-label=${`${swaps ? "Swap in" : "Add"} ${sprite.title}`} aria-pressed=${layer?.sprite === sprite.id} onClick=${() => (swaps ? swap(sprite) : add(sprite))}>
      <${Picture} src=${spritePicture(project, sprite, 96)} /></button></li>`)}</ul>
  </section>`;
}
