// Start: drop images or open what was open before. Look: what was sent, and how to take it apart.
import { api, attempt, go, html, loadProjects, Long, Picture, plural, say, set, store, useEffect, usePages, useRef, useState, useStore } from "/lib.js";

const METHODS = {
  marionette: ["A game, a clip or pages", "The same sprites recur at whole pixels."],
  "dti-sprites": ["Things that vary", "Sprites that are moved, turned and coloured anew in each image."],
  redo: ["One thing in many photos", "A region that can be redrawn, over its surroundings."],
  perturbgan: ["Many photos of one kind of thing", "Objects that could stand elsewhere; this takes long."],
};
const KINDS = { scenes: "Layers", images: "Images", run: "Training", model: "Model" };
export const STATES = { running: "running", done: "done", failed: "failed", stopped: "stopped", lost: "cut off" };

async function dropped(items) {
  const files = [];
  const walk = async (entry) => {
    if (entry.isFile) files.push(await new Promise((found, not) => entry.file(found, not)));
    if (!entry.isDirectory) return;
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((found, not) => reader.readEntries(found, not));
      if (!some.length) return;
      for (const each of some) await walk(each);
    }
  };
  for (const entry of [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean)) await walk(entry);
  return files;
}

function sendForm(files, told) {
  return new Promise((done, fail) => {
    const form = new FormData();
    for (const file of files) form.append("files", file, file.name);
    const request = new XMLHttpRequest();
    request.open("POST", "/api/images");
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && told(event.loaded / event.total);
    request.onload = () => (request.status === 200 ? done(request.response) : fail(new Error(request.response?.error ?? "The studio refused the files.")));
    request.onerror = () => fail(new Error("The studio does not answer. Is it still running?"));
    request.send(form);
  });
}

export function StartScreen() {
  useStore();
  const [over, setOver] = useState(false);
  const [share, setShare] = useState(null);
  const input = useRef();
  const give = async (files) => {
    if (!files.length || share !== null) return;
    setShare(0);
    const got = await attempt(() => sendForm(files, setShare));
    setShare(null);
    if (!got) return;
    if (got.skipped.length) say(`${plural(got.skipped.length, "file")} left out. ${got.skipped[0].name}: ${got.skipped[0].reason}`, true);
    go("p", got.project.id);
  };
  useEffect(() => {
    attempt(async () => {
      await loadProjects();
      const { jobs } = await api("jobs");
      set({ jobs: Object.fromEntries(jobs.map((job) => [job.id, job])) });
    });
    const paste = (event) => give([...(event.clipboardData?.files ?? [])]);
    addEventListener("paste", paste);
    return () => removeEventListener("paste", paste);
  }, []);
  const jobs = Object.values(store.jobs).filter((job) => job.kind !== "export").sort((a, b) => b.started - a.started);
  const finished = new Set((store.projects ?? []).map((project) => project.job));
  const open = jobs.filter((job) => !finished.has(job.id));
  const counting = share !== null && (share < 1 ? `Sending: ${Math.round(share * 100)} %` : "Reading what was sent");
  return html`<main class="page start">
    <h1>Take images apart into layers</h1>
    <p class="lead">Everything stays on this machine.</p>
    <div class=${`drop${over ? " over" : ""}`} onDragOver=${(event) => { event.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)}
      onDrop=${async (event) => { event.preventDefault(); setOver(false); give(await dropped(event.dataTransfer.items)); }}>
      <svg viewBox="0 0 64 48" aria-hidden="true"><path d="M32 4 6 16l26 12 26-12z" /><path d="M12 22 6 25l26 12 26-12-6-3" /><path d="M12 31 6 34l26 12 26-12-6-3" /></svg>
      <p class="drop-title">Drop pictures, a folder, a clip or a zip</p>
      <p class="soft">PNG, JPEG, WebP, GIF, TIFF, BMP, or a video; you can also paste.</p>
      <p><button type="button" class="button main" disabled=${share !== null} onClick=${() => input.current.click()}>Choose files</button>
        <input ref=${input} class="unseen" type="file" multiple aria-label="Choose files" tabindex="-1" onChange=${(event) => { give([...event.target.files]); event.target.value = ""; }} /></p>
      ${share !== null && html`<div role="status"><p>${counting}</p><progress max="1" value=${share < 1 ? share : undefined} aria-label="Sending"></progress></div>`}
    </div>
    ${open.length > 0 && html`<section><h2>Being worked on</h2><ul class="cards">${open.map((job) => html`<li key=${job.id}><${JobCard} job=${job} /></li>`)}</ul></section>`}
    <section><h2>Recent</h2>
      ${store.projects === null ? html`<p class="soft">Looking</p>` : store.projects.length === 0
        ? html`<p class="soft">Nothing was open yet. What you drop above, or open with <code>delaminate studio FOLDER</code>, will stand here.</p>`
        : html`<ul class="cards">${store.projects.map((project) => html`<li key=${project.id}><${ProjectCard} project=${project} /></li>`)}</ul>`}
    </section>
  </main>`;
}

