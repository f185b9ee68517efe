// A crystal in 3D by 3Dmol.js.
"use strict";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const darkScheme = matchMedia("(prefers-color-scheme: dark)");
const elementColour = (symbol) => $3Dmol.elementColors.Jmol[symbol] ?? 0xcccccc;
const isLight = (rgb) => 0.3 * ((rgb >> 16) & 255) + 0.59 * ((rgb >> 8) & 255) + 0.11 * (rgb & 255) > 130;
const hex = (rgb) => `#${rgb.toString(16).padStart(6, "0")}`;
const MOST_LABELS = 800; // more cover the atoms

class CrystalViewer {
  // The viewer moves to the candidate that is shown; a page has only one, as browsers allow few WebGL contexts.
  constructor() {
    this.box = document.createElement("div");
    this.box.append(document.getElementById("viewer-tools").content.cloneNode(true));
    this.canvas = this.box.querySelector(".canvas");
    this.shown = { labels: false, bonds: true, polyhedra: false, boundary: true, supercell: false, primitive: false };
    this.gl = null;
    for (const button of this.box.querySelectorAll("[data-view]"))
      button.addEventListener("click", () => this.lookAlong(button.dataset.view));
    for (const button of this.box.querySelectorAll("[data-toggle]"))
      button.addEventListener("click", () => this.toggle(button));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  // cells: conventional, and primitive if that is a different one.
  show(place, cells, title) {
    this.cells = cells;
    place.append(this.box);
    this.canvas.setAttribute("aria-label", `${title}, unit cell in 3D; arrow keys turn it, plus and minus zoom.`);
    this.box.querySelector("[data-toggle=primitive]").disabled = !cells.primitive;
    this.box.querySelector("[data-toggle=polyhedra]").disabled = !cells.conventional.centres.length;
    this.legend();
    if (!this.gl && !this.start()) return;
    this.gl.resize();
    this.draw();
    this.lookAlong("reset");
  }

  get kind() {
    return this.shown.primitive && this.cells.primitive ? "primitive" : "conventional";
  }

  get cell() {
    return this.cells[this.kind];
  }

  get repeats() {
    return this.shown.supercell ? 2 : 1;
  }

  start() {
    try {
      this.gl = $3Dmol.createViewer(this.canvas, { backgroundColor: colour("--panel"), antialias: true });
    } catch (error) {
      this.gl = null;
    }
    if (this.gl) {
      new ResizeObserver(() => this.canvas.clientWidth && this.gl.resize()).observe(this.canvas);
      darkScheme.addEventListener("change", () => this.draw());
    } else {
      this.canvas.textContent = "This browser cannot draw in 3D (WebGL is off). All figures stand below.";
    }
    return Boolean(this.gl);
  }

  legend() {
    const list = this.box.querySelector(".legend");
    list.replaceChildren(...Object.keys(this.cell.radii).map((symbol) => {
      const item = Object.assign(document.createElement("li"), { textContent: symbol });
      item.style.setProperty("--element", hex(elementColour(symbol)));
      return item;
    }));
  }

  toggle(button) {
    const name = button.dataset.toggle;
    this.shown[name] = !this.shown[name];
    button.setAttribute("aria-pressed", String(this.shown[name]));
    if (!this.gl) return;
    this.draw();
    if (name === "primitive") this.lookAlong("reset");
    else if (name === "supercell") this.fit();
  }

  key(event) {
    const turns = { ArrowLeft: [-10, "y"], ArrowRight: [10, "y"], ArrowUp: [-10, "x"], ArrowDown: [10, "x"] };
    const zooms = { "+": 1.2, "=": 1.2, "-": 1 / 1.2 };
    if (!this.gl || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in turns) this.gl.rotate(...turns[event.key]);
    else if (event.key in zooms) this.gl.zoom(zooms[event.key]);
    else return;
    event.preventDefault();
    this.gl.render();
  }

  lookAlong(which) {
    if (!this.gl) return;
    const [a, b, c] = this.cell.lattice;
    const [front, up] = { a: [a, c], b: [b, c], c: [c, b], reset: [a, c] }[which];
    const z = unit(front);
    const y = unit(minus(up, times(z, dot(up, z))));
    let rows = [cross(y, z), y, z]; // one vector points at the observer, another upwards
    if (which === "reset") rows = product(tilt(18), product(turn(-25), rows));
    this.gl.setView([0, 0, 0, 0, ...quaternion(rows)]);
    this.fit();
  }

  fit() {
    this.gl.zoomTo();
    this.gl.zoom(0.85 * Math.min(1, this.canvas.clientWidth / this.canvas.clientHeight));
    this.gl.render();
  }

  // The scene is built completely and then drawn once.
  draw() {
    const { symbols, radii } = this.cell;
    const { bonds, boundary, polyhedra } = this.shown;
    const atoms = atomsOf(this.cell, this.repeats, { boundary, corners: polyhedra });
    this.gl.clear();
    this.gl.setBackgroundColor(colour("--panel"));
    const model = this.gl.addModel();
    model.addAtoms(
      atoms.map((atom, serial) => ({
        elem: symbols[atom.site], serial, index: serial, x: atom.at[0], y: atom.at[1], z: atom.at[2],
        bonds: bonds ? atom.bonds : [], bondOrder: bonds ? atom.bonds.map(() => 1) : [],
      }))
    );
    for (const [symbol, radius] of Object.entries(radii))
      model.setStyle({ elem: symbol }, { sphere: { radius: 0.38 * radius, colorscheme: "Jmol" },
        ...(bonds && { stick: { radius: 0.09, colorscheme: "Jmol" } }) });
    if (polyhedra) this.polyhedra(atoms);
    if (this.shown.labels) this.label(atoms);
    this.edges();
    this.gl.render();
    this.box.dataset.atoms = atoms.length;
  }

  polyhedra(atoms) {
    for (const [symbol, mesh] of polyhedraOf(this.cell, atoms))
      this.gl.addCustom({
        vertexArr: mesh.corners.map(point), normalArr: mesh.normals.map(point), faceArr: mesh.corners.map((_, i) => i),
        color: elementColour(symbol), opacity: 0.55,
      });
  }

  label(atoms) {
    const many = atoms.length > MOST_LABELS;
    this.box.querySelector(".unlabelled").hidden = !many;
    if (many) return;
    for (const atom of atoms) {
      const symbol = this.cell.symbols[atom.site];
      const text = { position: point(atom.at), inFront: true, alignment: "center", fontSize: 15, bold: true,
        fontColor: isLight(elementColour(symbol)) ? "black" : "white", showBackground: false };
      this.gl.addLabel(symbol, text, undefined, true);
    }
  }

  edges() {
    const { lattice } = this.cell;
    const line = colour("--ink");
    for (const [start, end] of edgesOf(lattice, this.repeats))
      this.gl.addCylinder({ start: point(start), end: point(end), radius: 0.03, color: line });
    ["a", "b", "c"].forEach((name, axis) => {
      const end = [0, 0, 0];
      end[axis] = this.repeats + 1.2 / length(lattice[axis]);
      const text = { position: point(place(end, lattice)), fontColor: line, showBackground: false, fontSize: 16,
        inFront: true, alignment: "center" };
      this.gl.addLabel(name, text, undefined, true);
    });
  }

  // A picture of a candidate's cell as it would be shown, for printing.
  picture(place, cells, title) {
    this.show(place, cells, title);
    return this.gl ? this.gl.pngURI() : "";
  }
}
