// Curves and powder patterns by uPlot.
"use strict";

const PLOTS = {
  descent: {
    title: "Latent descent", x: "Step", y: "Surrogate, eV/atom", data: (drawing) => curve(drawing.descent),
    tell: ([, y]) => `Predicted energy along latent descent: from ${y.at(0)} to ${y.at(-1)} eV/atom in ${y.length - 1} steps.`,
  },
  relaxation: {
    title: "Relaxation", x: "Evaluation", y: "Energy, eV/atom", data: (drawing) => curve(drawing.relaxation),
    tell: ([, y]) => `Energy along the relaxation: from ${y.at(0)} to ${y.at(-1)} eV/atom in ${y.length} evaluations.`,
    pressed: {
      y: "Enthalpy, eV/atom",
      tell: ([, y]) => `Enthalpy along the relaxation: from ${y.at(0)} to ${y.at(-1)} eV/atom in ${y.length} evaluations.`,
    },
  },
  pattern: {
    title: "", x: "2θ, degrees", y: "Intensity", pattern: true, data: (drawing) => patternData(drawing),
    tell: ([x]) => `Powder pattern from ${x.at(0)} to ${x.at(-1)} degrees; the strongest lines are listed below.`,
  },
};
const NAMED = 12; // lines of a pattern whose indices are shown
const HEIGHT = { curve: 200, pattern: 280 };
const plots = new Map(); // by their place on the page
darkScheme.addEventListener("change", () => redrawPlots());

const curve = (energies) => [energies.map((_, i) => i), energies];
const redrawPlots = () => plots.forEach((plot) => plot.redraw(false));

// Only lines; or, if a pattern was measured, the pattern, the fit, their difference, and lines as ticks below.
function patternData({ pattern, measured, loaded }) {
  if (measured) {
    const scale = 100 / Math.max(...measured.observed);
    const [observed, fit] = [measured.observed, measured.fit].map((counts) => counts.map((y) => y * scale));
    return [measured.two_theta, observed, fit, observed.map((y, i) => y - fit[i] - 20)];
  }
  if (loaded) {
    const scale = 100 / Math.max(...loaded.map((row) => row[1]));
    return [loaded.map((row) => row[0]), loaded.map((row) => row[1] * scale)];
  }
  return [pattern.map((line) => line[0]), pattern.map((line) => line[1])];
}

function drawPlot(place, drawing) {
  if (plots.has(place)) return;
  const usual = PLOTS[place.dataset.plot];
  const kind = drawing.pressed ? { ...usual, ...usual.pressed } : usual;
  const data = kind.data(drawing);
  if (data[0].length < (kind.pattern ? 1 : 2)) {
    place.hidden = true;
    return;
  }
  place.replaceChildren();
  if (kind.title) place.append(Object.assign(document.createElement("h4"), { textContent: kind.title }));
  const box = Object.assign(document.createElement("div"), { className: "curve" });
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", kind.tell(data));
  place.append(box);
  const height = kind.pattern ? HEIGHT.pattern : HEIGHT.curve;
  const plot = new uPlot({ width: box.clientWidth || 320, height, ...optionsOf(kind, drawing, data) }, data, box);
  plots.set(place, plot);
  new ResizeObserver(() => box.clientWidth && plot.setSize({ width: box.clientWidth, height })).observe(box);
}

function renewPlot(place, drawing) {
  plots.get(place)?.destroy();
  plots.delete(place);
  drawPlot(place, drawing);
}

function optionsOf(kind, drawing, data) {
  const axis = (label, size, more) => ({
    label, size, stroke: () => colour("--ink"), grid: { stroke: () => colour("--grid"), width: 1 },
    ticks: { stroke: () => colour("--grid"), width: 1 }, font: "12px system-ui, sans-serif",
    labelFont: "12px system-ui, sans-serif", labelSize: 18, ...more,
  });
  const common = {
    cursor: { drag: { x: true, y: false } }, legend: { show: Boolean(kind.pattern) }, padding: [kind.pattern ? 24 : 8, 8, 0, 0] };
  if (!kind.pattern)
    return { ...common, scales: { x: { time: false } }, axes: [axis(kind.x, 34), axis(kind.y, 56)],
      series: [{ label: kind.x }, line(kind.y, "--line", { points: { show: true, size: 4, fill: () => colour("--line") } })] };
  const profile = drawing.measured || drawing.loaded;
  const low = drawing.measured ? -35 : drawing.loaded ? -12 : 0;
  const positive = { values: (_, splits) => splits.map((y) => (y < 0 ? "" : y)) };
  const range = profile ? [data[0].at(0), data[0].at(-1)] : [5, 90];
  return {
    ...common, scales: { x: { time: false, range: (_, a, b) => (a === data[0].at(0) && b === data[0].at(-1) ? range : [a, b]) }, y: { range: [low, 105] } },
    axes: [axis(kind.x, 34), axis(kind.y, 52, positive)],
    series: [{ label: "2θ", value: (_, x) => (x == null ? "--" : x.toFixed(2)) }, ...(profile ? profiles(drawing) : sticks(drawing))],
    hooks: { draw: [(plot) => { if (profile) drawTicks(plot, drawing, low); nameLines(plot, drawing); }] },
  };
}

