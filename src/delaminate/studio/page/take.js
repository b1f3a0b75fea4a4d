// Take away: every export, what came out, and its files; and the ways back in.
import { api, attempt, copyText, html, Icon, plural, say, set, sizeOf, store, took, useEffect, useRef, useState, useStore } from "/lib.js";
import { STATES } from "/start.js";

const GROUPS = [
  ["To go on painting", ["ora", "psd", "svg", "png", "cutouts"]],
  ["For games and animation", ["atlas", "aseprite", "ase", "tiled", "ldtk", "godot", "godot-tileset", "phaser", "gif", "apng", "webp", "mp4"]],
  ["To measure and to publish", ["objects", "masks", "coco", "placements", "parquet", "catalogue", "html"]],
];

function grouped(formats) {
  const left = new Map(formats.map((each) => [each.id, each]));
  const take = (id) => { const found = left.get(id); left.delete(id); return found; };
  const groups = GROUPS.map(([title, ids]) => [title, ids.map(take).filter(Boolean)]);
  if (left.size) groups.push(["More", [...left.values()]]);
  return groups.filter(([, some]) => some.length);
}

export function TakeScreen({ project }) {
  useStore();
  const [formats, keep] = useState(null);
  const [chosen, choose] = useState(() => new Set(["png"]));
  const [options, setOptions] = useState({});
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    attempt(async () => {
      keep((await api("exports/formats")).formats);
      const { jobs } = await api("jobs");
      set({ jobs: Object.fromEntries(jobs.map((job) => [job.id, job])) });
    });
  }, []);
  const able = new Set((formats ?? []).filter((each) => chosen.has(each.id)).flatMap((each) => each.options));
  const give = (key) => (event) => setOptions({ ...options, [key]: event.target.type === "checkbox" ? event.target.checked : event.target.value });
  const toggle = (id) => choose((old) => {
    const next = new Set(old);
    if (!next.delete(id)) next.add(id);
    return next;
  });
  const start = async () => {
    setBusy(true);
    const asked = { formats: [...chosen], scale: Number(options.scale) || 1, native: Boolean(options.native) };
    for (const key of ["indexed", "split", "webp"]) if (able.has(key)) asked[key] = Boolean(options[key]);
    if (able.has("rate") && Number(options.rate) > 0) asked.rate = Number(options.rate);
    if (able.has("background") && options.background) asked.background = options.background === "with";
    if (able.has("fill") && options.fill) asked.fill = options.fill;
    if (able.has("margin") && options.margin) asked.margin = Number(options.margin);
    const job = await attempt(() => api(`projects/${project.id}/exports`, asked));
    if (job) set({ jobs: { ...store.jobs, [job.id]: job } });
    setBusy(false);
  };
  const made = Object.values(store.jobs).filter((job) => job.kind === "export" && job.source === project.id).sort((a, b) => b.started - a.started);
  const check = (key, label) => html`<label class="check-field"><input type="checkbox" checked=${Boolean(options[key])} onChange=${give(key)} /> ${label}</label>`;
  return html`<main class="page take">
    <h1>Take the layers away</h1><p class="lead">Choose what your program reads. What is written says how closely it composites back.</p>
    ${grouped(formats ?? []).map(([title, some]) => html`<fieldset class="formats" key=${title}><legend>${title}</legend>${some.map((each) => html`<label key=${each.id} class="card format"><input type="checkbox" checked=${chosen.has(each.id)} onChange=${() => toggle(each.id)} />
      <span><b>${each.id}</b><span class="soft">${each.about}</span></span></label>`)}</fieldset>`)}
    <div class="row take-options">
      <label class="field">Enlarge <input type="number" min="1" max="64" value=${options.scale ?? 1} onInput=${give("scale")} /></label>
      ${able.has("rate") && html`<label class="field">Frames a second <input type="number" min="0.1" max="1000" step="any" placeholder="as the clip" value=${options.rate ?? ""} onInput=${give("rate")} /></label>`}
      ${able.has("background") && html`<label class="field">Background <select value=${options.background ?? ""} onChange=${give("background")}><option value="">as the format does</option><option value="with">with it</option><option value="without">without it</option></select></label>`}
      ${able.has("fill") && html`<label class="field">Ground of cut-outs <input placeholder="transparent" value=${options.fill ?? ""} onInput=${give("fill")} /></label>`}
      ${able.has("margin") && html`<label class="field">Margin in pixels <input type="number" min="0" max="1000" value=${options.margin ?? 0} onInput=${give("margin")} /></label>`}
      ${check("native", "At the art's own size, where it was enlarged")}
      ${able.has("indexed") && check("indexed", "With a palette")}
      ${able.has("split") && check("split", "Count round things apart that touch")}
      ${able.has("webp") && check("webp", "As WebP")}
      <span class="push"></span><button type="button" class="button main" disabled=${!chosen.size || busy} onClick=${start}>Make ${plural(chosen.size, "format")}</button>
    </div>
    ${made.length > 0 && html`<section><h2>Made</h2>${made.map((job) => html`<${Made} key=${job.id} job=${job} />`)}</section>`}
    <${WayBack} project=${project} />
  </main>`;
}

