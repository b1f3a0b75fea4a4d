// Look: what was read, what is recommended and why, and every other way.
import { api, attempt, copyText, duration, go, html, Icon, Long, Picture, plural, store, useEffect, usePages, useRef, useState, useStore } from "/lib.js";
import { KINDS } from "/start.js";

const METHODS = {
  marionette: ["A game, a clip or pages", "The same sprites recur at whole pixels."],
  "dti-sprites": ["Things that vary", "Sprites that are moved, turned and coloured anew in each image."],
  redo: ["One thing in many photos", "A region that can be redrawn, over its surroundings."],
  perturbgan: ["Many photos of one kind of thing", "Objects that could stand elsewhere; this takes long."],
};

export function LookScreen({ project }) {
  return project.kind === "images" ? html`<${Images} project=${project} />` : html`<${Learned} project=${project} />`;
}

// A run or a model: images that it could take apart.
function Learned({ project }) {
  useStore();
  const images = (store.projects ?? []).filter((each) => each.kind === "images");
  const [chosen, choose] = useState("");
  const start = () => attempt(async () => go("job", (await api("jobs", { kind: "decompose", images: chosen || images[0].id, model: project.id })).id));
  return html`<main class="page"><p class="over">${KINDS[project.kind]}</p><h1>${project.name}</h1>
    <p class="lead">${project.kind === "run" ? "What this training has learned can take images apart." : "This model can take images apart, without training."}</p>
    ${images.length ? html`<div class="row"><label class="field">Images <select value=${chosen || images[0].id} onChange=${(event) => choose(event.target.value)}>${images.map((each) => html`<option value=${each.id}>${each.name}</option>`)}</select></label>
        <button type="button" class="button main" onClick=${start}>Take them apart</button>${project.job && html`<a class="button" href=${`#/job/${project.job}`}>How it learned</a>`}</div>`
      : html`<p class="row"><a class="button main" href="#/">Choose images first</a>${project.job && html`<a class="button" href=${`#/job/${project.job}`}>How it learned</a>`}</p>`}</main>`;
}

function useRecognition(project) {
  const [found, keep] = useState(null);
  const [passed, pass] = useState(0);
  useEffect(() => {
    let mine = true;
    const began = Date.now();
    const ask = async () => {
      const told = await api(`projects/${project.id}/recognition`).catch((problem) => ({ state: "failed", error: problem.message }));
      if (!mine) return;
      keep(told);
      pass(Math.round((Date.now() - began) / 1000));
      if (told.state === "looking") setTimeout(ask, 700);
    };
    ask();
    return () => { mine = false; };
  }, [project.id]);
  return [found, passed];
}

function Images({ project }) {
  const images = usePages(`projects/${project.id}/images`, 0, "images");
  const [found, passed] = useRecognition(project);
  const box = useRef();
  const [columns, setColumns] = useState(6);
  useEffect(() => {
    const watch = new ResizeObserver(() => box.current && setColumns(Math.min(8, Math.max(2, Math.floor(box.current.clientWidth / 132)))));
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  const tile = (at) => {
    const each = images.items[at];
    return html`<li key=${at} class="tile">${each && html`<figure><${Picture} src=${`/api/projects/${project.id}/images/${each.id}.png?side=192`} checks=${false} /><figcaption>${each.name}</figcaption></figure>`}</li>`;
  };
  return html`<main class="page look">
    <p class="over">${found?.images > 1 && images.total === 1 ? plural(found.images, "frame") : images.of ? plural(images.total, "image") : "Images"}</p><h1>${project.name}</h1>
    <${Recommended} project=${project} found=${found} passed=${passed} />
    <div class=${`gallery columns-${columns}`} ref=${box}><${Long} count=${images.total} height=${150} columns=${columns} item=${tile} label="Images" reach=${0} onRange=${images.onRange} /></div>
    <${Adjust} project=${project} images=${images} frames=${found?.images > 1 && images.total === 1 ? found.images : 0} />
    <${Otherwise} project=${project} found=${found} />
  </main>`;
}

// What the library would do, as a sentence with its reasons.
function Recommended({ project, found, passed }) {
  const [busy, setBusy] = useState(false);
  if (!found || found.state === "looking") {
    return html`<section class="card go-card recommended" role="status"><h2>Looking at these images</h2><p class="soft">What they are, and which method suits them${passed >= 2 ? `: ${passed} s so far` : ""}.</p></section>`;
  }
  if (found.state === "failed") return html`<section class="card go-card recommended"><h2>Not recognised</h2><p>${found.error}</p><p class="soft">A method can be chosen below all the same.</p></section>`;
  const start = (minutes) => async () => {
    setBusy(true);
    const job = await attempt(() => api("jobs", { kind: "auto", images: project.id, ...(minutes ? { minutes } : {}) }));
    setBusy(false);
    if (job) go("job", job.id);
  };
  const [first, ...rest] = found.sentence.split(/(?<=\.) (?=[A-Z])/);
  const counts = found.kind === "blobs", learns = !counts && found.kind !== "maps";
  const long = found.seconds ? `about ${duration(found.seconds)} on one core` : null;
  return html`<section class="card go-card recommended"><h2>${first}</h2>
    ${rest.length > 0 && html`<p>${rest.join(" ")}</p>`}
    <ul class="evidence soft">${found.evidence.map((line) => html`<li>${line}</li>`)}</ul>
    ${(found.method || !learns) && html`<div class="row go-row">
      <button type="button" class="button main" disabled=${busy} onClick=${start(0)}>${counts ? "Count them" : "Take them apart"}</button>
      ${learns && html`<button type="button" class="button" disabled=${busy} onClick=${start(1)}>A first look, in a minute</button>`}
      ${long && html`<span class="soft">Properly: ${long}</span>`}</div>
      <${Command} asked=${{ kind: "auto", images: project.id }} />`}
  </section>`;
}

// The equal command of what would be started, and what is wrong with it.
function Command({ asked, onProblem }) {
  const [told, tell] = useState(null);
  const key = JSON.stringify(asked);
  useEffect(() => {
    let mine = true;
    const timer = setTimeout(() => api("jobs/command", asked).then((value) => [value.command, null], (problem) => [null, problem.message]).then(([command, problem]) => {
      if (!mine) return;
      tell({ command, problem });
      onProblem?.(problem);
    }), 250);
    return () => { mine = false; clearTimeout(timer); };
  }, [key]);
  if (!told) return html`<p class="command"><code>delaminate</code></p>`;
  return told.problem ? html`<p class="bad" role="alert">${told.problem}</p>`
    : html`<p class="command"><code>${told.command}</code><button type="button" class="tool" aria-label="Copy the command" title="Copy the command" onClick=${() => copyText(told.command)}><${Icon} name="copy" /></button></p>`;
}

// Every other method, and every setting.
function Otherwise({ project, found }) {
  const ways = Object.keys(METHODS);
  const [known, setKnown] = useState(null);
  const [way, setWay] = useState("decompose");
  const [method, setMethod] = useState(null);
  const [preset, setPreset] = useState("");
  const [minutes, setMinutes] = useState("");
  const [model, setModel] = useState("");
  const [models, setModels] = useState([]);
  const [settings, setSettings] = useState({});
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => { attempt(async () => setKnown(await api("models"))); }, []);
  useEffect(() => {
    if (!found?.method) return;
    setMethod(found.method); setPreset(found.preset); setSettings(found.settings); setWay("train");
  }, [found?.method]);
  if (!known) return null;
  const methods = [...known.methods].sort((a, b) => ways.indexOf(a.id) - ways.indexOf(b.id));
  const chosen = methods.find((each) => each.id === method) ?? methods[0];
  const presets = chosen.presets.filter((name) => !/-(paper|parity)$/.test(name) || name === preset);
  const asked = way === "train"
    ? { kind: "train", images: project.id, method: chosen.id, preset: preset || presets[0], settings, ...(Number(minutes) > 0 ? { minutes: Number(minutes) } : {}) }
    : way === "compare" ? { kind: "compare", images: project.id, models }
    : { kind: "decompose", images: project.id, model: model || known.models[0]?.id };
  const few = way === "compare" && (models.length < 2 || models.length > 8);
  const start = async () => {
    setBusy(true);
    const job = await attempt(() => api("jobs", asked));
    setBusy(false);
    if (job) go("job", job.id);
  };
  const changes = Object.keys(settings).length;
  return html`<details class="card otherwise" open=${found?.state === "done" && !found.method && !["blobs", "maps"].includes(found.kind)}><summary>Another way</summary><div class="otherwise-body">
    <div class="segments" role="group" aria-label="How">
      <button type="button" aria-pressed=${way === "train"} onClick=${() => setWay("train")}>Learn from these images</button>
      <button type="button" aria-pressed=${way === "decompose"} onClick=${() => setWay("decompose")}>Use a model that is ready</button>
      <button type="button" aria-pressed=${way === "compare"} onClick=${() => setWay("compare")}>Compare models</button></div>
    ${way === "train" ? html`<fieldset class="choices"><legend class="unseen">Method</legend>${methods.map((each) => html`<label class="choice"><input type="radio" name="method" checked=${each.id === chosen.id}
        onChange=${() => { setMethod(each.id); setPreset(each.id === found?.method ? found.preset : ""); setSettings(each.id === found?.method ? found.settings : {}); }} /><span title=${each.about}><b>${METHODS[each.id]?.[0] ?? each.id}</b> <span class="soft">${METHODS[each.id]?.[1] ?? each.about} ${each.id}${each.id === found?.method ? ", recommended" : ""}</span></span></label>`)}</fieldset>
      <div class="row"><label class="field">Made for <select value=${preset || presets[0]} onChange=${(event) => { setPreset(event.target.value); setSettings({}); }}>${presets.map((name) => html`<option value=${name}>${name}</option>`)}</select></label>
      <label class="field">At most minutes <input type="number" min="0.1" max="10000" step="any" placeholder="as it takes" value=${minutes} onInput=${(event) => setMinutes(event.target.value)} /></label></div>
      <details class="settings"><summary>Settings${changes ? html`, <b>${changes} changed</b>` : ""}</summary><${Settings} method=${chosen.id} preset=${preset || presets[0]} changed=${settings} change=${setSettings} /></details>`
      : way === "compare" ? html`<fieldset class="choices"><legend class="soft">Two to eight, on the first eight images</legend>${known.models.map((each) => html`<label class="choice"><input type="checkbox" checked=${models.includes(each.id)}
        onChange=${(event) => setModels(event.target.checked ? [...models, each.id] : models.filter((id) => id !== each.id))} /><span>${each.title} <span class="soft">${each.project ? "a project" : each.id}</span></span></label>`)}</fieldset>`
      : html`<label class="field">Model <select value=${model || known.models[0]?.id} onChange=${(event) => setModel(event.target.value)}>${known.models.map((each) => html`<option value=${each.id}>${each.title}</option>`)}</select></label>`}
    ${!few && html`<${Command} asked=${asked} onProblem=${setProblem} />`}
    <p><button type="button" class="button main" disabled=${busy || few || problem !== null} onClick=${start}>Start</button></p></div></details>`;
}

// The form of a method's settings: meanings, bounds and units are the configuration's own.
function Settings({ method, preset, changed, change }) {
  const [rows, keep] = useState(null);
  const [wanted, search] = useState("");
  useEffect(() => {
    let mine = true;
    keep(null);
    attempt(() => api(`methods/${method}/settings?preset=${encodeURIComponent(preset)}`)).then((found) => mine && found && keep(found.settings));
    return () => { mine = false; };
  }, [method, preset]);
  useEffect(() => { // what is recommended may be what the preset has
    const same = (rows ?? []).filter((row) => row.key in changed && JSON.stringify(changed[row.key]) === JSON.stringify(row.value));
    if (same.length) change(Object.fromEntries(Object.entries(changed).filter(([key]) => !same.some((row) => row.key === key))));
  }, [rows]);
  if (!rows) return html`<p class="soft">Reading the settings</p>`;
  const give = (row, value) => {
    const next = { ...changed };
    if (value === undefined || JSON.stringify(value) === JSON.stringify(row.value)) delete next[row.key];
    else next[row.key] = value;
    change(next);
  };
  const fits = (row) => !wanted || `${row.key} ${row.meaning}`.toLowerCase().includes(wanted.toLowerCase());
  const groups = [...new Set(rows.map((row) => row.group))];
  return html`<input type="search" placeholder="Find a setting" aria-label="Find a setting" value=${wanted} onInput=${(event) => search(event.target.value)} />
    ${groups.map((group) => {
      const some = rows.filter((row) => row.group === group && fits(row));
      return some.length > 0 && html`<fieldset class="setting-group"><legend>${group || "General"}</legend>${some.map((row) => html`<div key=${row.key} class=${`setting${row.key in changed ? " changed" : ""}`}>
        <label><span class="setting-name">${row.key.replaceAll("_", " ")}${row.unit ? html` <span class="soft">${row.unit}</span>` : ""}</span>
        <${Value} row=${row} value=${row.key in changed ? changed[row.key] : row.value} give=${(value) => give(row, value)} /></label>
        ${row.key in changed && html`<button type="button" class="link" onClick=${() => give(row, undefined)}>back to ${JSON.stringify(row.value)}</button>`}
        <p class="soft">${row.meaning.replaceAll("`", "")}</p></div>`)}</fieldset>`;
    })}`;
}

function Value({ row, value, give }) {
  const [typed, type] = useState(null);
  if (row.choices) return html`<select value=${String(value)} onChange=${(event) => give(row.choices.find((each) => String(each) === event.target.value))}>${row.choices.map((each) => html`<option value=${String(each)}>${String(each)}</option>`)}</select>`;
  if (typeof row.value === "boolean") return html`<input type="checkbox" checked=${value} onChange=${(event) => give(event.target.checked)} />`;
  const number = typeof row.value === "number";
  const finish = (text) => {
    type(null);
    if (number) return text.trim() === "" || Number.isNaN(Number(text)) ? undefined : give(Number(text));
    try { return give(JSON.parse(text)); } catch { return give(text); }
  };
  return html`<input type=${number ? "number" : "text"} min=${row.minimum ?? row.above ?? undefined} max=${row.maximum ?? row.below ?? undefined} step=${number ? row.multiple_of ?? "any" : undefined}
    value=${typed ?? (number || typeof value === "string" ? value : JSON.stringify(value))} onInput=${(event) => type(event.target.value)} onChange=${(event) => finish(event.target.value)} />`;
}

// ---- Images made ready: some frames of a clip, a part of each image, contrast stretched

const WHOLE = 16384;

function Adjust({ project, images, frames }) {
  const [open, setOpen] = useState(false);
  return html`<details class="card otherwise" onToggle=${(event) => setOpen(event.target.open)}><summary>Take a part, or stretch contrast</summary>
    ${open && images.items[0] && html`<${Preparation} project=${project} images=${images} frames=${frames} />`}</details>`;
}

function Preparation({ project, images, frames }) {
  const most = frames || images.total;
  const [first, setFirst] = useState(0);
  const [last, setLast] = useState(most);
  const [at, setAt] = useState(0); // what is shown
  const [crop, setCrop] = useState(null);
  const [stretch, setStretch] = useState(false);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(null);
  useEffect(() => { setFirst(0); setLast(most); }, [most]);
  const shown = frames ? images.items[0] : images.items[at] ?? images.items[0];
  const source = `/api/projects/${project.id}/images/${shown.id}.png?side=${WHOLE}${frames ? `&frame=${at}` : ""}`;
  const asked = {
    kind: "prepare", images: project.id, stretch, ...(first ? { first } : {}), ...(last < most ? { last } : {}), ...(crop ? { crop } : {}),
  };
  const nothing = !first && last >= most && !crop && !stretch;
  const start = async () => {
    setBusy(true);
    const job = await attempt(() => api("jobs", asked));
    setBusy(false);
    if (job) go("job", job.id);
  };
  const what = frames ? "frame" : "image";
  const point = (label, value, least, greatest, give) => html`<label class="field">${label} <span class="with-value"><input type="range" min=${least} max=${greatest} step="1" value=${value} onInput=${(event) => give(Number(event.target.value))} /><output>${value}</output></span></label>`;
  return html`<div class="otherwise-body adjust">
    <${Part} source=${source} crop=${crop} give=${setCrop} />
    <div class="adjust-form">
      ${most > 1 && html`${point(`First ${what}`, first + 1, 1, last, (value) => { setFirst(value - 1); setAt(value - 1); })}
        ${point(`Last ${what}`, last, first + 1, most, (value) => { setLast(value); setAt(value - 1); })}`}
      <p class="soft">${crop ? html`Part: ${crop[2]} × ${crop[3]} pixels from ${crop[0]}, ${crop[1]}. <button type="button" class="link" onClick=${() => setCrop(null)}>All of it</button>` : "Drag on the picture to take a part of each image."}</p>
      ${crop && html`<div class="row">${["Left", "Top", "Width", "Height"].map((label, side) => html`<label class="field">${label} <input class="number" type="number" min=${side > 1 ? 1 : 0} step="1" value=${crop[side]}
        onChange=${(event) => setCrop(crop.map((each, index) => (index === side ? Math.max(side > 1 ? 1 : 0, Math.round(Number(event.target.value)) || 0) : each)))} /></label>`)}</div>`}
      <label class="check-field"><input type="checkbox" checked=${stretch} onChange=${(event) => setStretch(event.target.checked)} /> Stretch contrast: for dark pictures, such as 12 bits in 16</label>
      ${nothing ? html`<p class="soft">What is made is a new set of images; these stay as they are.</p>` : html`<${Command} asked=${asked} onProblem=${setProblem} />`}
      <p><button type="button" class="button main" disabled=${busy || nothing || problem !== null} onClick=${start}>Make these images</button></p>
    </div></div>`;
}

// The picture, on which a part is drawn with the pointer; in pixels of the image.
function Part({ source, crop, give }) {
  const box = useRef(), held = useRef(null);
  const [size, setSize] = useState(null);
  const place = (event) => {
    const edge = box.current.getBoundingClientRect();
    const along = (value, from, length, pixels) => Math.min(pixels, Math.max(0, Math.round(((value - from) / length) * pixels)));
    return [along(event.clientX, edge.left, edge.width, size[0]), along(event.clientY, edge.top, edge.height, size[1])];
  };
  const press = (event) => {
    if (!size) return;
    event.preventDefault();
    box.current.setPointerCapture(event.pointerId);
    held.current = place(event);
  };
  const drag = (event) => {
    if (!held.current) return;
    const [from, to] = [held.current, place(event)];
    const [wide, high] = [Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
    if (wide && high) give([Math.min(from[0], to[0]), Math.min(from[1], to[1]), wide, high]);
  };
  const share = (value, whole) => `${(100 * value) / whole}%`;
  return html`<div class="part check" ref=${box} role="img" aria-label="The picture that a part is taken of" onPointerDown=${press} onPointerMove=${drag} onPointerUp=${() => { held.current = null; }} onPointerCancel=${() => { held.current = null; }}>
    <img class="pixel" alt="" draggable=${false} src=${source} onLoad=${(event) => setSize([event.target.naturalWidth, event.target.naturalHeight])} />
    ${crop && size && html`<i style=${{ left: share(crop[0], size[0]), top: share(crop[1], size[1]), width: share(crop[2], size[0]), height: share(crop[3], size[1]) }} />`}</div>`;
}
