// What is shown follows from the address: #NaCl is a formula, #NaCl/2 its second candidate.
"use strict";

const drawings = JSON.parse(document.getElementById("drawings").textContent);
const viewer = new CrystalViewer();
const sections = [...document.querySelectorAll("section.formula")];
document.documentElement.classList.add("scripted");

function articleOf(anchor) {
  return sections.flatMap((section) => [...section.querySelectorAll("article")]).find((a) => a.dataset.anchor === anchor);
}

function show(address) {
  if (!sections.length) return;
  const wanted = decodeURIComponent(address.replace(/^#/, ""));
  const section = sections.find((s) => s.dataset.formula === wanted.split("/")[0]) ?? sections[0];
  const article = articleOf(wanted) ?? section.querySelector("article");
  for (const other of sections) other.hidden = other !== section;
  for (const link of document.querySelectorAll("nav a"))
    link.toggleAttribute("aria-current", link.dataset.formula === section.dataset.formula);
  if (!article) return;
  for (const other of section.querySelectorAll("article")) other.hidden = other !== article;
  for (const row of section.querySelectorAll("tbody tr[data-anchor]")) {
    const chosen = row.dataset.anchor === article.dataset.anchor;
    row.classList.toggle("chosen", chosen);
    row.querySelector("a").toggleAttribute("aria-current", chosen);
  }
  const drawing = drawings[article.dataset.anchor];
  viewer.show(article.querySelector(".viewer"), drawing.cells, article.querySelector("h2").textContent);
  for (const place of article.querySelectorAll(".plot")) drawPlot(place, drawing);
  fitColumns(section);
}

// If the table is too wide, the least important columns are hidden and named below it.
function fitColumns(section) {
  const table = section.querySelector("table.ranked");
  const headings = [...table.tHead.rows[0].cells];
  const cells = (at) => [...table.rows].map((row) => row.cells[at]);
  for (const cell of table.querySelectorAll("[hidden]")) cell.hidden = false;
  const left = [];
  const order = headings.map((heading, at) => at).filter((at) => headings[at].dataset.keep);
  order.sort((a, b) => headings[a].dataset.keep - headings[b].dataset.keep);
  while (table.scrollWidth > table.parentNode.clientWidth && order.length) {
    left.push(order[0]);
    for (const cell of cells(order.shift())) cell.hidden = true;
  }
  const note = section.querySelector(".left-out");
  note.hidden = !left.length;
  note.textContent = `Not shown at this width: ${left.sort((a, b) => a - b).map((at) => headings[at].dataset.name).join(", ")}.`;
}

function choose(anchor) {
  history.pushState(null, "", `#${anchor}`);
  show(location.hash);
  const title = articleOf(anchor).querySelector("h2");
  if (title.getBoundingClientRect().top > innerHeight * 0.8 || title.getBoundingClientRect().bottom < 0)
    title.scrollIntoView({ block: "start" });
}

// Empty values come last in either sort order.
function sortBy(heading) {
  const table = heading.closest("table");
  const place = [...heading.parentNode.children].indexOf(heading);
  const descending = heading.getAttribute("aria-sort") === "ascending";
  for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const value = (row) => row.children[place].dataset.value;
  const rows = [...table.tBodies[0].rows].sort((first, second) => {
    const [a, b] = [value(first), value(second)];
    if (a === "" || b === "") return (a === "") - (b === "");
    const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
    return descending ? -order : order;
  });
  table.tBodies[0].append(...rows);
}

function save(text, name) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  Object.assign(document.createElement("a"), { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

function download(button) {
  const drawing = drawings[button.closest("article").dataset.anchor];
  const { name } = drawing;
  const primitive = viewer.kind === "primitive";
  if (button.dataset.kind === "cif") save(drawing.cif, `${name}.cif`);
  else if (button.dataset.kind === "poscar") save(viewer.cell.poscar, `${name}${primitive ? "-primitive" : ""}.vasp`);
  else save(patternText(drawing), `${name}-pattern.csv`);
}

async function overlay(input) {
  const article = input.closest("article");
  const drawing = drawings[article.dataset.anchor];
  const complaint = article.querySelector(".unread");
  const found = readPattern(await input.files[0].text());
  complaint.hidden = Boolean(found);
  if (!found) return;
  drawing.loaded = found;
  renewPlot(article.querySelector("[data-plot=pattern]"), drawing);
}

document.addEventListener("click", (event) => {
  const row = event.target.closest("tbody tr[data-anchor]");
  const button = event.target.closest("button");
  if (button?.classList.contains("download")) download(button);
  else if (button?.closest("th")) sortBy(button.closest("th"));
  else if (row && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    choose(row.dataset.anchor);
  }
});
document.addEventListener("change", (event) => {
  if (event.target.matches("input[type=file]") && event.target.files.length) overlay(event.target);
});
new ResizeObserver(() => sections.filter((section) => !section.hidden).forEach(fitColumns)).observe(document.body);
addEventListener("hashchange", () => show(location.hash));
addEventListener("popstate", () => show(location.hash));
show(location.hash);
