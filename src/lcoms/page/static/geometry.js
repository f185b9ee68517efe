// Vectors, and the atoms, bonds, edges and polyhedra of cells. Lattice vectors are rows, in angstrom, as in the package.
"use strict";

const place = (frac, lattice) => [0, 1, 2].map((x) => frac.reduce((sum, f, row) => sum + f * lattice[row][x], 0));
const point = ([x, y, z]) => ({ x, y, z });
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const length = (a) => Math.sqrt(dot(a, a));
const times = (a, s) => a.map((x) => x * s);
const minus = (a, b) => a.map((x, i) => x - b[i]);
const plus = (a, b) => a.map((x, i) => x + b[i]);
const unit = (a) => times(a, 1 / length(a));
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const product = (m, n) => m.map((row) => [0, 1, 2].map((j) => row[0] * n[0][j] + row[1] * n[1][j] + row[2] * n[2][j]));
const radians = (degrees) => (degrees * Math.PI) / 180;
const turn = (t) => [[Math.cos(radians(t)), 0, Math.sin(radians(t))], [0, 1, 0], [-Math.sin(radians(t)), 0, Math.cos(radians(t))]];
const tilt = (t) => [[1, 0, 0], [0, Math.cos(radians(t)), -Math.sin(radians(t))], [0, Math.sin(radians(t)), Math.cos(radians(t))]];

// Quaternion of a rotation matrix given by its rows.
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

// The bonds of each site: the other site and the lattice vector by which it is shifted.
function bondsBySite(cell) {
  const bySite = cell.symbols.map(() => []);
  for (const [first, second, i, j, k] of cell.bonds) {
    bySite[first].push({ site: second, shift: [i, j, k] });
    bySite[second].push({ site: first, shift: [-i, -j, -k] });
  }
  return bySite;
}

// Atoms of n x n x n cells, each with the indices of those it is bonded to.
// boundary: repeat atoms on opposite faces; corners: include corners of polyhedra outside the cells.
function atomsOf(cell, n, { boundary, corners }) {
  const atoms = [];
  const numbers = new Map();
  const bonds = bondsBySite(cell);
  const margin = 1e-3;
  const add = (site, shift) => {
    const key = `${site} ${shift.join(" ")}`;
    if (numbers.has(key)) return;
    numbers.set(key, atoms.length);
    atoms.push({ site, shift, at: place(plus(cell.frac[site], shift), cell.lattice), bonds: [] });
  };
  cell.frac.forEach((frac, site) => {
    for (let i = -1; i <= n; i++)
      for (let j = -1; j <= n; j++)
        for (let k = -1; k <= n; k++) {
          const at = plus(frac, [i, j, k]);
          if (at.every((x) => x >= -margin && x <= (boundary ? n + margin : n - margin))) add(site, [i, j, k]);
        }
  });
  if (corners)
    for (const atom of [...atoms])
      if (cell.centres.includes(atom.site))
        for (const bond of bonds[atom.site]) add(bond.site, plus(atom.shift, bond.shift));
  for (const atom of atoms)
    for (const bond of bonds[atom.site]) {
      const other = numbers.get(`${bond.site} ${plus(atom.shift, bond.shift).join(" ")}`);
      if (other !== undefined) atom.bonds.push(other);
    }
  return atoms;
}

// Edges of n x n x n cells: straight through all of them.
function edgesOf(lattice, n) {
  const edges = [];
  for (let axis = 0; axis < 3; axis++)
    for (let p = 0; p <= n; p++)
      for (let q = 0; q <= n; q++) {
        const from = [p, q];
        from.splice(axis, 0, 0);
        const to = [...from];
        to[axis] = n;
        edges.push([place(from, lattice), place(to, lattice)]);
      }
  return edges;
}

// Triangles of the convex hull of a few points, as triples of indices.
function hullOf(points) {
  const found = new Map();
  for (let i = 0; i < points.length; i++)
    for (let j = i + 1; j < points.length; j++)
      for (let k = j + 1; k < points.length; k++) {
        const across = cross(minus(points[j], points[i]), minus(points[k], points[i]));
        if (length(across) < 1e-3) continue;
        const normal = unit(across);
        const heights = points.map((p) => dot(minus(p, points[i]), normal));
        const [low, high] = [Math.min(...heights), Math.max(...heights)];
        if (low < -0.02 && high > 0.02) continue; // points on both sides
        const face = heights.flatMap((h, number) => (Math.abs(h) <= 0.02 ? [number] : []));
        if (face.length === points.length) continue; // flat
        if (!found.has(face.join())) found.set(face.join(), around(face, points, high > 0.02 ? times(normal, -1) : normal));
      }
  return [...found.values()].flatMap((face) => face.slice(2).map((last, at) => [face[0], face[at + 1], last]));
}

// Corners of a flat face, ordered around its outward normal.
function around(face, points, normal) {
  const middle = times(face.reduce((sum, number) => plus(sum, points[number]), [0, 0, 0]), 1 / face.length);
  const x = unit(minus(points[face[0]], middle));
  const y = cross(normal, x);
  const angle = (number) => Math.atan2(dot(minus(points[number], middle), y), dot(minus(points[number], middle), x));
  return [...face].sort((a, b) => angle(a) - angle(b));
}

// Triangles of the polyhedra around the atoms of each element: flat lists of corners and normals.
function polyhedraOf(cell, atoms) {
  const bonds = bondsBySite(cell);
  const hulls = new Map(
    cell.centres.map((site) => {
      const ways = bonds[site].map((b) => minus(place(plus(cell.frac[b.site], b.shift), cell.lattice), place(cell.frac[site], cell.lattice)));
      return [site, hullOf(ways).map((triangle) => triangle.map((number) => ways[number]))];
    })
  );
  const meshes = new Map();
  for (const atom of atoms) {
    if (!hulls.has(atom.site) || atom.bonds.length < bonds[atom.site].length) continue;
    const symbol = cell.symbols[atom.site];
    if (!meshes.has(symbol)) meshes.set(symbol, { corners: [], normals: [] });
    const mesh = meshes.get(symbol);
    for (const triangle of hulls.get(atom.site)) {
      const normal = unit(cross(minus(triangle[1], triangle[0]), minus(triangle[2], triangle[0])));
      for (const corner of triangle) {
        mesh.corners.push(plus(atom.at, corner));
        mesh.normals.push(normal);
      }
    }
  }
  return meshes;
}
