// Take away: every export, what came out, and its files.
import { api, attempt, copyText, html, Icon, plural, set, sizeOf, store, useEffect, useState, useStore } from "/lib.js";
import { STATES } from "/start.js";

export function TakeScreen({ project }) {
  useStore();
  const [formats, keep] = useState(null);
  const [chosen, choose] = useState(() => new Set(["png"]));
  const [scale, setScale] = useState(1);
  const [rate, setRate] = useState("");
  const [native, setNative] = useState(false);
  const [indexed, setIndexed] = useState(false);
  const [background, setBackground] = useState("");
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    attempt(async () => {
      keep((await api("exports/formats")).formats);
      const { jobs } = await api("jobs");
      set({ jobs: Object.fromEntries(jobs.map((job) => [job.id, job])) });
    });
  }, []);
  const options = new Set((formats ?? []).filter((each) => chosen.has(each.id)).flatMap((each) => each.options));
  const toggle = (id) => choose((old) => {
    const next = new Set(old);
    if (!next.delete(id)) next.add(id);
    return next;
  });
  const start = async () => {
    setBusy(true);
    const asked = { formats: [...chosen], scale: Number(scale) || 1, native };
    if (options.has("indexed")) asked.indexed = indexed;
    if (options.has("rate") && Number(rate) > 0) asked.rate = Number(rate);
    if (options.has("background") && background) asked.background = background === "with";
    const job = await attempt(() => api(`projects/${project.id}/exports`, asked));
    if (job) set({ jobs: { ...store.jobs, [job.id]: job } });
    setBusy(false);
  };
  const made = Object.values(store.jobs).filter((job) => job.kind === "export" && job.source === project.id).sort((a, b) => b.started - a.started);
  return html`<main class="page take">
    <h1>Take the layers away</h1><p class="lead">Choose what your program reads. Each file says how closely it composites back.</p>
    <fieldset class="formats"><legend class="unseen">Formats</legend>${(formats ?? []).map((each) => html`<label key=${each.id} class="card format"><input type="checkbox" checked=${chosen.has(each.id)} onChange=${() => toggle(each.id)} />
      <span><b>${each.id}</b><span class="soft">${each.about}</span></span></label>`)}</fieldset>
    <div class="row take-options">
      <label class="field">Enlarge <input type="number" min="1" max="64" value=${scale} onInput=${(event) => setScale(event.target.value)} /></label>
      ${options.has("rate") && html`<label class="field">Frames a second <input type="number" min="0.1" max="1000" step="any" placeholder="as the clip" value=${rate} onInput=${(event) => setRate(event.target.value)} /></label>`}
      ${options.has("background") && html`<label class="field">Background <select value=${background} onChange=${(event) => setBackground(event.target.value)}><option value="">as the format does</option><option value="with">with it</option><option value="without">without it</option></select></label>`}
      <label class="check-field"><input type="checkbox" checked=${native} onChange=${(event) => setNative(event.target.checked)} /> At the art's own size, where it was enlarged</label>
      ${options.has("indexed") && html`<label class="check-field"><input type="checkbox" checked=${indexed} onChange=${(event) => setIndexed(event.target.checked)} /> With a palette</label>`}
      <span class="push"></span><button type="button" class="button main" disabled=${!chosen.size || busy} onClick=${start}>Make ${plural(chosen.size, "format")}</button>
    </div>
    ${made.length > 0 && html`<section><h2>Made</h2>${made.map((job) => html`<${Made} key=${job.id} job=${job} />`)}</section>`}
  </main>`;
}

function Made({ job }) {
  const [files, keep] = useState(null);
  useEffect(() => {
    if (job.state === "done") attempt(async () => keep(await api(`exports/${job.id}/files`)));
  }, [job.state]);
  const remove = () => attempt(async () => set({ jobs: Object.fromEntries((await api(`jobs/${job.id}`, undefined, "DELETE")).jobs.map((each) => [each.id, each])) }));
  return html`<article class="card made"><header><b>${job.title}</b><span class="soft">${STATES[job.state]}${files ? `, ${plural(files.total, "file")}, ${sizeOf(files.bytes)}` : ""}</span><span class="push"></span>
      ${files && html`<a class="button main" href=${`/api/exports/${job.id}/files.zip`} download>Download all</a>`}
      ${job.state === "running" ? html`<button type="button" class="button" onClick=${() => attempt(() => api(`jobs/${job.id}/stop`, {}))}>Stop</button>` : html`<button type="button" class="tool" aria-label="Remove these files" title="Remove these files" onClick=${remove}><${Icon} name="trash" /></button>`}</header>
    ${job.state === "running" && html`<progress max=${job.total || undefined} value=${job.total ? job.done : undefined} aria-label=${`Progress of ${job.title}`}></progress>`}
    ${job.error && html`<p class="bad">${job.error}</p>`}
    ${files && html`<details open=${files.total <= 8}><summary>Files</summary><ul class="files">${files.files.map((file) => html`<li key=${file.id}><a href=${`/api/exports/${job.id}/file?file=${file.id}`} download>${file.name}</a><span class="soft">${sizeOf(file.bytes)}</span></li>`)}</ul></details>`}
    <p class="command"><code>${job.command}</code><button type="button" class="tool" aria-label="Copy the command" title="Copy the command" onClick=${() => copyText(job.command)}><${Icon} name="copy" /></button></p></article>`;
}
