// How a layer looks: its size, its turn and its colour.
import { html, store, Tool, useState } from "/lib.js";

const part = (number) => Math.round(Math.min(1, Math.max(0, number)) * 255).toString(16).padStart(2, "0");
const parts = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255);
const whole = (number) => Math.round(number * 1e4) / 1e4;

export function Looks({ layer, act }) {
  const [open, setOpen] = useState(store.looks);
  return html`<details class="looks" open=${open} onToggle=${(event) => { store.looks = event.target.open; setOpen(store.looks); }}><summary>Size, turn and colour</summary>
    ${open && html`<div class="looks-body">${!layer.back && html`<${Shape} act=${act} />`}<${Colour} layer=${layer} act=${act} /></div>`}</details>`;
}

// By how much the layer is made larger, turned and mirrored, about its middle.
function Shape({ act }) {
  const [size, setSize] = useState("100");
  const [turn, setTurn] = useState("0");
  const scale = () => {
    const factor = Number(size) / 100;
    setSize("100");
    if (factor > 0 && factor !== 1) act("scale", { across: whole(factor), down: whole(factor) });
  };
  const rotate = () => {
    const degrees = Number(turn);
    setTurn("0");
    if (degrees) act("rotate", { degrees });
  };
  const enter = (done) => (event) => { if (event.key === "Enter") { event.preventDefault(); done(); } };
  return html`
    <label class="field">Size <span class="with-value"><input class="number" type="number" min="0.1" max="100000" step="any" value=${size} onInput=${(event) => setSize(event.target.value)} onChange=${scale} onKeyDown=${enter(scale)} /> %</span></label>
    <label class="field">Turn by <span class="with-value"><input class="number" type="number" min="-360" max="360" step="any" value=${turn} onInput=${(event) => setTurn(event.target.value)} onChange=${rotate} onKeyDown=${enter(rotate)} /> °</span></label>
    <div class="row">
      <${Tool} icon="mirror" label="Mirror, left to right" onClick=${() => act("scale", { across: -1, down: 1 })} />
      <${Tool} icon="flip" label="Mirror, top to bottom" onClick=${() => act("scale", { across: 1, down: -1 })} />
      <${Tool} icon="undo" label="Turn a quarter to the left" onClick=${() => act("rotate", { degrees: -90 })} />
      <${Tool} icon="redo" label="Turn a quarter to the right" onClick=${() => act("rotate", { degrees: 90 })} />
    </div>`;
}

// Colour is gain times the sprite's, and an offset: a tint keeps the drawing, one colour covers it.
function Colour({ layer, act }) {
  const strongest = Math.max(...layer.gain, 1e-6);
  const flat = layer.gain.every((each) => each === 0);
  const [shown, show] = useState(null);
  const tint = shown?.tint ?? `#${(flat ? layer.offset : layer.gain.map((each) => each / strongest)).map(part).join("")}`;
  const light = shown?.light ?? (flat ? 1 : strongest);
  const send = (gain, offset) => { show(null); act("recolour", { gain: gain.map(whole), offset: offset.map(whole) }); };
  const tinted = (colour, factor) => (flat ? send([0, 0, 0], parts(colour)) : send(parts(colour).map((each) => each * factor), layer.offset));
  const own = layer.gain.every((each) => each === 1) && layer.offset.every((each) => each === 0);
  return html`
    <label class="field">${flat ? "Colour" : "Tint"} <span class="with-value"><input type="color" value=${tint} onInput=${(event) => show({ tint: event.target.value, light })} onChange=${(event) => tinted(event.target.value, light)} />
      <span class="soft">${tint}</span></span></label>
    ${!flat && html`<label class="field">Light <span class="with-value"><input type="range" min="0" max="2" step="0.02" value=${light} onInput=${(event) => show({ tint, light: Number(event.target.value) })}
      onChange=${(event) => tinted(tint, Math.max(0.02, Number(event.target.value)))} /><output>${Math.round(light * 100)} %</output></span></label>`}
    <div class="row"><button type="button" class="button" disabled=${flat} title="Covers the drawing with the colour; its outline stays" onClick=${() => send([0, 0, 0], parts(tint))}>One colour</button>
      <button type="button" class="button" disabled=${own} onClick=${() => send([1, 1, 1], [0, 0, 0])}>Own colours</button></div>`;
}
