// Start: drop images, look at an example, or open what lies on this machine or was open before.
import { api, attempt, go, html, loadProjects, Picture, plural, say, set, store, useEffect, useRef, useState, useStore } from "/lib.js";

export const KINDS = { scenes: "Layers", images: "Images", run: "Training", model: "Model" };
export const STATES = { running: "running", paused: "paused", done: "done", failed: "failed", stopped: "stopped", lost: "cut off" };
const LEVELS = { good: "came out well", fair: "came out fairly", poor: "came out poorly", nothing: "nothing found" };

async function dropped(items) {
  const files = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      const file = await new Promise((found, not) => entry.file(found, not));
      file.place = entry.fullPath.replace(/^\//, ""); // with its folders
      files.push(file);
    }
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
    for (const file of files) form.append("files", file, file.place ?? file.name);
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
  const [places, setPlaces] = useState(null);
  useEffect(() => { attempt(async () => setPlaces(await api("places"))); }, []);
  const openPlace = (place) => attempt(async () => go("p", (await api(`places/${place.id}/open`, {})).id));
  const jobs = Object.values(store.jobs).filter((job) => !["export", "compare"].includes(job.kind)).sort((a, b) => b.started - a.started);
  // Images that are taken apart, and the training of layers, are reached from the layers.
  const layers = (store.projects ?? []).filter((project) => project.kind === "scenes");
  const recent = (store.projects ?? []).filter((project) => project.kind === "scenes" || !layers.some((each) => each.images === project.id || (project.kind === "run" && project.job && each.job === project.job)));
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
      <p class="soft">PNG, JPEG, WebP, GIF, TIFF, BMP, or a video; also a folder of scenes. You can paste, too.</p>
      <p><button type="button" class="button main" disabled=${share !== null} onClick=${() => input.current.click()}>Choose files</button>
        <input ref=${input} class="unseen" type="file" multiple aria-label="Choose files" tabindex="-1" onChange=${(event) => { give([...event.target.files]); event.target.value = ""; }} /></p>
      ${share !== null && html`<div role="status"><p>${counting}</p><progress max="1" value=${share < 1 ? share : undefined} aria-label="Sending"></progress></div>`}
    </div>
    ${open.length > 0 && html`<section><h2>Being worked on</h2><ul class="cards">${open.map((job) => html`<li key=${job.id}><${JobCard} job=${job} /></li>`)}</ul></section>`}
    ${recent.length > 0 && html`<section><h2>Recent</h2><${Recent} projects=${recent} /></section>`}
    ${places?.examples.length > 0 && html`<section><h2>${store.projects?.length ? "Examples" : "Or look at an example"}</h2>
      <ul class="cards">${places.examples.map((place) => html`<li key=${place.id}><button type="button" class="card project-card" onClick=${() => openPlace(place)}>
        <${Picture} src=${`/api/places/${place.id}/cover.png`} checks=${false} /><b>${place.name}</b><span class="soft">${place.about}</span></button></li>`)}</ul></section>`}
    ${places?.near.length > 0 && html`<section><h2>On this machine</h2><${Places} places=${places.near} open=${openPlace} /></section>`}
    ${places && html`<section><h2>Models that are ready</h2><${Places} places=${places.models} open=${openPlace} /></section>`}
  </main>`;
}

function Recent({ projects }) {
  const [all, showAll] = useState(false);
  const shown = all ? projects : projects.slice(0, 8);
  return html`<ul class="cards">${shown.map((project) => html`<li key=${project.id}><${ProjectCard} project=${project} /></li>`)}</ul>
    ${shown.length < projects.length && html`<p class="more"><button type="button" class="button" onClick=${() => showAll(true)}>All ${projects.length}</button></p>`}`;
}

// What can be opened, as lines.
function Places({ places, open }) {
  const [all, showAll] = useState(false);
  const shown = all ? places : places.slice(0, 8);
  return html`<ul class="card places">${shown.map((place) => html`<li key=${place.id}><button type="button" class="place" onClick=${() => open(place)}>
      <b>${place.kind === "model" && place.about && !place.about.includes(" in ") ? place.about : place.name}</b><span class="soft">${place.kind === "model" ? place.name : `${KINDS[place.kind]}${place.about ? `, in ${place.about}` : ""}`}</span></button></li>`)}
    ${shown.length < places.length && html`<li><button type="button" class="place" onClick=${() => showAll(true)}><span class="soft">${places.length - shown.length} more</span></button></li>`}</ul>`;
}

// How it came out, of a job, in a few words.
export function outcome(job) {
  const verdict = job?.verdict;
  if (!verdict) return "";
  if (LEVELS[verdict.level]) return LEVELS[verdict.level];
  const psnr = verdict.psnr_original ?? verdict.psnr;
  return typeof psnr === "number" ? `rebuilt at ${psnr.toFixed(1)} dB` : "";
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
        const job = project.job && await api(`jobs/${project.job}`).catch(() => null);
        const said = outcome(job);
        return { src: scenes.length && `/api/projects/${project.id}/scenes/${scenes[0].id}/composite.png?side=320&v=${scenes[0].version}`, text: `${plural(total, "image")}${said ? `, ${said}` : ""}` };
      }
      if (!project.job) return {};
      const job = await api(`jobs/${project.job}`);
      return { text: outcome(job), src: job.previews.length && `/api/jobs/${job.id}/previews/${job.previews.at(-1)}.png` };
    };
    find().catch((problem) => ({ text: problem.message })).then((found) => mine && setPicture(found));
    return () => { mine = false; };
  }, [project.id]);
  const place = project.kind === "run" && project.job ? `#/job/${project.job}` : `#/p/${project.id}`;
  const forget = () => attempt(async () => set({ projects: (await api(`projects/${project.id}`, undefined, "DELETE")).projects }));
  const more = project.kind === "scenes" ? [[project.images, "Images", `#/p/${project.images}`], [project.job, "Training", `#/job/${project.job}`]].filter(([id]) => id) : [];
  return html`<div class="card project-card"><a href=${place}>
      ${picture?.src ? html`<${Picture} src=${picture.src} checks=${false} />` : html`<span class="picture blank"></span>`}
      <b>${project.name}</b></a>
    <span class="soft">${KINDS[project.kind]}${picture?.text ? `, ${picture.text}` : ""}</span><span class="soft card-foot">
      ${more.map(([, label, href]) => html`<a href=${href}>${label}</a>`)}<span class="push"></span>
      <button type="button" class="link" title="Takes it from this list; your files stay" aria-label=${`Remove ${project.name} from the list`} onClick=${forget}>Remove</button></span></div>`;
}