function Made({ job }) {
  const remove = () => attempt(async () => set({ jobs: Object.fromEntries((await api(`jobs/${job.id}`, undefined, "DELETE")).jobs.map((each) => [each.id, each])) }));
  return html`<article class="card made"><header><b>${job.title}</b><span class="soft">${STATES[job.state]}</span><span class="push"></span>
      ${job.state === "running" ? html`<button type="button" class="button" onClick=${() => attempt(() => api(`jobs/${job.id}/stop`, {}))}>Stop</button>` : html`<button type="button" class="tool" aria-label="Remove these files" title="Remove these files" onClick=${remove}><${Icon} name="trash" /></button>`}</header>
    ${job.state === "running" && html`<progress max=${job.total || undefined} value=${job.total ? job.done : undefined} aria-label=${`Progress of ${job.title}`}></progress>`}
    ${job.error && html`<p class="bad">${job.error}</p>`}
    ${job.state === "done" && html`<${Files} job=${job} />`}
    <p class="command"><code>${job.command}</code><button type="button" class="tool" aria-label="Copy the command" title="Copy the command" onClick=${() => copyText(job.command)}><${Icon} name="copy" /></button></p></article>`;
}

// How closely a format composites back.
const closeness = (error) => (error === null ? "" : error === 0 ? "composites back exactly" : `composites back to within ${Math.ceil(error * 255)} of 255`);

// The files that a job has made.
export function Files({ job }) {
  const [files, keep] = useState(null);
  useEffect(() => { attempt(async () => keep(await api(`exports/${job.id}/files`))); }, [job.id]);
  if (!files) return null;
  return html`<div class="files-room"><ul class="written">${files.formats.map((each) => html`<li key=${each.id}><b>${each.id}</b> <span>${plural(each.files, "file")}, ${sizeOf(each.bytes)}</span> <span class="soft">${closeness(each.max_error)}</span></li>`)}</ul>
    <div class="row"><a class="button main" href=${`/api/exports/${job.id}/files.zip`} download>Download all, ${sizeOf(files.bytes)}</a></div>
    <details open=${files.total <= 8}><summary>${plural(files.total, "file")}</summary><ul class="files">${files.files.map((file) => html`<li key=${file.id}><a href=${`/api/exports/${job.id}/file?file=${file.id}`} download>${file.name}</a><span class="soft">${sizeOf(file.bytes)}</span></li>`)}</ul></details></div>`;
}

// What was edited in another program comes back as one step of undo.
function WayBack({ project }) {
  const [over, setOver] = useState(false);
  const [busy, setBusy] = useState(false);
  const [asked, ask] = useState(null);
  const [told, tell] = useState(null);
  const input = useRef();
  const give = async (files, repaint) => {
    if (!files.length || busy) return;
    setBusy(true);
    tell(null);
    ask(null);
    const form = new FormData();
    for (const file of files) form.append("files", file, file.name);
    form.append("revision", store.project.revision);
    if (repaint) form.append("repaint", repaint);
    const answer = await attempt(() => api(`projects/${project.id}/imports`, form));
    setBusy(false);
    if (!answer) return;
    if (answer.asks.length) ask({ files, asks: answer.asks });
    else {
      if (answer.change) took(answer.change);
      tell(answer);
      say(answer.edits ? `${plural(answer.edits, "edit")} came back; Ctrl Z undoes them.` : "These files say nothing new.");
    }
  };
  const question = asked?.asks[0];
  return html`<section class="way-back"><h2>Bring edits back</h2>
    <p class="soft">What was written here and edited elsewhere: OpenRaster, PSD, Aseprite, Tiled, sprite sheets, or the zip of an export.</p>
    <div class=${`drop small-drop${over ? " over" : ""}`} onDragOver=${(event) => { event.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)}
      onDrop=${(event) => { event.preventDefault(); setOver(false); give([...event.dataTransfer.files]); }}>
      <p><button type="button" class="button" disabled=${busy} onClick=${() => input.current.click()}>Choose edited files</button>
        <input ref=${input} class="unseen" type="file" multiple aria-label="Choose edited files" tabindex="-1" onChange=${(event) => { give([...event.target.files]); event.target.value = ""; }} /></p>
      <p class="soft">${busy ? "Comparing with what is here" : "or drop them here"}</p></div>
    ${question && html`<div class="card asks" role="group" aria-label="What was repainted"><p><b>${question.layer}</b> in ${question.scene} was repainted${asked.asks.length > 1 ? `, and ${asked.asks.length - 1} more layers` : ""}. ${plural(question.others, "other layer")} show the same sprite.</p>
      <div class="row"><button type="button" class="button main" onClick=${() => give(asked.files, "everywhere")}>Change it everywhere</button>
      <button type="button" class="button" onClick=${() => give(asked.files, "only-here")}>Only here</button>
      <button type="button" class="button" onClick=${() => ask(null)}>Neither</button></div></div>`}
    ${told && (told.words.length > 0 || told.remarks.length > 0) && html`<div class="card told-back" role="status"><ul>${told.words.slice(0, 20).map((line) => html`<li>${line}</li>`)}${told.words.length > 20 && html`<li>and ${told.words.length - 20} more</li>`}</ul>
      ${told.remarks.length > 0 && html`<h3>Not taken</h3><ul>${told.remarks.slice(0, 20).map((line) => html`<li>${line}</li>`)}</ul>`}</div>`}
  </section>`;
}
