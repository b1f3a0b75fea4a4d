// The timeline of a clip: play it, step through it, see the frames beside, and where each thing is seen.
import { api, attempt, go, html, Icon, Long, set, store, Tool, useEffect, useKeys, useRef, useState } from "/lib.js";

const ROW = 26;
const AHEAD = 24;
const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(2)} s`;

// The canvas of the image that is open: what shows a picture in its place, and what ends that.
export const stage = { show: null, back: null };

// Tracks as they are now: for each, its frames and the layer that it is in each of them.
export function useTracks(project) {
  const [tracks, keep] = useState(null);
  useEffect(() => {
    let mine = true;
    const timer = setTimeout(() => attempt(() => api(`projects/${project.id}/tracks`)).then((found) => mine && found && keep(found)), tracks ? 400 : 0);
    return () => { mine = false; clearTimeout(timer); };
  }, [project.id, store.change.number]);
  return tracks;
}

export const frameSource = (project, row, side) => `/api/projects/${project.id}/scenes/${row.id}/composite.png?side=${side}&v=${row.version}`;

export function Timeline({ project, images, index, tracks }) {
  const [playing, play] = useState(false);
  const [now, setNow] = useState(index);
  const [open, setOpen] = useState(false);
  const here = useRef({}).current;
  const total = images.total;
  const follow = useRef();
  here.items = images.items;
  const at = playing ? now : index;
  const openFrame = (frame) => {
    const row = here.items[frame];
    if (row) go("p", project.id, "image", row.id);
    else images.load(Math.floor(frame / 200)).then(() => here.items[frame] && go("p", project.id, "image", here.items[frame].id));
  };
  const stop = () => {
    if (!here.playing) return;
    here.playing = false;
    play(false);
    stage.back?.();
    openFrame(here.frame);
  };
  // Frames are fetched ahead; each is shown for as long as it lasts, or until the next has come.
  const start = () => {
    if (total < 2) return;
    Object.assign(here, { playing: true, frame: index, pictures: new Map(), due: performance.now() });
    setNow(index);
    play(true);
    const fetch = (frame) => {
      const row = here.items[frame];
      if (!row) { images.onRange(frame, frame + 1); return; }
      if (here.pictures.has(frame)) return;
      const picture = new Image();
      picture.src = frameSource(project, row, 1024);
      here.pictures.set(frame, picture);
    };
    const step = (time) => {
      if (!here.playing) return;
      for (let ahead = 0; ahead < Math.min(AHEAD, total); ahead += 1) fetch((here.frame + ahead) % total);
      const next = (here.frame + 1) % total;
      const picture = here.pictures.get(next);
      if (time >= here.due && picture?.complete && picture.naturalWidth) {
        here.pictures.delete((here.frame - 1 + total) % total);
        here.frame = next;
        here.due = Math.max(here.due + (tracks?.durations[next] ?? 100), time - 100);
        stage.show?.(picture);
        setNow(next);
      }
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  };
  const toggle = () => (playing ? stop() : start());
  const beside = (by) => {
    if (playing) stop();
    else if (at + by >= 0 && at + by < total) openFrame(at + by);
  };
  useEffect(() => () => { here.playing = false; stage.back?.(); }, []);
  useKeys({ p: toggle, ",": () => beside(-1), ".": () => beside(1), u: () => set({ onion: !store.onion }) }, [playing, at, total, tracks]);
  useEffect(() => { follow.current?.setAttribute("aria-valuetext", `frame ${at + 1}`); }, [at]);
  const passed = (tracks?.durations ?? []).slice(0, at).reduce((sum, each) => sum + each, 0);
  const rows = (tracks?.tracks ?? []).filter((each) => each.frames.length > 1);
  const select = (track, frame) => {
    set({ track: track.track });
    openFrame(frame);
  };
  return html`<section class="timeline" aria-label="Timeline">
    <div class="timeline-bar">
      <${Tool} icon=${playing ? "pause" : "play"} label=${playing ? "Stop (p)" : "Play (p)"} onClick=${toggle} />
      <${Tool} icon="before" label="Frame before (,)" disabled=${at <= 0} onClick=${() => beside(-1)} />
      <${Tool} icon="after" label="Frame after (.)" disabled=${at >= total - 1} onClick=${() => beside(1)} />
      <input type="range" ref=${follow} min="0" max=${Math.max(0, total - 1)} step="1" value=${Math.max(0, at)} aria-label="Frame"
        onInput=${(event) => { const frame = Number(event.target.value); if (playing) stop(); openFrame(frame); }} />
      <output class="soft frame-number">${at + 1} of ${total}${tracks ? `, ${seconds(passed)}` : ""}</output>
      <${Tool} text="Onion skin" label="Onion skin: the frames before and after, faintly (u)" pressed=${Boolean(store.onion)} onClick=${() => set({ onion: !store.onion })} />
      ${rows.length > 0 && html`<button type="button" class="button" aria-expanded=${open} onClick=${() => setOpen(!open)}>${open ? "Hide tracks" : `${rows.length} tracks`}</button>`}
    </div>
    ${open && html`<div class="tracks" style=${{ height: `${Math.min(148, rows.length * ROW + 2)}px` }}><${Long} count=${rows.length} height=${ROW} reach=${0} label="Tracks, the longest first"
      item=${(number) => html`<${Track} key=${rows[number].track} track=${rows[number]} total=${total} at=${at} select=${select} />`} /></div>`}
  </section>`;
}

// Frames that follow each other, as bars.
function runs(frames) {
  const found = [];
  for (const frame of frames) {
    const last = found.at(-1);
    if (last && last[1] === frame) last[1] = frame + 1;
    else found.push([frame, frame + 1]);
  }
  return found;
}

function Track({ track, total, at, select }) {
  const here = track.frames.includes(at);
  const nearest = (frame) => track.frames.reduce((best, each) => (Math.abs(each - frame) < Math.abs(best - frame) ? each : best), track.frames[0]);
  const press = (event) => {
    const edge = event.currentTarget.getBoundingClientRect();
    select(track, nearest(Math.floor(((event.clientX - edge.left) / edge.width) * total)));
  };
  return html`<li class="track" aria-current=${store.track === track.track ? "true" : undefined}>
    <button type="button" class="track-name" title=${`Select ${track.name}`} onClick=${() => select(track, here ? at : nearest(at))}>${track.name}</button>
    <div class="track-line" onClick=${press}>
      ${runs(track.frames).map(([from, to]) => html`<i style=${{ left: `${(100 * from) / total}%`, width: `${Math.max(0.4, (100 * (to - from)) / total)}%` }} />`)}
      <b style=${{ left: `${(100 * (at + 0.5)) / total}%` }} />
    </div></li>`;
}
