// Learn: how a training or a decomposition is going, as it goes.
import { api, attempt, copyText, duration, go, html, Icon, loadProjects, Picture, plural, set, store, useEffect, useLayoutEffect, useRef, useState, useStore } from "/lib.js";
import { Files } from "/take.js";
import { outcome, STATES } from "/start.js";

const NO_FIGURE = new Set(["total_step", "step", "time", "stage", "note"]);
let plots;

function loadPlots() {
  plots ??= new Promise((done, fail) => {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = "/vendor/uPlot.min.css";
    const script = document.createElement("script");
    script.src = "/vendor/uPlot.iife.min.js";
    script.onload = () => done(globalThis.uPlot);
    script.onerror = fail;
    document.head.append(style, script);
  });
  return plots;
}

const ACTIVE = ["running", "paused"];
const KINDS = { auto: "Taking apart", train: "Learning", decompose: "Taking apart", export: "Writing", compare: "Comparing", prepare: "Making ready" };
const WORDS = { explained: "explained", active: "sprites in use", check: "error of a check", psnr: "rebuilt at the model's size, dB", psnr_original: "rebuilt, dB", by: "found by" };
const inWords = (name) => WORDS[name] ?? name.replaceAll("_", " ").replaceAll("/", ": ");
export const figure = (value) => (typeof value !== "number" ? String(value) : Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(4))));

