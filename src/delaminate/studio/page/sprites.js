// Sprites: the dictionary, and every place where one is shown.
import { api, edit, go, html, NameField, Picture, plural, say, store, Tool, useEffect, useKeys, useRef, useState } from "/lib.js";
import { spritePicture, useSprites } from "/image.js";

const SORTS = {
  alike: ["Likeness"], poses: ["Poses of one thing"],
  used: ["Most used", (a, b) => b.layers - a.layers], size: ["Largest", (a, b) => b.width * b.height - a.width * a.height],
  name: ["Name", (a, b) => a.title.localeCompare(b.title, "en", { numeric: true })],
};

// Likeness, what looks wrong, and poses of one thing, as the server finds them: anew after each change, or `once`.
export function useOrder(project, once = false) {
  const [order, keep] = useState(null);
  useEffect(() => {
    let mine = true;
    api(`projects/${project.id}/sprites/order`).catch(() => null).then((found) => mine && found && keep(found));
    return () => { mine = false; };
  }, [project.id, once || store.change.number]);
  return order;
}

export function SpritesScreen({ project, chosen: asked }) {
  const sprites = useSprites(project);
  const [sort, setSort] = useState("alike");
  const order = useOrder(project);
  const [settled, settle] = useState(() => new Set());
  const [dragged, drag] = useState(null);
  const [over, setOver] = useState(null);
  const grid = useRef();
  const places = new Map((order?.order ?? []).map((id, at) => [id, at]));
  const byLikeness = (a, b) => (places.get(a.id) ?? 1e9) - (places.get(b.id) ?? 1e9);
  const characters = order?.characters ?? [];
  const character = new Map(characters.flatMap((some, at) => some.map((id) => [id, at])));
  const byCharacter = (a, b) => (character.get(a.id) ?? 1e9) - (character.get(b.id) ?? 1e9) || byLikeness(a, b);
  const rows = [...(sprites ?? [])].sort({ alike: byLikeness, poses: byCharacter }[sort] ?? SORTS[sort][1]);
  const heading = (at) => {
    if (sort !== "poses" || (at && character.get(rows[at].id) === character.get(rows[at - 1].id))) return null;
    const found = characters[character.get(rows[at].id)];
    return html`<li class="grid-head soft" key=${`head-${at}`}>${found ? plural(found.length, "pose") + " of one thing" : "Others"}</li>`;
  };
  const doubts = (order?.doubts ?? []).filter((doubt) => !settled.has(doubt.sprites.join()) && doubt.sprites.every((id) => rows.some((row) => row.id === id)));
  const chosen = rows.find((sprite) => sprite.id === asked) ?? null;
  const open = (sprite) => go("p", project.id, "sprites", sprite.id);
  const step = (by) => {
    if (!rows.length) return false;
    const at = chosen ? rows.indexOf(chosen) + by : 0;
    if (rows[at]) open(rows[at]);
    requestAnimationFrame(() => grid.current?.querySelector("[aria-pressed=true]")?.focus());
    return true;
  };
  const columns = () => Math.max(1, getComputedStyle(grid.current).gridTemplateColumns.split(" ").length);
  const drop = async (sprite) => {
    if (!sprite) return;
    go("p", project.id, "sprites");
    if (await edit({ operation: "drop-sprite", sprite: sprite.id })) say(`${sprite.title} is gone from ${plural(sprite.scenes, "image")}; Ctrl Z brings it back.`);
  };
  const merge = async (from, into) => {
    go("p", project.id, "sprites", into.id);
    if (await edit({ operation: "merge-sprites", sprite: from.id, into: into.id })) say(`${from.title} is merged into ${into.title}; Ctrl Z parts them.`);
  };
  useKeys({
    ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: () => step(-columns()), ArrowDown: () => step(columns()),
    n: () => chosen && document.getElementById("sprite-name")?.select(), e: () => chosen && go("p", project.id, "paint", chosen.id),
    Delete: () => drop(chosen), Backspace: () => drop(chosen),
  }, [rows, chosen]);
  return html`<main class=${`workbench sprites-screen${chosen ? " has-one" : ""}`}>
    <section class="sprite-area">
      <header class="bar"><h1 class="small">${sprites ? plural(sprites.length, "sprite") : "Sprites"}</h1><span class="push"></span>
        <label class="inline">Sort by <select value=${sort} onChange=${(event) => setSort(event.target.value)}>${Object.entries(SORTS).filter(([key]) => key !== "poses" || characters.length).map(([key, [label]]) => html`<option value=${key}>${label}</option>`)}</select></label></header>
      ${sprites && !rows.length ? html`<p class="soft pad">These images share no sprites: each layer has a picture of its own. Select a layer on an image, and paint it there.</p>` : ""}
      ${doubts.length > 0 && html`<${Doubts} project=${project} doubts=${doubts} rows=${rows} open=${open} merge=${merge} settle=${(doubt) => settle((old) => new Set([...old, doubt.sprites.join()]))} />`}
      <ul class="sprite-grid" ref=${grid}>${rows.map((sprite, at) => [heading(at), html`<li key=${sprite.id}>
        <button type="button" class=${`card sprite-card${sprite.layers ? "" : " unused"}${over === sprite.id ? " over" : ""}`} aria-pressed=${sprite === chosen} draggable=${!sprite.background}
          onClick=${() => open(sprite)} onDblClick=${() => go("p", project.id, "paint", sprite.id)}
          onDragStart=${() => drag(sprite)} onDragEnd=${() => { drag(null); setOver(null); }}
          onDragOver=${(event) => { if (dragged && dragged !== sprite && !sprite.background) { event.preventDefault(); setOver(sprite.id); } }} onDragLeave=${() => setOver(null)}
          onDrop=${(event) => { event.preventDefault(); if (dragged) merge(dragged, sprite); }}>
          <${Picture} src=${spritePicture(project, sprite, 256)} /><b>${sprite.title}</b><span class="soft">${sprite.layers ? `${sprite.layers.toLocaleString("en")}× in ${sprite.scenes.toLocaleString("en")}` : "not shown"}</span></button></li>`])}</ul>
    </section>
    <aside class="side" aria-label="Selected sprite">${chosen
      ? html`<${One} key=${chosen.id} project=${project} sprite=${chosen} all=${rows} drop=${drop} merge=${merge} next=${() => step(1)} />`
      : html`<section class="panel"><p class="soft">Select a sprite to name it, paint it and see where it is shown. Drag one on another to merge them.</p></section>`}</aside>
  </main>`;
}

