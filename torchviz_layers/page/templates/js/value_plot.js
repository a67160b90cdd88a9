// Predictions against true values as a plot of cells, which select their samples; in place of the confusion matrix.

import { choose, columns, isWrong, meta, scope, task } from "./state.js";
import { networks, predicted, rounded, truth } from "./residuals.js";
import { grouped, svg } from "./dom.js";

const BINS = [20, 12]; // across and up
const SIZE = { height: 176, left: 46, right: 8, top: 8, bottom: 22 };

/** What the axes can be: the true value and each network's prediction, in pairs. */
function plots() {
  const axis = (k) => ({ name: meta.networks[k].name, of: (sample) => predicted(k, sample), k });
  const across = { name: "truth", of: truth };
  const pairs = columns.value ? networks().map((k) => [across, axis(k)]) : [];
  if (networks().length === 2) pairs.push([axis(0), axis(1)]);
  return pairs.map(([a, b]) => ({ text: `across: ${a.name}, up: ${b.name}`, draw: (host) => drawPlot(host, a, b) }));
}

/** Visible samples, or those of the selection, by cell; those beyond the scale are in the cells at its ends. @returns {Map<string, number[]>} */
function cells(a, b) {
  const { low, high } = meta.valueScale;
  const bin = (value, count) => Math.min(count - 1, Math.max(0, Math.floor(((value - low) / (high - low)) * count)));
  const found = new Map();
  for (let sample = 0; sample < meta.n; sample++) {
    const [x, y] = [a.of(sample), b.of(sample)];
    if (!scope[sample] || Number.isNaN(x) || Number.isNaN(y)) continue;
    const key = `${bin(x, BINS[0])},${bin(y, BINS[1])}`;
    found.get(key)?.push(sample) ?? found.set(key, [sample]);
  }
  return found;
}

function drawPlot(host, a, b) {
  const width = Math.max(180, host.clientWidth);
  const { height, left, right, top, bottom } = SIZE;
  const { low, high } = meta.valueScale;
  const x = (value) => left + ((value - low) / (high - low)) * (width - left - right);
  const y = (value) => height - bottom - ((value - low) / (high - low)) * (height - top - bottom);
  const plot = svg("svg", { width, height, class: "plot", role: "group", "aria-label": `${b.name} against ${a.name}; move with the arrow keys` });
  const text = (value, attributes) => svg("text", { class: "tick", ...attributes }, value);
  plot.append(
    svg("rect", { class: "ground", x: left, y: top, width: width - left - right, height: height - top - bottom }),
    text(rounded(low), { x: left, y: height - 6 }),
    text(rounded(high), { x: width - right, y: height - 6, "text-anchor": "end" }),
    text(rounded(low), { x: left - 5, y: height - bottom, "text-anchor": "end" }),
    text(rounded(high), { x: left - 5, y: top + 10, "text-anchor": "end" }),
    text(a.name.length > 18 ? `${a.name.slice(0, 17)}…` : a.name, { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }),
    svg("line", { class: "diagonal", x1: x(low), y1: y(low), x2: x(high), y2: y(high) }),
  );
  const found = cells(a, b);
  const most = Math.max(1, ...[...found.values()].map((samples) => samples.length));
  const size = [(width - left - right) / BINS[0], (height - top - bottom) / BINS[1]];
  const step = BINS.map((count) => (high - low) / count);
  for (const [key, samples] of found) {
    const [column, row] = key.split(",").map(Number);
    const off = samples.filter((sample) => (a.k === undefined ? isWrong(b.k, sample) : task.differ(sample))).length;
    const name = `${a.name} ${span(low + column * step[0], step[0], column, BINS[0])}, ${b.name} ${span(low + row * step[1], step[1], row, BINS[1])}`;
    const select = () => choose(samples, name, false, "matrix");
    const cell = svg(
      "rect",
      {
        class: 2 * off > samples.length ? "cell off" : "cell",
        role: "button",
        "aria-label": `${name} (${grouped(samples.length)})`,
        x: left + column * size[0],
        y: height - bottom - (row + 1) * size[1],
        width: size[0],
        height: size[1],
        "fill-opacity": 0.25 + 0.75 * Math.sqrt(samples.length / most),
        onclick: select,
        onkeydown: (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          select();
        },
      },
      svg("title", {}, `${name} (${grouped(samples.length)})`),
    );
    cell.dataset.row = String(row);
    cell.dataset.column = String(column);
    plot.append(cell);
  }
  host.replaceChildren(plot);
}

/** The values of one cell; those at the ends have no limit. */
function span(from, step, number, count) {
  if (number === 0) return `below ${rounded(from + step)}`;
  if (number === count - 1) return `from ${rounded(from)}`;
  return `${rounded(from)} to ${rounded(from + step)}`;
}

/** The cells row by row, from the top. @returns {any[][]} */
function cellRows(host) {
  const rows = Array.from({ length: BINS[1] }, () => []);
  for (const cell of host.querySelectorAll(".cell")) rows[BINS[1] - 1 - Number(cell.dataset.row)].push(cell);
  for (const row of rows) row.sort((a, b) => Number(a.dataset.column) - Number(b.dataset.column));
  return rows.filter((row) => row.length);
}

if (meta.task === "regression") Object.assign(task, { stops: cellRows, tables: plots });
