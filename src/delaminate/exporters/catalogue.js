const list = document.getElementById("sprites");
const search = document.getElementById("search");
const sort = document.getElementById("sort");
const shown = document.getElementById("shown");
const entries = [...list.children];

function value(entry, key) {
  return key === "name" ? entry.dataset.name.toLowerCase() : Number(entry.dataset[key]);
}

function update() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const key = sort.value;
  const up = key === "number" || key === "name" ? 1 : -1;
  const ordered = [...entries].sort((one, other) => {
    const [a, b] = [value(one, key), value(other, key)];
    return a < b ? -up : a > b ? up : 0;
  });
  let count = 0;
  for (const entry of ordered) {
    const text = `${entry.dataset.name} ${entry.dataset.images}`.toLowerCase();
    entry.hidden = !words.every((word) => text.includes(word));
    count += !entry.hidden;
    list.append(entry);
  }
  shown.textContent = `${count} of ${entries.length}`;
}

search.addEventListener("input", update);
sort.addEventListener("change", update);
document.querySelector("form.controls").addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
update();
