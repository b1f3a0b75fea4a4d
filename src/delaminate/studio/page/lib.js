// What all screens share: asking the server, the open project, edits in their order, keys, lists of any length.
import { html, render, useEffect, useLayoutEffect, useMemo, useRef, useState } from "/vendor/preact-htm.module.js";

export { html, render, useEffect, useLayoutEffect, useMemo, useRef, useState };

export class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export async function api(path, body, method) {
  const asked = { method: method ?? (body === undefined ? "GET" : "POST") };
  if (body instanceof FormData || body instanceof Blob) {
    asked.body = body;
  } else if (body !== undefined) {
    asked.body = JSON.stringify(body);
    asked.headers = { "content-type": "application/json" };
  }
  let answer;
  try {
    answer = await fetch(`/api/${path}`, asked);
  } catch {
    throw new Refusal("The studio does not answer. Is it still running?", 0);
  }
  const value = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refusal(value.error ?? `The studio refused (${answer.status}).`, answer.status);
  return value;
}

// ---- State: one object, and who wants to hear of changes.

export const store = {
  route: [], projects: null, jobs: {}, project: null, change: { number: 0 }, commands: [], message: null, busy: 0, help: false, track: null, whole: false, onion: false, looks: false,
};
const hearers = new Set();

export function set(patch) {
  Object.assign(store, patch);
  for (const hear of [...hearers]) hear();
}

export function useStore() {
  const [, again] = useState(0);
  useLayoutEffect(() => {
    const hear = () => again((count) => count + 1);
    hearers.add(hear);
    return () => hearers.delete(hear);
  }, []);
  return store;
}

let silence;
export function say(text, bad = false) {
  clearTimeout(silence);
  set({ message: text ? { text, bad } : null });
  if (text) silence = setTimeout(() => set({ message: null }), bad ? 9000 : 4000);
}

export async function attempt(work) {
  try {
    return await work();
  } catch (problem) {
    say(problem.message, true);
    return null;
  }
}

// ---- Addresses: #/what/id/...

export const go = (...parts) => { location.hash = `/${parts.map(encodeURIComponent).join("/")}`; };
export const readRoute = () => location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decodeURIComponent);

// ---- The open project. Edits go out one after another, each with the revision that the last one made.

export async function loadProjects() {
  set({ projects: (await api("projects")).projects });
}

export async function openProject(id) {
  if (store.project?.id !== id) set({ project: null, commands: [] });
  const project = await api(`projects/${id}`);
  set({ project });
  return project;
}

let queue = Promise.resolve();

function inOrder(work) {
  queue = queue.then(work, work);
  return queue;
}

function changed(scenes, sprites) {
  set({ change: { number: store.change.number + 1, scenes, sprites } });
}

function send(what, more) {
  const id = store.project.id;
  return inOrder(async () => {
    set({ busy: store.busy + 1 });
    try {
      const answer = await api(`projects/${id}/${what}`, { revision: store.project.revision, ...more });
      if (store.project?.id === id) took(answer);
      return answer;
    } catch (problem) {
      say(problem.status === 409 ? "Another page was first. What it made is shown now; please try again." : problem.message, true);
      if (store.project?.id === id) {
        await openProject(id).catch(() => null);
        changed(null, null);
      }
      return null;
    } finally {
      set({ busy: store.busy - 1 });
    }
  });
}

// A change that the server has made of what was asked here.
export function took(answer) {
  const { revision, can_undo, can_redo } = answer;
  set({ project: { ...store.project, revision, can_undo, can_redo }, commands: [...store.commands, ...answer.commands].slice(-200) });
  changed(answer.scenes, answer.sprites);
}

export const edit = (...operations) => send("edits", { operations });
export const undo = () => store.project?.can_undo && send("undo", {});
export const redo = () => store.project?.can_redo && send("redo", {});

export function affects(change, scene) {
  return change.scenes === null || change.scenes === undefined || change.scenes.includes(scene)
    || change.sprites === null || change.sprites.length > 0;
}