// What looks wrong comes first: two that may be one, one that may be two, and what is never used.
function Doubts({ project, doubts, rows, open, merge, settle }) {
  const [all, showAll] = useState(false);
  const find = (id) => rows.find((row) => row.id === id);
  const dropAll = (doubt) => edit(...doubt.sprites.map((sprite) => ({ operation: "drop-sprite", sprite })));
  const shown = all ? doubts : doubts.slice(0, 3);
  return html`<section class="doubts" aria-label="To look at"><h2 class="small">To look at <span class="soft">${doubts.length}</span></h2>
    <ul>${shown.map((doubt) => html`<li key=${doubt.kind + doubt.sprites.join()} class="card doubt">
      <span class="doubt-pictures">${doubt.sprites.slice(0, 4).map((id) => html`<button type="button" class="tool doubt-picture" aria-label=${`Select ${find(id).title}`} onClick=${() => open(find(id))}><${Picture} src=${spritePicture(project, find(id), 96)} /></button>`)}</span>
      <p>${doubt.text}</p>
      <span class="row">${doubt.kind === "alike" && html`<button type="button" class="button" onClick=${() => { const [a, b] = doubt.sprites.map(find); merge(a.layers < b.layers ? a : b, a.layers < b.layers ? b : a); }}>Merge</button>`}
        ${doubt.kind === "unused" && html`<button type="button" class="button" onClick=${() => dropAll(doubt)}>Drop ${doubt.sprites.length > 1 ? "them" : "it"}</button>`}
        <button type="button" class="button" onClick=${() => settle(doubt)}>Fine as it is</button></span></li>`)}</ul>
    ${shown.length < doubts.length && html`<button type="button" class="link" onClick=${() => showAll(true)}>All ${doubts.length}</button>`}</section>`;
}