export function LearnScreen({ id }) {
  useStore();
  const job = store.jobs[id];
  const [rows, keep] = useState([]);
  const [steps, setSteps] = useState([]);
  const [at, setAt] = useState(null);
  const [failed, fail] = useState(null);
  const [log, setLog] = useState(null);
  const [live, setLive] = useState(null);
  const [beside, putBeside] = useState(null); // another training, whose curves are drawn, too
  const [dark, setDark] = useState(() => matchMedia("(prefers-color-scheme: dark)").matches);
  useEffect(() => {
    const asked = matchMedia("(prefers-color-scheme: dark)"), look = () => setDark(asked.matches);
    asked.addEventListener("change", look);
    return () => asked.removeEventListener("change", look);
  }, []);
  const [, tick] = useState(0);
  const since = useRef(-1), asking = useRef(false);
  useEffect(() => {
    api(`jobs/${id}`).then((found) => set({ jobs: { ...store.jobs, [id]: found } })).catch((problem) => fail(problem.message));
  }, [id]);
  useEffect(() => {
    if (!["train", "auto"].includes(job?.kind) || asking.current) return;
    asking.current = true;
    attempt(async () => {
      const found = await api(`jobs/${id}/metrics?since=${since.current}`);
      if (found.rows.length) since.current = Math.max(...found.rows.map((row) => row.total_step));
      keep((old) => [...old, ...found.rows]);
      setSteps(found.previews);
    }).finally(() => { asking.current = false; });
  }, [job?.done, job?.state, job?.previews.at(-1)]);
  useEffect(() => {
    let mine = true;
    if (job?.live) api(`jobs/${id}/live`).then((found) => mine && setLive(found)).catch(() => null);
    return () => { mine = false; };
  }, [id, job?.live]);
  useEffect(() => {
    if (job?.state !== "running") return undefined;
    const timer = setInterval(() => tick((count) => count + 1), 1000);
    return () => clearInterval(timer);
  }, [job?.state]);
  const others = Object.values(store.jobs).filter((each) => each.id !== id && ["train", "auto"].includes(each.kind) && each.done > 0).sort((a, b) => b.started - a.started);
  useEffect(() => {
    if (["train", "auto"].includes(job?.kind)) attempt(async () => set({ jobs: { ...Object.fromEntries((await api("jobs")).jobs.map((each) => [each.id, each])), ...store.jobs } }));
  }, [job?.kind]);
  const compare = (other) => attempt(async () => putBeside(other ? { id: other, title: store.jobs[other].title, rows: (await api(`jobs/${other}/metrics?since=-1`)).rows } : null));
  useEffect(() => { if (job && !ACTIVE.includes(job.state)) loadProjects().catch(() => null); }, [job?.state]);
  if (failed) return html`<main class="page"><h1>This cannot be opened</h1><p class="lead">${failed}</p><p><a class="button" href="#/">All projects</a></p></main>`;
  if (!job) return html`<main class="page"><p class="soft waiting" role="status">Opening</p></main>`;
  const ask = (what) => attempt(async () => set({ jobs: { ...store.jobs, [id]: await api(`jobs/${id}/${what}`, {}) } }));
  const learns = ["train", "auto"].includes(job.kind);
  const running = ACTIVE.includes(job.state);
  const explained = live?.figures?.explained;
  const text = job.verdict?.text;
  const shown = at ?? steps.at(-1);
  const passed = (job.ended ?? Date.now() / 1000) - job.started;
  const share = job.total ? job.done / job.total : null;
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((name) => !NO_FIGURE.has(name) && rows.filter((row) => typeof row[name] === "number").length > 0);
  const drawn = names.filter((name) => name !== "images_per_second" && rows.filter((row) => typeof row[name] === "number").length > 2).slice(0, 6);
  names.sort((a, b) => /error|loss|psnr|explained/.test(b) - /error|loss|psnr|explained/.test(a));
  const last = rows.findLast?.((row) => row.step !== undefined);
  const remarks = rows.filter((row) => row.note !== undefined);
  const verdict = Object.entries(job.verdict ?? {}).filter(([name, value]) => !["text", "level", "model"].includes(name) && ["number", "string"].includes(typeof value));
  const lists = Object.entries(job.verdict ?? {}).filter(([, value]) => Array.isArray(value) && value.length && value.every((each) => typeof each === "string"));
  return html`<main class="page learn">
    <p class="over">${KINDS[job.kind]}</p><h1>${job.title}</h1>
    <div class="progress-line"><${Ring} share=${job.state === "done" ? 1 : explained ?? share} label=${explained !== undefined && job.state !== "done" ? "explained" : "done"} />
      <div><p class="progress-text"><b>${STATES[job.state]}</b>${outcome(job) && !running ? `, ${outcome(job)}` : ""}${job.stage && job.state !== "done" ? `, ${inWords(job.stage)}` : ""}${job.state === "done" ? "" : job.total ? `, ${job.done.toLocaleString("en")} of ${job.total.toLocaleString("en")}` : job.done ? `, ${job.done.toLocaleString("en")}` : ""}, ${duration(passed)}${job.state === "running" && share > 0.02 && !learns ? `, about ${duration((passed * (1 - share)) / share)} left` : ""}</p>
        ${explained !== undefined && running && html`<p>${Math.round(100 * explained)} % of what moves is explained by ${plural(live.count, "sprite")} so far.</p>`}
        ${job.state === "running" && html`<p class="soft">It goes on when this page is closed.</p>`}
        ${job.state === "paused" && html`<p class="soft">It stands still and keeps its memory.</p>`}</div>
      <span class="push"></span>
      ${job.state === "running" && html`<button type="button" class="button" onClick=${() => ask("pause")}>Pause</button>`}
      ${running && html`<button type="button" class="button" onClick=${() => ask("stop")}>Stop and keep</button>`}
      ${["paused", "stopped", "failed", "lost"].includes(job.state) && html`<button type="button" class="button" onClick=${() => ask("resume")}>Go on</button>`}
      ${job.project && !running && (job.kind === "decompose" || (job.kind === "auto" && isScenes(job))) && html`<a class="button main" href=${`#/p/${job.project}`}>Open the layers</a>`}
      ${job.kind === "prepare" && job.project && !running && html`<a class="button main" href=${`#/p/${job.project}`}>Look at them</a>`}
      ${job.kind === "train" && job.project && job.state !== "running" && html`<${TakeApart} job=${job} />`}
    </div>
    ${job.error && html`<p class="trouble" role="alert">${job.error}</p>`}
    ${text && html`<p class="lead verdict">${text}</p>`}
    ${live?.sprites.length > 0 && html`<section><h2>${running ? "Sprites so far" : "Sprites that it found"} <span class="soft">${live.count.toLocaleString("en")}</span></h2>
      <ul class="live-sprites">${live.sprites.map((each, index) => html`<li key=${index} class="card"><${Picture} src=${each} alt=${`Sprite ${index + 1}`} /></li>`)}</ul></section>`}
    ${job.kind === "compare" && job.state === "done" && html`<${Comparison} id=${id} />`}
    ${["auto", "compare"].includes(job.kind) && job.state === "done" && html`<section><h2>Files</h2><${Files} job=${job} /></section>`}
    ${shown !== undefined && html`<section><h2>What it sees</h2><figure class="card preview"><${Picture} src=${`/api/jobs/${id}/previews/${shown}.png`} alt=${`The training after ${shown} steps`} checks=${false} />
      <figcaption>${steps.length > 1 ? html`<label class="inline">After <input type="range" min="0" max=${steps.length - 1} value=${steps.indexOf(shown)} aria-label="Which step"
        onInput=${(event) => setAt(Number(event.target.value) === steps.length - 1 ? null : steps[Number(event.target.value)])} /></label>` : "After"} ${plural(shown, "step")}</figcaption></figure></section>`}
    ${learns && !rows.length && !live && job.state === "running" && html`<p class="soft waiting" role="status">The first figures come in a moment.</p>`}
    ${last && html`<dl class="facts">${names.slice(0, 8).map((name) => html`<div><dt>${inWords(name)}</dt><dd>${figure(last[name])}</dd></div>`)}</dl>`}
    ${drawn.length > 0 && html`<section><header class="row"><h2>Curves</h2><span class="push"></span>${others.length > 0 && html`<label class="inline">Beside <select class="beside" value=${beside?.id ?? ""} onChange=${(event) => compare(event.target.value)}>
        <option value="">no other</option>${others.map((each) => html`<option value=${each.id}>${each.title}, ${new Date(each.started * 1000).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" })}</option>`)}</select></label>`}</header>
      <div class="curves">${drawn.map((name) => html`<${Curve} key=${`${name}-${dark}-${beside?.id}`} name=${name} rows=${rows} beside=${beside} />`)}</div></section>`}
    ${(verdict.length > 0 || lists.length > 0) && html`<section><h2>What came out</h2>${verdict.length > 0 && html`<dl class="facts">${verdict.map(([name, value]) => html`<div><dt>${inWords(name)}</dt><dd>${figure(value)}</dd></div>`)}</dl>`}
      ${lists.map(([name, values]) => html`${name !== "remarks" && html`<h3>${inWords(name)}</h3>`}<ul class="said">${values.map((value) => html`<li>${value}</li>`)}</ul>`)}</section>`}
    ${remarks.length > 0 && html`<section><h2>Meanwhile</h2><ul class="said">${remarks.slice(-8).map((row) => html`<li>${String(row.note).replaceAll("`", "")}</li>`)}</ul></section>`}
    <section><p class="command"><code>${job.command}</code><button type="button" class="tool" aria-label="Copy the command" title="Copy the command" onClick=${() => copyText(job.command)}><${Icon} name="copy" /></button></p>
      <button type="button" class="link" onClick=${() => (log === null ? attempt(async () => setLog((await api(`jobs/${id}/log`)).text)) : setLog(null))}>${log === null ? "What it said" : "Hide what it said"}</button>
      ${log !== null && html`<pre class="log card" tabindex="0">${log}</pre>`}</section>
  </main>`;
}

// Of two projects that a job has made, the scenes are named first.
const isScenes = (job) => store.projects?.find((each) => each.id === job.project)?.kind === "scenes";

// What differs between models.
function Comparison({ id }) {
  const [found, keep] = useState(null);
  useEffect(() => { attempt(async () => keep(await api(`jobs/${id}/comparison`))); }, [id]);
  if (!found) return null;
  const text = (value) => (Array.isArray(value) && value.length === 2 && typeof value[0] === "number" ? `${figure(value[0])} ± ${figure(value[1])}` : value === null ? "" : typeof value === "object" ? JSON.stringify(value) : figure(value));
  const table = (title, rows) => Object.keys(rows).length > 0 && html`<section><h2>${title}</h2><div class="table-room" tabindex="0"><table><thead><tr><th scope="col">${title}</th>${found.models.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
    <tbody>${Object.entries(rows).map(([name, values]) => html`<tr><th scope="row">${inWords(name)}</th>${values.map((value) => html`<td>${text(value)}</td>`)}</tr>`)}</tbody></table></div></section>`;
  return html`${table("Figures", found.figures)}${table("Settings that differ", found.settings)}`;
}

// After a training: its images, taken apart by what it has learned.
function TakeApart({ job }) {
  const start = () => attempt(async () => {
    const made = await api("jobs", { kind: "decompose", images: job.source, model: job.project });
    location.hash = `#/job/${made.id}`;
  });
  return html`<button type="button" class="button main" onClick=${start}>Take its images apart</button>`;
}

function Ring({ share, label }) {
  const length = 2 * Math.PI * 20;
  return html`<svg class="ring" viewBox="0 0 48 48" role="img" aria-label=${share === null ? "Progress is not known" : `${Math.round(share * 100)} percent ${label}`}>
    <circle cx="24" cy="24" r="20" /><circle class="part" cx="24" cy="24" r="20" stroke-dasharray=${`${length * (share ?? 0.1)} ${length}`} />
    <text x="24" y="28">${share === null ? "" : `${Math.round(share * 100)}`}</text></svg>`;
}

// The figures of a training by step: at most a thousand of them.
function pointsOf(rows, name) {
  const found = rows.filter((row) => typeof row[name] === "number" && Number.isFinite(row[name]));
  const thin = Math.ceil(found.length / 1000);
  const kept = found.filter((_, at) => at % thin === 0 || at === found.length - 1);
  return [kept.map((row) => row.total_step), kept.map((row) => row[name])];
}

function Curve({ name, rows, beside }) {
  const box = useRef(), plot = useRef();
  const own = pointsOf(rows, name), other = beside && pointsOf(beside.rows, name);
  const now = own[1].at(-1), then = other?.[1].at(-1);
  useLayoutEffect(() => {
    let gone = false;
    let watch;
    loadPlots().then((uPlot) => {
      if (gone) return;
      const style = getComputedStyle(document.documentElement);
      const soft = style.getPropertyValue("--soft").trim(), line = style.getPropertyValue("--line").trim(), accent = style.getPropertyValue("--accent").trim();
      const axis = { stroke: soft, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
      const series = [{}, { stroke: accent, width: 2, points: { show: false }, spanGaps: true }, ...(other ? [{ stroke: soft, width: 1.5, dash: [5, 4], points: { show: false }, spanGaps: true }] : [])];
      plot.current = new uPlot({
        width: box.current.clientWidth, height: 160, legend: { show: false }, cursor: { y: false, points: { size: 6 } }, scales: { x: { time: false } },
        axes: [{ ...axis, size: 28, grid: { show: false } }, { ...axis, size: 56, values: (_, ticks) => ticks.map(figure) }], series,
      }, other ? uPlot.join([own, other]) : own, box.current);
      watch = new ResizeObserver(() => box.current && plot.current.setSize({ width: box.current.clientWidth, height: 160 }));
      watch.observe(box.current);
    }).catch(() => null);
    return () => { gone = true; watch?.disconnect(); plot.current?.destroy(); };
  }, []);
  useEffect(() => { plot.current?.setData(other ? globalThis.uPlot.join([own, other]) : own); }, [own[0].length, own[0].at(-1)]);
  const said = `${now === undefined ? "not known" : figure(now)}${then === undefined ? "" : `, ${beside.title} ${figure(then)}`}`;
  return html`<figure class="card curve"><figcaption><b>${inWords(name)}</b> <span>${now === undefined ? "" : figure(now)}${then !== undefined && html`<span class="soft" title=${beside.title}> ┄ ${figure(then)}</span>`}</span></figcaption>
    <div ref=${box} role="img" aria-label=${`${inWords(name)} over steps, now ${said}`}></div></figure>`;
}