const line = (label, name, more) => ({
  label, stroke: () => colour(name), width: 2, points: { show: false },
  value: (_, y) => (y == null ? "--" : String(Number(y.toFixed(3)))), ...more,
});

function sticks({ pattern }) {
  const value = (plot, y, _, i) => (i == null ? "--" : `${y.toFixed(1)}, hkl ${pattern[i][2]}`);
  return [line("Intensity", "--line", { paths: uPlot.paths.bars({ size: [0.5, 2] }), width: 0, fill: () => colour("--line"), value })];
}

function profiles({ measured }) {
  if (!measured) return [line("Measured", "--measured", { width: 1 })];
  return [line("Measured", "--measured", { paths: () => null, points: { show: true, size: 3, width: 1 } }), line("Fit", "--line", { width: 1.5 }), line("Difference", "--soft", { width: 1,
    value: (_, y) => (y == null ? "--" : (y + 20).toFixed(1)) })];
}

const linesOf = ({ pattern, measured }) => measured?.lines ?? pattern;

// The lines of the crystal below a measured profile.
function drawTicks(plot, drawing, low) {
  const { ctx } = plot;
  const [top, bottom] = drawing.measured ? [-3, -9] : [-2, low + 2];
  ctx.save();
  ctx.strokeStyle = colour("--line");
  ctx.lineWidth = devicePixelRatio;
  ctx.beginPath();
  for (const [x] of linesOf(drawing)) {
    if (x < plot.scales.x.min || x > plot.scales.x.max) continue;
    const at = plot.valToPos(x, "x", true);
    ctx.moveTo(at, plot.valToPos(top, "y", true));
    ctx.lineTo(at, plot.valToPos(bottom, "y", true));
  }
  ctx.stroke();
  ctx.restore();
}

// Height of a line: its own, or that of the measured profile around it.
function heightAt(plot, x, height) {
  const [angles, counts] = plot.data;
  if (plot.series.length === 2 && plot.series[1].label === "Intensity") return height;
  return angles.reduce((most, angle, i) => (Math.abs(angle - x) < 0.3 ? Math.max(most, counts[i]) : most), 0);
}

// Indices over the strongest lines in view, as long as they do not overlap.
function nameLines(plot, drawing) {
  const { ctx } = plot;
  const inside = linesOf(drawing).filter(([x]) => x >= plot.scales.x.min && x <= plot.scales.x.max);
  const taken = [];
  const high = 13 * devicePixelRatio;
  ctx.save();
  ctx.fillStyle = colour("--ink");
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textAlign = "center";
  for (const [x, height, planes] of inside.sort((a, b) => b[1] - a[1]).slice(0, NAMED)) {
    const text = planes.split(",")[0].replace(/[()]/g, "");
    const half = ctx.measureText(text).width / 2 + 3 * devicePixelRatio;
    const at = Math.min(Math.max(plot.valToPos(x, "x", true), plot.bbox.left + half), plot.bbox.left + plot.bbox.width - half);
    const level = plot.valToPos(Math.min(heightAt(plot, x, height), 104), "y", true) - 4 * devicePixelRatio;
    if (taken.some(([from, to, other]) => at + half > from && at - half < to && Math.abs(level - other) < high)) continue;
    taken.push([at - half, at + half, level]);
    ctx.fillText(text, at, level);
  }
  ctx.restore();
  plot.root.dataset.named = taken.length;
}

// The pattern as comma-separated values: the lines, or the measured and fitted profile.
function patternText({ pattern, measured }) {
  if (!measured)
    return ["two_theta_deg,intensity,d_angstrom,hkl", ...pattern.map(([x, y, hkl, d]) => `${x},${y},${d},"${hkl}"`)].join("\n") + "\n";
  const rows = measured.two_theta.map((x, i) => `${x},${measured.observed[i]},${measured.fit[i]}`);
  return ["two_theta_deg,measured,fitted", ...rows].join("\n") + "\n";
}

// Angles and counts from a text of two or more columns; other lines, such as headings, are skipped.
function readPattern(text) {
  const rows = text.split(/\r?\n/).map((row) => row.trim().split(/[\s,;]+/).map(Number));
  const found = rows.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y) && x >= 0 && x <= 180);
  found.sort((a, b) => a[0] - b[0]);
  return found.length >= 10 && found.some(([, y]) => y > 0) ? found : null;
}
