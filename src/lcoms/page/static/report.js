// What is shown follows from the address: #NaCl is a formula, #NaCl/2 its second candidate.
"use strict";

const drawings = JSON.parse(document.getElementById("drawings").textContent);
const sections = [...document.querySelectorAll("section.formula")];
const viewer = new CrystalViewer();
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
  viewer.show(article.querySelector(".viewer"), drawing.cell, article.querySelector("h2").textContent);
  for (const place of article.querySelectorAll(".plot")) drawPlot(place, drawing);
}

function choose(anchor) {
  history.pushState(null, "", `#${anchor}`);
  show(location.hash);
  const title = articleOf(anchor).querySelector("h2");
  if (title.getBoundingClientRect().top > innerHeight * 0.8 || title.getBoundingClientRect().bottom < 0)
    title.scrollIntoView({ block: "start" });
}

// Empty values stand last, whichever way a table is sorted.
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

function download(button) {
  const drawing = drawings[button.closest("article").dataset.anchor];
  const name = button.dataset.kind === "cif" ? `${drawing.name}.cif` : `${drawing.name}.vasp`;
  const address = URL.createObjectURL(new Blob([drawing[button.dataset.kind]], { type: "text/plain" }));
  Object.assign(document.createElement("a"), { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
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
addEventListener("hashchange", () => show(location.hash));
addEventListener("popstate", () => show(location.hash));
show(location.hash);
