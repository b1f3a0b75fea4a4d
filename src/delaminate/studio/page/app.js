// The smallest page that shows that the API works: images, a composite, layers to hide, undo.
const $ = (id) => document.getElementById(id);
const state = { project: null, scene: null };

async function api(path, body) {
  const asked = body === undefined ? {} : {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  };
  const answer = await fetch(`/api/${path}`, asked);
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error);
  return value;
}

function item(parent, ...children) {
  const made = document.createElement("li");
  made.append(...children);
  parent.append(made);
  return made;
}

async function showProject() {
  state.project = await api(`projects/${state.project.id}`);
  $("undo").disabled = !state.project.can_undo;
  $("redo").disabled = !state.project.can_redo;
  $("said").textContent = state.project.problem ?? `revision ${state.project.revision}`;
}

async function openProject(id) {
  state.project = { id };
  await showProject();
  $("scenes").replaceChildren();
  const found = state.project.kind === "scenes" ? (await api(`projects/${id}/scenes`)).scenes : [];
  for (const scene of found) {
    const button = document.createElement("button");
    const picture = document.createElement("img");
    picture.loading = "lazy";
    picture.alt = "";
    picture.src = `/api/projects/${id}/scenes/${scene.id}/composite.png?side=96`;
    button.append(picture, scene.title);
    button.onclick = () => showScene(scene.id);
    item($("scenes"), button);
  }
  if (found.length) await showScene(found[0].id);
}

async function showScene(id) {
  state.scene = id;
  const place = `projects/${state.project.id}/scenes/${id}`;
  const scene = await api(place);
  $("picture").src = `/api/${place}/composite.png?v=${scene.version}`;
  $("layers").replaceChildren();
  for (const layer of scene.layers) {
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = layer.visible;
    box.onchange = () => act("edits", {
      operations: [{ operation: box.checked ? "show" : "hide", scene: id, layer: layer.id }],
    });
    const label = document.createElement("label");
    label.append(box, layer.name);
    item($("layers"), label);
  }
}

async function act(what, more = {}) {
  try {
    await api(`projects/${state.project.id}/${what}`, { revision: state.project.revision, ...more });
  } catch (problem) {
    $("said").textContent = problem.message;
  }
}

$("undo").onclick = () => act("undo");
$("redo").onclick = () => act("redo");
$("projects").onchange = () => openProject($("projects").value);

new EventSource("/api/events").onmessage = async (told) => {
  const event = JSON.parse(told.data);
  if (event.project !== state.project?.id) return;
  await showProject();
  if (event.type === "change" && (event.scenes === null || event.scenes.includes(state.scene) || event.sprites.length)) {
    await showScene(state.scene);
  }
};

const { projects } = await api("projects");
$("projects").replaceChildren(...projects.map((each) => new Option(`${each.name} (${each.kind})`, each.id)));
const asked = new URLSearchParams(location.search).get("project");
const first = projects.find((each) => each.id === asked) ?? projects.find((each) => each.kind === "scenes");
if (first) {
  $("projects").value = first.id;
  await openProject(first.id);
}
