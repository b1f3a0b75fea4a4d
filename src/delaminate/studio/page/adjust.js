// Images made ready: some frames of a clip, a part of each image, contrast stretched.
import { api, attempt, go, html, useEffect, useRef, useState } from "/lib.js";
import { Command } from "/look.js";

const WHOLE = 16384;

export function Adjust({ project, images, frames }) {
  const [open, setOpen] = useState(false);
  return html`<details class="card otherwise" onToggle=${(event) => setOpen(event.target.open)}><summary>Take a part, or stretch contrast</summary>
    ${open && images.items[0] && html`<${Form} project=${project} images=${images} frames=${frames} />`}</details>`;
}

function Form({ project, images, frames }) {
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