function JobCard({ job }) {
  return html`<a class="card project-card" href=${`#/job/${job.id}`}>
    ${job.previews.length ? html`<${Picture} src=${`/api/jobs/${job.id}/previews/${job.previews.at(-1)}.png`} checks=${false} />` : html`<span class="picture blank"></span>`}
    <b>${job.title}</b><span class="soft">${STATES[job.state]}${job.total ? `, ${Math.round((100 * job.done) / job.total)} %` : ""}</span>
    ${job.state === "running" && html`<progress max=${job.total || undefined} value=${job.total ? job.done : undefined} aria-label=${`Progress of ${job.title}`}></progress>`}</a>`;
}

function ProjectCard({ project }) {
  const [picture, setPicture] = useState(undefined);
  useEffect(() => {
    let mine = true;
    const find = async () => {
      if (project.kind === "images") {
        const { images, total } = await api(`projects/${project.id}/images?limit=1`);
        return { src: images.length && `/api/projects/${project.id}/images/${images[0].id}.png?side=320`, text: plural(total, "image") };
      }
      if (project.kind === "scenes") {
        const { scenes, total } = await api(`projects/${project.id}/scenes?limit=1`);
        return { src: scenes.length && `/api/projects/${project.id}/scenes/${scenes[0].id}/composite.png?side=320&v=${scenes[0].version}`, text: plural(total, "image") };
      }
      if (!project.job) return {};
      const job = await api(`jobs/${project.job}`);
      return { src: job.previews.length && `/api/jobs/${job.id}/previews/${job.previews.at(-1)}.png` };
    };
    find().catch((problem) => ({ text: problem.message })).then((found) => mine && setPicture(found));
    return () => { mine = false; };
  }, [project.id]);
  const place = project.kind === "run" && project.job ? `#/job/${project.job}` : `#/p/${project.id}`;
  const forget = () => attempt(async () => set({ projects: (await api(`projects/${project.id}`, undefined, "DELETE")).projects }));
  return html`<div class="card project-card"><a href=${place}>
      ${picture?.src ? html`<${Picture} src=${picture.src} checks=${false} />` : html`<span class="picture blank"></span>`}
      <b>${project.name}</b></a>
    <span class="soft card-foot"><span>${KINDS[project.kind]}${picture?.text ? `, ${picture.text}` : ""}</span>
      <button type="button" class="link" title="Takes it from this list; your files stay" aria-label=${`Remove ${project.name} from the list`} onClick=${forget}>Remove</button></span></div>`;
}

// What was sent, and how to go on.
export function LookScreen({ project }) {
  return project.kind === "images" ? html`<${Images} project=${project} />` : html`<main class="page"><p class="over">${KINDS[project.kind]}</p><h1>${project.name}</h1>
    <p class="lead">${project.kind === "run" ? "What this training has learned can take images apart." : "This model can take images apart."} Drop images on the start page, and choose it there.</p>
    <p class="row">${project.job && html`<a class="button" href=${`#/job/${project.job}`}>How it learned</a>`}<a class="button main" href="#/">Choose images</a></p></main>`;
}

