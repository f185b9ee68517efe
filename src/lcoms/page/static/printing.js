// Print: every formula with its chosen candidate, the cell as a picture and the plots, black on white.
"use strict";

function beforePrint() {
  if (document.documentElement.classList.contains("printing")) return;
  document.documentElement.classList.add("printing");
  for (const section of sections) {
    section.hidden = false;
    const article = section.querySelector("article:not([hidden])") ?? section.querySelector("article");
    if (!article) continue;
    article.hidden = false;
    for (const other of section.querySelectorAll("article")) other.hidden = other !== article;
    const drawing = drawings[article.dataset.anchor];
    const picture = viewer.picture(article.querySelector(".viewer"), drawing.cells, article.querySelector("h2").textContent);
    if (picture) article.querySelector(".viewer").before(Object.assign(new Image(), { className: "still", src: picture, alt: "Unit cell" }));
    for (const place of article.querySelectorAll(".plot")) drawPlot(place, drawing);
  }
  redrawPlots();
}

function afterPrint() {
  document.documentElement.classList.remove("printing");
  for (const image of document.querySelectorAll(".still")) image.remove();
  redrawPlots();
  show(location.hash);
}

addEventListener("beforeprint", beforePrint);
addEventListener("afterprint", afterPrint);