export function hearServer() {
  const source = new EventSource("/api/events");
  source.onmessage = (told) => {
    const event = JSON.parse(told.data);
    if (event.type === "job") set({ jobs: { ...store.jobs, [event.job.id]: event.job } });
    if (event.type === "project" || (event.type === "job" && event.job.state !== "running")) loadProjects().catch(() => null);
    const ours = store.project && event.project === store.project.id;
    if (event.type === "reload" || (ours && ["change", "saved", "problem"].includes(event.type))) {
      inOrder(async () => {
        if (!store.project) return;
        const known = store.project.revision;
        if (event.type === "change" && event.revision <= known) return;
        await openProject(store.project.id).catch(() => null);
        if (event.type === "change") changed(event.scenes, event.sprites);
        if (event.type === "reload") changed(null, null);
      });
    }
  };
}

// ---- Keys

export function useKeys(keys, wanted = []) {
  useLayoutEffect(() => {
    const press = (event) => {
      const typing = event.target.closest?.("input:not([type=range]):not([type=checkbox]):not([type=radio]), textarea, select, dialog");
      if (typing || event.defaultPrevented) return;
      const name = [
        event.ctrlKey || event.metaKey ? "ctrl" : "", event.altKey ? "alt" : "",
        event.shiftKey && (event.key.length > 1 || event.ctrlKey || event.metaKey) ? "shift" : "",
        event.key.length === 1 ? event.key.toLowerCase() : event.key,
      ].filter(Boolean).join("-");
      const range = event.target.closest?.("input[type=range]") && name.includes("Arrow");
      const act = range ? null : keys[name];
      if (!act) return;
      if (act(event) !== false) event.preventDefault();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, wanted);
}

// ---- Small parts

const ICONS = {
  eye: "M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8ZM8 6a2 2 0 1 0 0 4 2 2 0 0 0 0-4Z",
  hidden: "M2 2l12 12M6.2 4A6 6 0 0 1 8 3.5c4 0 6.5 4.5 6.5 4.5a11 11 0 0 1-1.7 2.2M4.2 5A11 11 0 0 0 1.5 8S4 12.5 8 12.5a6 6 0 0 0 3.3-1",
  undo: "M6 3 2.5 6.5 6 10M3 6.5h6.5a3.5 3.5 0 0 1 0 7H7",
  redo: "M10 3l3.5 3.5L10 10M13 6.5H6.5a3.5 3.5 0 0 0 0 7H9",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  trash: "M3 4.5h10M6 4.5v-2h4v2M4.5 4.5l.5 9h6l.5-9",
  up: "M8 13V3M4 7l4-4 4 4",
  down: "M8 3v10M4 9l4 4 4-4",
  lasso: "M8 2.5c3.3 0 6 1.7 6 4s-2.7 4-6 4-6-1.7-6-4 2.7-4 6-4ZM5 10.2c-.8 0-1.5.6-1.5 1.4s.7 1.4 1.5 1.4 1.4-.6 1.4-1.4",
  mirror: "M8 2v12M6 4.5 2.5 11.5H6zM10 4.5l3.5 7H10z",
  flip: "M2 8h12M4.5 6 11.5 2.5V6zM4.5 10l7 3.5V10z",
  play: "M4.5 2.5v11l9-5.5z",
  pause: "M5 3v10M11 3v10",
  before: "M10.5 3 5.5 8l5 5M3.5 3v10",
  after: "M5.5 3l5 5-5 5M12.5 3v10",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  fit: "M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10",
  pencil: "M3 13l.6-3L10.5 3.1l2.4 2.4L6 12.4zM9 4.6 11.4 7",
  eraser: "M2.5 10 9 3.5l4 4L7.5 13h-2zM5.5 7l4 4M8 13h6",
  picker: "M8 1.5v4M8 10.5v4M1.5 8h4M10.5 8h4M8 8h.01",
  fill: "M3 8.5 7.5 4l4.5 4.5-4 4zM6 2.5l1.5 1.5M13 10.5s1 1.4 1 2.2a1 1 0 0 1-2 0c0-.8 1-2.2 1-2.2",
};

export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d=${ICONS[name]} /></svg>`;
}

export function Tool({ icon, label, onClick, pressed, disabled, text }) {
  return html`<button class=${text ? "button" : "tool"} type="button" title=${label} aria-label=${label} aria-pressed=${pressed}
    disabled=${disabled} onClick=${onClick}>${icon && html`<${Icon} name=${icon} />`}${text}</button>`;
}

// A name that is typed: what comes from the server meanwhile does not overwrite it.
export function NameField({ id, value, onName, next }) {
  const [typed, type] = useState(null);
  const finish = () => {
    const name = typed?.trim();
    type(null);
    if (name && name !== value) onName(name);
  };
  return html`<label class="field">Name <input id=${id} value=${typed ?? value} maxlength="120" onInput=${(event) => type(event.target.value)} onBlur=${finish}
    onKeyDown=${(event) => { if (event.key === "Escape") type(null); if (event.key === "Enter") { event.target.blur(); next?.(); } }} /></label>`;
}

export function Picture({ src, alt = "", pixel = true, checks = true }) {
  return html`<span class=${`picture${checks ? " check" : ""}`}><img class=${pixel ? "pixel" : ""} src=${src} alt=${alt} loading="lazy" draggable=${false} /></span>`;
}

// A list that draws only what is seen. `item(index)` makes a row.
export function Long({ count, height, columns = 1, item, label, shown, around = 4, onRange, reach = -1 }) {
  const box = useRef();
  const [view, look] = useState([0, 12]);
  const measure = () => {
    const first = Math.max(0, Math.floor(box.current.scrollTop / height) - around);
    const last = first + Math.ceil(box.current.clientHeight / height) + 2 * around;
    look((old) => (old[0] === first && old[1] === last ? old : [first, last]));
  };
  useLayoutEffect(() => {
    measure();
    const watch = new ResizeObserver(measure);
    watch.observe(box.current);
    return () => watch.disconnect();
  }, [count, height, columns]);
  useEffect(() => {
    if (shown === undefined || shown < 0) return;
    const top = Math.floor(shown / columns) * height;
    if (top < box.current.scrollTop) box.current.scrollTop = top;
    if (top + height > box.current.scrollTop + box.current.clientHeight) box.current.scrollTop = top + height - box.current.clientHeight;
  }, [shown]);
  const rows = Math.ceil(count / columns);
  const from = Math.min(view[0], rows) * columns, to = Math.min(view[1] * columns, count);
  useEffect(() => onRange?.(from, to), [from, to]);
  const seen = [];
  for (let index = from; index < to; index += 1) seen.push(item(index));
  return html`<div class="long" ref=${box} onScroll=${measure} tabIndex=${reach}>
    <ul aria-label=${label} style=${{ height: `${rows * height}px`, paddingTop: `${Math.min(view[0], rows) * height}px` }}>${seen}</ul>
  </div>`;
}

// Rows of a list that the server gives in pieces.
export function usePages(path, key, names, wanted) {
  const [pages, keep] = useState({ total: 0, items: [], of: "" });
  const asked = useRef(new Set());
  const load = async (page) => {
    if (asked.current.has(page)) return;
    asked.current.add(page);
    const found = await attempt(() => api(`${path}?offset=${page * 200}&limit=200`));
    if (!found) return;
    keep((old) => {
      const items = old.of === path ? [...old.items] : [];
      found[names].forEach((row, index) => { items[page * 200 + index] = row; });
      return { total: found.total, items, of: path };
    });
  };
  useEffect(() => {
    asked.current = new Set();
    if (path) load(0);
  }, [path, key]);
  const onRange = (from, to) => {
    for (let page = Math.floor(from / 200); page <= Math.floor(Math.max(from, to - 1) / 200); page += 1) load(page);
  };
  return { ...pages, onRange, load };
}

export function sizeOf(bytes) {
  const steps = ["bytes", "kB", "MB", "GB"];
  let step = 0;
  let size = bytes;
  while (size >= 1000 && step < 3) { size /= 1000; step += 1; }
  return `${step ? size.toFixed(size < 10 ? 1 : 0) : size} ${steps[step]}`;
}

export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

export const duration = (seconds) => (seconds < 90 ? `${Math.round(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`);

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch {
    say("The browser does not allow copying here.", true);
  }
}