function Images({ project }) {
  const ways = Object.keys(METHODS);
  const images = usePages(`projects/${project.id}/images`, 0, "images");
  const [known, setKnown] = useState(null);
  const [way, setWay] = useState("train");
  const [method, setMethod] = useState("marionette");
  const [preset, setPreset] = useState("");
  const [minutes, setMinutes] = useState(5);
  const [model, setModel] = useState("");
  const [busy, setBusy] = useState(false);
  const box = useRef();
  const [columns, setColumns] = useState(6);
  useEffect(() => { attempt(async () => setKnown(await api("models"))); }, []);
  useEffect(() => {
    const watch = new ResizeObserver(() => box.current && setColumns(Math.max(2, Math.floor(box.current.clientWidth / 132))));
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  const methods = [...(known?.methods ?? [])].sort((a, b) => ways.indexOf(a.id) - ways.indexOf(b.id));
  const chosen = methods.find((each) => each.id === method) ?? methods[0];
  const presets = (chosen?.presets ?? []).filter((name) => !/-(paper|parity)$/.test(name));
  const start = async () => {
    setBusy(true);
    const asked = way === "train"
      ? { kind: "train", images: project.id, method: chosen.id, preset: preset || presets[0], minutes: Number(minutes) }
      : { kind: "decompose", images: project.id, model: model || known.models[0].id };
    const job = await attempt(() => api("jobs", asked));
    setBusy(false);
    if (job) go("job", job.id);
  };
  const tile = (at) => {
    const each = images.items[at];
    return html`<li key=${at} class="tile">${each && html`<figure><${Picture} src=${`/api/projects/${project.id}/images/${each.id}.png?side=192`} alt=${each.name} checks=${false} /><figcaption>${images.total === 1 ? project.name : each.name}</figcaption></figure>`}</li>`;
  };
  return html`<main class="page look">
    <p class="over">${images.of ? plural(images.total, "image") : "Images"}</p><h1>${project.name}</h1>
    <div class=${`gallery columns-${columns}`} ref=${box}><${Long} count=${images.total} height=${150} columns=${columns} item=${tile} label="Images" onRange=${images.onRange} /></div>
    <section class="card go-card"><h2>Take them apart</h2>
      ${known && html`<div class="segments" role="group" aria-label="How">
        <button type="button" aria-pressed=${way === "train"} onClick=${() => setWay("train")}>Learn from these images</button>
        <button type="button" aria-pressed=${way === "decompose"} onClick=${() => setWay("decompose")}>Use a model that is ready</button></div>
      ${way === "train" ? html`<fieldset class="choices"><legend class="unseen">Method</legend>${methods.map((each) => html`<label class="choice"><input type="radio" name="method" checked=${each.id === chosen.id}
          onChange=${() => { setMethod(each.id); setPreset(""); }} /><span title=${each.about}><b>${METHODS[each.id]?.[0] ?? each.id}</b> <span class="soft">${METHODS[each.id]?.[1] ?? each.about} ${each.id}</span></span></label>`)}</fieldset>
        <div class="row"><label class="field">Made for <select value=${preset || presets[0]} onChange=${(event) => setPreset(event.target.value)}>${presets.map((name) => html`<option value=${name}>${name}</option>`)}</select></label>
        <label class="field">Minutes <input type="number" min="0.1" max="10000" step="any" value=${minutes} onInput=${(event) => setMinutes(event.target.value)} /></label></div>`
        : html`<label class="field">Model <select value=${model || known.models[0]?.id} onChange=${(event) => setModel(event.target.value)}>${known.models.map((each) => html`<option value=${each.id}>${each.title}</option>`)}</select></label>`}
      <p><button type="button" class="button main" disabled=${busy || !images.total || (way === "train" && !(Number(minutes) > 0))} onClick=${start}>Start</button></p>`}
    </section></main>`;
}
