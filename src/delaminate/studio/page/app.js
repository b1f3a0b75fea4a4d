// The studio's page: which screen is shown, what stands above it, and keys that work everywhere.
import { copyText, go, hearServer, html, Icon, loadProjects, openProject, attempt, readRoute, redo, render, say, set, store, Tool, undo, useEffect, useKeys, useRef, useState, useStore, api } from "/lib.js";
import { ImageScreen } from "/image.js";
import { alike, CompareScreen } from "/compare.js";
import { LookScreen } from "/look.js";
import { StartScreen } from "/start.js";
import { LearnScreen } from "/learn.js";
import { SpritesScreen } from "/sprites.js";
import { PaintScreen } from "/paint.js";
import { TakeScreen } from "/take.js";

const KEYS = [
  ["Everywhere", [["Ctrl Z", "Undo"], ["Ctrl Shift Z", "Redo"], ["?", "This list"], ["g", "Start"], ["i", "Images"], ["s", "Sprites"], ["x", "Take away"]]],
  ["Image", [
    ["↑ ↓ ← →", "Move the layer by one pixel; with Shift by ten"], ["k, j", "Select the layer before or behind"],
    ["h", "Hide or show it"], ["o", "Show only it; Escape shows all"], ["n", "Name it"], ["d", "Duplicate"], ["Delete", "Delete"], ["], [", "To the front, to the back"],
    ["e", "Paint it"], ["1 to 6", "Layers, original, as found, segmentation, unexplained, before and after"], ["+, -, 0", "Zoom in, out, fit"], ["Page ↑ ↓", "Image before, after"],
    ["Space and drag", "Move the view"],
    ["Shift and click", "Select another layer as well"],
  ]],
  ["Clip", [["p", "Play, stop"], [", .", "Frame before, after"], ["u", "Onion skin"]]],
  ["Sprites", [["↑ ↓ ← →", "Select"], ["n, Enter", "Name it, and go to the next"], ["e", "Paint it"], ["Delete", "Drop it"]]],
  ["Where a sprite is shown", [["↑ ↓ ← →", "Walk its occurrences"], ["Enter", "Open the image"], ["Delete", "Throw it out"]]],
  ["Paint", [["p", "Pencil"], ["r", "Eraser"], ["c", "Pick a colour"], ["f", "Fill"], ["l", "Split a part off with a lasso"], ["Arrows, Enter", "Move the cursor, use the tool"], ["+, -", "Zoom"], ["Escape", "Back"]]],
];

