// Compare: the same images taken apart in two ways, side by side.
import { api, go, html, Long, Picture, store, useEffect, usePages, useRef, useState, useStore } from "/lib.js";

const VIEWS = [["composite", "Layers"], ["segmentation", "Segmentation"], ["residual", "Unexplained"]];

// Other layers of the same images.
export const alike = (project) => (store.projects ?? []).filter((each) => each.kind === "scenes" && each.id !== project.id && project.images && each.images === project.images);

export function CompareScreen({ project, other }) {
  useStore();
  const others = alike(project);
  const beside = others.find((each) => each.id === other) ?? others[0];
  const [view, setView] = useState("composite");
  const mine = usePages(`projects/${project.id}/scenes`, 0, "scenes");
  const [theirs, keep] = useState(null);
  const box = useRef();
  const [wide, setWide] = useState(400);
  useEffect(() => {
    let here = true;
    keep(null);
    const all = async () => {
      const found = new Map();
      for (let offset = 0, total = 1; offset < total && offset < 20000; offset += 1000) {
        const some = await api(`projects/${beside.id}/scenes?offset=${offset}&limit=1000`);
        total = some.total;
        for (const scene of some.scenes) found.set(scene.name, scene);
      }
      return found;
    };
    if (beside) all().catch(() => null).then((found) => here && keep(found));
    return () => { here = false; };
  }, [beside?.id]);
  useEffect(() => {
    const watch = new ResizeObserver(() => box.current && setWide(box.current.clientWidth));
    if (box.current) watch.observe(box.current);
    return () => watch.disconnect();
  }, [Boolean(beside)]);
  if (!beside) return html`<main class="page"><h1>Compare</h1><p class="lead">Take the same images apart in another way, and both will stand here side by side.</p>
    ${project.images && html`<p><a class="button main" href=${`#/p/${project.images}`}>To the images</a></p>`}</main>`;
  const height = Math.round(Math.min(360, wide / 2.4)) + 40;
  const one = (owner, scene) => scene && html`<a href=${`#/p/${owner.id}/image/${scene.id}`} class="compare-picture"><${Picture} src=${`/api/projects/${owner.id}/scenes/${scene.id}/${view}.png?side=512&v=${scene.version}`} alt=${`${scene.title}, ${owner.name}`} /></a>`;
  const item = (at) => {
    const scene = mine.items[at];
    return html`<li key=${at} class="compare-row" style=${{ height: `${height - 12}px` }}>${scene && html`<span class="soft name">${scene.title}</span><div>${one(project, scene)}${one(beside, theirs?.get(scene.name)) ?? html`<span class="picture blank"></span>`}</div>`}</li>`;
  };
  return html`<main class="page compare"><h1>Compare</h1>
    <div class="row compare-head"><b class="grow">${project.name}</b>
      <label class="grow inline">with <select value=${beside.id} onChange=${(event) => go("p", project.id, "compare", event.target.value)}>${others.map((each) => html`<option value=${each.id}>${each.name}</option>`)}</select></label>
      <div class="segments" role="group" aria-label="View">${VIEWS.map(([name, label]) => html`<button type="button" aria-pressed=${view === name} onClick=${() => setView(name)}>${label}</button>`)}</div></div>
    <div class="compare-list" ref=${box}><${Long} count=${mine.total} height=${height} item=${item} label="Images, side by side" reach=${0} onRange=${mine.onRange} /></div></main>`;
}