function One({ project, sprite, all, drop, merge, next }) {
  const [into, setInto] = useState("");
  const [found, keep] = useState(null);
  const [most, setMost] = useState(24);
  useEffect(() => {
    let mine = true;
    api(`projects/${project.id}/sprites/${sprite.id}/occurrences?limit=${most}`).catch(() => null).then((value) => mine && value && keep(value));
    return () => { mine = false; };
  }, [sprite.id, sprite.version, store.change.number, most]);
  const crops = useRef(), lost = useRef(null);
  const links = () => [...crops.current.querySelectorAll(".crop-link")];
  useEffect(() => {
    if (lost.current === null) return;
    const timer = setTimeout(() => { links()[Math.min(lost.current, links().length - 1)]?.focus(); lost.current = null; }, 150);
    return () => clearTimeout(timer);
  }, [found]);
  const walk = (event) => {
    const all = links(), at = all.indexOf(event.target.closest(".crop-link"));
    const columns = Math.max(1, getComputedStyle(crops.current).gridTemplateColumns.split(" ").length);
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (at < 0) return;
    if (by) {
      event.preventDefault();
      all[Math.max(0, Math.min(all.length - 1, at + by))].focus();
    } else if (["Delete", "Backspace"].includes(event.key)) {
      event.preventDefault();
      lost.current = at;
      const { scene, layer } = all[at].dataset;
      edit({ operation: "remove", scene, layer }).then((done) => done && say(`Thrown out of one image; Ctrl Z brings it back.`));
    }
  };
  const others = all.filter((each) => each.id !== sprite.id && !each.background);
  return html`<section class="panel"><${Picture} src=${spritePicture(project, sprite, 512)} />
      <${NameField} id="sprite-name" value=${sprite.title} next=${next} onName=${(name) => edit({ operation: "rename-sprite", sprite: sprite.id, name })} />
      <p class="soft">${sprite.width} × ${sprite.height} pixels${sprite.background ? ", a background" : ""}</p>
      <div class="row"><${Tool} icon="pencil" text="Paint" label="Paint (e)" onClick=${() => go("p", project.id, "paint", sprite.id)} />
        <${Tool} icon="trash" text="Drop" label="Drop from every image (Delete)" onClick=${() => drop(sprite)} /></div>
      ${!sprite.background && others.length > 0 && html`<div class="row"><label class="field grow">The same as <select value=${into} onChange=${(event) => setInto(event.target.value)}><option value="">choose a sprite</option>
        ${others.map((each) => html`<option value=${each.id}>${each.title}</option>`)}</select></label>
        <button type="button" class="button" disabled=${!into} onClick=${() => merge(sprite, others.find((each) => each.id === into))}>Merge</button></div>`}
    </section>
    <section class="panel"><h2 class="small">Where it is shown</h2>
      <ul class="crops" ref=${crops} onKeyDown=${walk}>${(found?.occurrences ?? []).map((each) => html`<${Crops} key=${`${each.scene}-${sprite.version}`} project=${project} found=${each} sprite=${sprite} revision=${found.revision} />`)}</ul>
      ${found?.total > 0 && html`<p class="soft">Arrow keys walk them, Enter opens the image, Delete throws one out.</p>`}
      ${found && found.total > found.occurrences.length && html`<button type="button" class="button" onClick=${() => setMost(Math.min(1000, most + 48))}>More of ${plural(found.total, "image")}</button>`}
      ${found && found.total === 0 && html`<p class="soft">In no image.</p>`}
    </section>`;
}

// Each occurrence in an image, cut out with a line of what is around it.
function Crops({ project, found, sprite, revision }) {
  const [scene, keep] = useState(null);
  useEffect(() => {
    let mine = true;
    api(`projects/${project.id}/scenes/${found.scene}`).catch(() => null).then((value) => mine && value && keep(value));
    return () => { mine = false; };
  }, [found.scene, revision]);
  if (!scene) return html`<li><span class="crop blank"></span></li>`;
  const source = `/api/projects/${project.id}/scenes/${found.scene}/composite.png?side=${Math.max(scene.width, scene.height)}&v=${scene.version}`;
  return scene.layers.filter((layer) => found.layers.includes(layer.id)).slice(0, 12).map((layer) => html`<li key=${layer.id}><a class="crop-link" data-scene=${found.scene} data-layer=${layer.id} href=${`#/p/${project.id}/image/${found.scene}`} aria-label=${`${layer.name} in ${scene.title}`} title=${scene.title}>
    <${Crop} source=${source} scene=${scene} centre=${layer.centre} size=${Math.max(sprite.width, sprite.height) * 1.5} /></a></li>`);
}

export function Crop({ source, scene, centre, size }) {
  const scale = 72 / Math.max(8, size);
  return html`<span class="crop check"><img class="pixel" alt="" loading="lazy" src=${source} style=${{
    width: `${scene.width * scale}px`, height: `${scene.height * scale}px`, left: `${36 - centre[0] * scale}px`, top: `${36 - centre[1] * scale}px`,
  }} /></span>`;
}