function Help() {
  const box = useRef();
  useEffect(() => {
    if (store.help && !box.current.open) box.current.showModal();
    if (!store.help && box.current.open) box.current.close();
  }, [store.help]);
  return html`<dialog ref=${box} class="help" aria-label="Keys" onClose=${() => set({ help: false })} onClick=${(event) => event.target === box.current && box.current.close()}>
    <header><h2>Keys</h2><button type="button" class="button" onClick=${() => box.current.close()}>Close</button></header>
    <div class="help-columns">${KEYS.map(([title, rows]) => html`<section><h3>${title}</h3><dl>${rows.map(([key, what]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${what}</dd></div>`)}</dl></section>`)}</div>
  </dialog>`;
}

function Top({ screen }) {
  const { project } = store;
  const scenes = project?.kind === "scenes" && screen !== "start" && screen !== "job" ? project : null;
  const tab = (name, label, ...more) => html`<a class="tab" href=${`#/p/${project.id}/${name}`} aria-current=${screen === name || more.includes(screen) ? "page" : undefined}>${label}</a>`;
  return html`<header class="top">
    <a class="brand" href="#/" aria-label="Delaminate: all projects"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 3 2 8l10 5 10-5z" /><path d="M4.5 11.2 2 12.5l10 5 10-5-2.5-1.3" /><path d="M4.5 15.7 2 17l10 5 10-5-2.5-1.3" /></svg><span>Delaminate</span></a>
    ${project && !["start", "job"].includes(screen) && html`<span class="project" title=${project.name}>${project.name}</span>`}
    ${scenes && html`<nav class="tabs" aria-label="Screens">${tab("image", "Images")}${tab("sprites", "Sprites", "paint")}${tab("take", "Take away")}${alike(scenes).length > 0 && tab("compare", "Compare")}</nav>`}
    <span class="push"></span>
    ${scenes && html`<span class="saved soft" role="status">${project.problem ? "" : store.busy || project.unsaved ? "Saving" : project.revision ? "Saved" : ""}</span>
      <${Tool} icon="undo" label="Undo (Ctrl Z)" disabled=${!project.can_undo} onClick=${undo} />
      <${Tool} icon="redo" label="Redo (Ctrl Shift Z)" disabled=${!project.can_redo} onClick=${redo} />`}
    <button type="button" class="tool" aria-label="Keys (?)" title="Keys (?)" onClick=${() => set({ help: true })}>?</button>
  </header>
  ${scenes?.problem && html`<${Trouble} project=${scenes} />`}`;
}

// Files that another program has changed meanwhile, or that cannot be written.
function Trouble({ project }) {
  const keep = (whose) => attempt(async () => {
    await api(`projects/${project.id}/keep`, { whose });
    await openProject(project.id);
  });
  return html`<div class="trouble" role="alert"><p>${project.problem}</p>
    <button type="button" class="button" onClick=${() => attempt(() => api(`projects/${project.id}/save`, {}).then(() => openProject(project.id)))}>Try again</button>
    <button type="button" class="button" onClick=${() => keep("ours")}>Keep what is shown here</button>
    <button type="button" class="button" onClick=${() => keep("theirs")}>Keep what is in the folder</button></div>`;
}

// The equal command of what was done last, to copy.
function Foot() {
  const last = store.commands.at(-1);
  if (!last) return null;
  return html`<footer class="foot"><span class="soft">The same on the command line</span><code title=${last}>${last}</code>
    <button type="button" class="tool" aria-label="Copy the command" title="Copy the command" onClick=${() => copyText(last)}><${Icon} name="copy" /></button>
    ${store.commands.length > 1 && html`<button type="button" class="link" onClick=${() => copyText(store.commands.join("\n"))}>Copy all ${store.commands.length}</button>`}</footer>`;
}

function App() {
  useStore();
  const [what = "start", id, place = "", ...more] = store.route;
  const wanted = what === "p" ? id : null;
  const [failed, fail] = useState(null);
  useEffect(() => {
    fail(null);
    if (wanted) openProject(wanted).catch((problem) => fail(problem.message));
  }, [wanted]);
  const project = store.project?.id === wanted ? store.project : null;
  const screen = what !== "p" ? what : place || (project?.kind === "scenes" ? "image" : "look");
  useEffect(() => {
    document.title = project && what === "p" ? `${project.name} · Delaminate` : "Delaminate studio";
  }, [project?.name, what]);
  const to = (name) => () => (project?.kind === "scenes" ? go("p", project.id, name) : false);
  useKeys({
    "ctrl-z": () => undo(), "ctrl-shift-z": () => redo(), "ctrl-y": () => redo(), "?": () => set({ help: true }),
    g: () => go(), i: to("image"), s: to("sprites"), x: to("take"),
  }, [project]);
  let shown = html`<main class="page"><p class="soft waiting" role="status">Opening</p></main>`;
  if (failed) shown = html`<main class="page"><h1>This cannot be opened</h1><p class="lead">${failed}</p><p><a class="button" href="#/">All projects</a></p></main>`;
  else if (what === "job") shown = html`<${LearnScreen} key=${id} id=${id} />`;
  else if (what !== "p") shown = html`<${StartScreen} />`;
  else if (project && project.kind !== "scenes") shown = html`<${LookScreen} key=${project.id} project=${project} />`;
  else if (project && screen === "sprites") shown = html`<${SpritesScreen} key=${project.id} project=${project} chosen=${more[0]} />`;
  else if (project && screen === "paint") shown = html`<${PaintScreen} key=${more.join()} project=${project} place=${more} />`;
  else if (project && screen === "take") shown = html`<${TakeScreen} key=${project.id} project=${project} />`;
  else if (project && screen === "compare") shown = html`<${CompareScreen} key=${project.id} project=${project} other=${more[0]} />`;
  else if (project) shown = html`<${ImageScreen} key=${project.id} project=${project} scene=${more[0]} />`;
  return html`<${Top} screen=${screen} />${shown}${what === "p" && html`<${Foot} />`}
    <div class="told" role="status" aria-live="polite">${store.message && html`<p class=${store.message.bad ? "bad" : ""}>${store.message.text}
      <button type="button" class="link" onClick=${() => say("")}>Close</button></p>`}</div><${Help} />`;
}

addEventListener("hashchange", () => set({ route: readRoute() }));
const asked = new URLSearchParams(location.search).get("project");
if (asked) history.replaceState(null, "", `/${location.hash || `#/p/${asked}`}`);
set({ route: readRoute() });
render(html`<${App} />`, document.getElementById("app"));
hearServer();
loadProjects().catch((problem) => say(problem.message, true));
