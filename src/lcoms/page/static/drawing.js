// Crystals in 3D by 3Dmol.js and curves by uPlot. Lattice vectors are rows, in angstrom, as in the package.
"use strict";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const darkScheme = matchMedia("(prefers-color-scheme: dark)");

class CrystalViewer {
  // Moves into the place of whatever candidate is shown; a page has one, as browsers allow few WebGL contexts.
  constructor() {
    this.box = document.createElement("div");
    this.box.append(document.getElementById("viewer-tools").content.cloneNode(true));
    this.canvas = this.box.querySelector(".canvas");
    this.shown = { labels: true, bonds: true, supercell: false };
    this.gl = null;
    for (const button of this.box.querySelectorAll("[data-view]"))
      button.addEventListener("click", () => this.lookAlong(button.dataset.view));
    for (const button of this.box.querySelectorAll("[data-toggle]"))
      button.addEventListener("click", () => this.toggle(button));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  show(place, cell, title) {
    this.cell = cell;
    place.append(this.box);
    this.canvas.setAttribute("aria-label", `${title}, unit cell in 3D; arrow keys turn it, plus and minus zoom.`);
    if (!this.gl && !this.start()) return;
    this.gl.resize();
    this.draw();
    this.lookAlong("reset");
  }

  start() {
    try {
      this.gl = $3Dmol.createViewer(this.canvas, { backgroundColor: colour("--panel"), antialias: true });
    } catch (error) {
      this.gl = null;
    }
    if (this.gl) {
      new ResizeObserver(() => this.gl.resize()).observe(this.canvas);
      darkScheme.addEventListener("change", () => this.draw());
    } else {
      this.canvas.textContent = "This browser cannot draw in 3D (WebGL is off). All figures stand below.";
    }
    return Boolean(this.gl);
  }

  toggle(button) {
    const name = button.dataset.toggle;
    this.shown[name] = !this.shown[name];
    button.setAttribute("aria-pressed", String(this.shown[name]));
    if (!this.gl) return;
    this.draw();
    if (name === "supercell") this.fit();
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
    let rows = [cross(y, z), y, z]; // one vector points at the reader, another one upwards
    if (which === "reset") rows = product(tilt(18), product(turn(-25), rows));
    this.gl.setView([0, 0, 0, 0, ...quaternion(rows)]);
    this.fit();
  }

  fit() {
    this.gl.zoomTo();
    this.gl.zoom(0.85 * Math.min(1, this.canvas.clientWidth / this.canvas.clientHeight));
    this.gl.render();
  }

  draw() {
    const { lattice, symbols, radii } = this.cell;
    const atoms = atomsOf(this.cell, this.shown.supercell ? 2 : 1);
    this.gl.clear();
    this.gl.setBackgroundColor(colour("--panel"));
    const model = this.gl.addModel();
    model.addAtoms(
      atoms.map((atom, serial) => ({
        elem: symbols[atom.site], serial, index: serial, x: atom.at[0], y: atom.at[1], z: atom.at[2],
        bonds: this.shown.bonds ? atom.bonds : [], bondOrder: this.shown.bonds ? atom.bonds.map(() => 1) : [],
      }))
    );
    for (const [symbol, radius] of Object.entries(radii))
      model.setStyle({ elem: symbol }, { sphere: { radius: 0.38 * radius, colorscheme: "Jmol" },
        ...(this.shown.bonds && { stick: { radius: 0.09, colorscheme: "Jmol" } }) });
    if (this.shown.labels && atoms.length <= 250) this.label(atoms);
    this.edges(lattice);
    this.gl.render();
  }

  label(atoms) {
    for (const atom of atoms) {
      const symbol = this.cell.symbols[atom.site];
      this.gl.addLabel(symbol, {
        position: { x: atom.at[0], y: atom.at[1], z: atom.at[2] }, inFront: true, alignment: "center",
        fontSize: 15, bold: true, fontColor: isLight($3Dmol.elementColors.Jmol[symbol]) ? "black" : "white", showBackground: false,
      });
    }
  }

  edges(lattice) {
    const line = colour("--ink");
    const corner = (i, j, k) => place([i, j, k], lattice);
    for (let axis = 0; axis < 3; axis++)
      for (const [p, q] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
        const from = [p, q];
        from.splice(axis, 0, 0);
        const to = [...from];
        to[axis] = 1;
        this.gl.addCylinder({ start: point(corner(...from)), end: point(corner(...to)), radius: 0.03, color: line });
      }
    ["a", "b", "c"].forEach((name, axis) => {
      const end = [0, 0, 0];
      end[axis] = 1 + 1.2 / length(lattice[axis]);
      this.gl.addLabel(name, { position: point(place(end, lattice)), fontColor: line, showBackground: false,
        fontSize: 16, inFront: true, alignment: "center" });
    });
  }
}

// Atoms of n x n x n cells, those on the faces on both sides, each with the numbers of those it is bonded to.
function atomsOf(cell, n) {
  const atoms = [];
  const numbers = new Map();
  const margin = 1e-3;
  cell.frac.forEach((frac, site) => {
    for (let i = -1; i <= n; i++)
      for (let j = -1; j <= n; j++)
        for (let k = -1; k <= n; k++) {
          const at = [frac[0] + i, frac[1] + j, frac[2] + k];
          if (at.some((x) => x < -margin || x > n + margin)) continue;
          numbers.set(`${site} ${i} ${j} ${k}`, atoms.length);
          atoms.push({ site, shift: [i, j, k], at: place(at, cell.lattice), bonds: [] });
        }
  });
  for (const [first, second, i, j, k] of cell.bonds)
    atoms.forEach((atom, number) => {
      if (atom.site !== first) return;
      const other = numbers.get(`${second} ${atom.shift[0] + i} ${atom.shift[1] + j} ${atom.shift[2] + k}`);
      if (other === undefined) return;
      atom.bonds.push(other);
      atoms[other].bonds.push(number);
    });
  return atoms;
}

const place = (frac, lattice) => [0, 1, 2].map((x) => frac.reduce((sum, f, row) => sum + f * lattice[row][x], 0));
const point = ([x, y, z]) => ({ x, y, z });
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const length = (a) => Math.sqrt(dot(a, a));
const times = (a, s) => a.map((x) => x * s);
const minus = (a, b) => a.map((x, i) => x - b[i]);
const unit = (a) => times(a, 1 / length(a));
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const product = (m, n) => m.map((row) => [0, 1, 2].map((j) => row[0] * n[0][j] + row[1] * n[1][j] + row[2] * n[2][j]));
const radians = (degrees) => (degrees * Math.PI) / 180;
const turn = (t) => [[Math.cos(radians(t)), 0, Math.sin(radians(t))], [0, 1, 0], [-Math.sin(radians(t)), 0, Math.cos(radians(t))]];
const tilt = (t) => [[1, 0, 0], [0, Math.cos(radians(t)), -Math.sin(radians(t))], [0, Math.sin(radians(t)), Math.cos(radians(t))]];
const isLight = (rgb) => 0.3 * ((rgb >> 16) & 255) + 0.59 * ((rgb >> 8) & 255) + 0.11 * (rgb & 255) > 130;

// Of a rotation matrix given by its rows.
function quaternion(m) {
  const candidates = [
    1 + m[0][0] - m[1][1] - m[2][2], 1 - m[0][0] + m[1][1] - m[2][2],
    1 - m[0][0] - m[1][1] + m[2][2], 1 + m[0][0] + m[1][1] + m[2][2],
  ];
  const best = candidates.indexOf(Math.max(...candidates));
  const s = 2 * Math.sqrt(candidates[best]);
  const x = m[2][1] - m[1][2], y = m[0][2] - m[2][0], z = m[1][0] - m[0][1];
  const xy = m[0][1] + m[1][0], xz = m[0][2] + m[2][0], yz = m[1][2] + m[2][1];
  return [[s / 4, xy / s, xz / s, x / s], [xy / s, s / 4, yz / s, y / s], [xz / s, yz / s, s / 4, z / s],
    [x / s, y / s, z / s, s / 4]][best];
}

const PLOTS = {
  descent: {
    title: "Latent descent", x: "Step", y: "Surrogate, eV/atom",
    rows: (drawing) => [drawing.descent.map((_, i) => i), drawing.descent],
    tell: (y) => `Predicted energy along latent descent: from ${y.at(0)} to ${y.at(-1)} eV/atom in ${y.length - 1} steps.`,
  },
  relaxation: {
    title: "Relaxation", x: "Evaluation", y: "Oracle, eV/atom",
    rows: (drawing) => [drawing.relaxation.map((_, i) => i), drawing.relaxation],
    tell: (y) => `Energy along the relaxation: from ${y.at(0)} to ${y.at(-1)} eV/atom in ${y.length} evaluations.`,
  },
  pattern: {
    title: "", x: "2θ, degrees", y: "Intensity", sticks: true,
    rows: (drawing) => [drawing.pattern.map((line) => line[0]), drawing.pattern.map((line) => line[1])],
    tell: (y) => `Powder pattern with ${y.length} lines; the strongest are listed below.`,
  },
};
const plots = [];
darkScheme.addEventListener("change", () => plots.forEach((plot) => plot.redraw(false)));

function drawPlot(place, drawing) {
  if (place.firstChild) return;
  const kind = PLOTS[place.dataset.plot];
  const rows = kind.rows(drawing);
  if (rows[0].length < (kind.sticks ? 1 : 2)) {
    place.hidden = true;
    return;
  }
  if (kind.title) place.append(Object.assign(document.createElement("h4"), { textContent: kind.title }));
  const box = Object.assign(document.createElement("div"), { className: "curve" });
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", kind.tell(rows[1]));
  place.append(box);
  const axis = (label, size) => ({
    label, size, stroke: () => colour("--ink"), grid: { stroke: () => colour("--grid"), width: 1 },
    ticks: { stroke: () => colour("--grid"), width: 1 }, font: "12px system-ui, sans-serif",
    labelFont: "12px system-ui, sans-serif", labelSize: 18,
  });
  const series = {
    label: kind.y, stroke: () => colour("--line"), width: 2, points: { show: !kind.sticks, size: 4, fill: () => colour("--line") },
    ...(kind.sticks && { paths: uPlot.paths.bars({ size: [0.5, 2] }), width: 0, fill: () => colour("--line") }),
  };
  const options = {
    width: box.clientWidth || 320, height: 200, scales: { x: { time: false, ...(kind.sticks && { range: [5, 90] }) },
      ...(kind.sticks && { y: { range: [0, 105] } }) },
    axes: [axis(kind.x, 34), axis(kind.y, 52)], series: [{ label: kind.x }, series],
    cursor: { drag: { x: true, y: false } }, legend: { live: true },
  };
  const plot = new uPlot(options, rows, box);
  plots.push(plot);
  new ResizeObserver(() => box.clientWidth && plot.setSize({ width: box.clientWidth, height: 200 })).observe(box);
}
