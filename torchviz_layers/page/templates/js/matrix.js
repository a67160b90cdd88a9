// The confusion matrix: counts of samples, whose cells select them; for many classes, its largest entries as a list.

import { choose, columns, meta, on, prediction, visible } from "./state.js";
import { rovingTabindex } from "./roving_tabindex.js";
import { $, grouped, h } from "./dom.js";

const LARGEST_TABLE = 16;
const LONGEST_LIST = 40;
/** @type {(element?: any) => void} */
let stopAt;

/** What rows and columns can be: the true classes and each network's predictions, in pairs. */
function axes() {
  const predictions = meta.networks
    .map((network, k) => ({
      name: network.name,
      of: (sample) => prediction(k, sample),
      ok: network.classifies,
    }))
    .filter(({ ok }) => ok);
  const truth = columns.target ? { name: "truth", of: (sample) => columns.target[sample] } : null;
  const pairs = predictions.length === 2 ? [[predictions[0], predictions[1]]] : [];
  if (truth) pairs.push(...predictions.map((each) => [truth, each]));
  return pairs;
}

export function buildMatrix() {
  const pairs = axes();
  if (!pairs.length) return $("matrix-section").remove();
  pairs.forEach(([a, b], k) =>
    $("matrix-choice").append(h("option", { value: String(k) }, `rows: ${a.name}, columns: ${b.name}`)),
  );
  stopAt = rovingTabindex($("matrix"), stops);
  const show = () => showMatrix(...pairs[Number($("matrix-choice").value)]);
  $("matrix-choice").addEventListener("change", show);
  on("filter", show);
  show();
}

/** Visible samples by cell. @returns {Map<number, number[]>} */
function cells(a, b) {
  const found = new Map();
  for (let sample = 0; sample < meta.n; sample++) {
    if (!visible[sample]) continue;
    const cell = a.of(sample) * meta.classes.length + b.of(sample);
    const members = found.get(cell);
    if (members) members.push(sample);
    else found.set(cell, [sample]);
  }
  return found;
}

function showMatrix(a, b) {
  const found = cells(a, b);
  const draw = meta.classes.length <= LARGEST_TABLE ? table : list;
  $("matrix").replaceChildren(draw(a, b, found));
  stopAt();
}

/** Where the arrow keys stop, by row: the buttons of the cells, or empty cells themselves; or the entries of the list. */
function stops() {
  const lines = $("matrix").querySelectorAll("tbody tr, li");
  return [...lines].map((line) => [...line.querySelectorAll("button, td:empty")]);
}

const described = (a, b, row, column) => `${a.name}: ${meta.classes[row]}, ${b.name}: ${meta.classes[column]}`;

function chooser(a, b, row, column, members) {
  const text = described(a, b, row, column);
  return {
    title: `${text} (${grouped(members.length)})`,
    "aria-label": `${text} (${counted(members.length)})`,
    onclick: () => choose(members, text),
  };
}

const counted = (count) => (count === 1 ? "1 sample" : `${grouped(count)} samples`);

function table(a, b, found) {
  const size = meta.classes.length;
  const most = Math.max(
    1,
    ...[...found].filter(([cell]) => Math.floor(cell / size) !== cell % size).map(([, members]) => members.length),
  );
  const head = h(
    "tr",
    {},
    h("th", { class: "corner", title: `rows: ${a.name}, columns: ${b.name}` }, ""),
    ...meta.classes.map((name) => h("th", { scope: "col", title: name }, name)),
  );
  const lines = meta.classes.map((name, row) => {
    const line = h("tr", {}, h("th", { scope: "row", title: name }, name));
    for (let column = 0; column < size; column++)
      line.append(cell(a, b, row, column, found.get(row * size + column), most));
    return line;
  });
  return h(
    "table",
    {
      class: meta.classes.some((name) => name.length > 2) ? "worded" : "",
      role: "grid",
      "aria-label": `rows: ${a.name}, columns: ${b.name}; move with the arrow keys`,
    },
    h("thead", {}, head),
    h("tbody", {}, ...lines),
  );
}

function cell(a, b, row, column, members, most) {
  const entry = h("td", { class: row === column ? "same" : "" });
  if (!members) {
    entry.setAttribute("aria-label", `${described(a, b, row, column)} (no samples)`);
    return entry;
  }
  const button = h("button", chooser(a, b, row, column, members), String(members.length));
  if (row !== column) button.style.setProperty("--share", String(0.12 + 0.88 * Math.sqrt(members.length / most)));
  entry.append(button);
  return entry;
}

function list(a, b, found) {
  const size = meta.classes.length;
  const off = [...found]
    .filter(([cell]) => Math.floor(cell / size) !== cell % size)
    .sort((x, y) => y[1].length - x[1].length);
  const entries = off.slice(0, LONGEST_LIST).map(([cell, members]) => {
    const [row, column] = [Math.floor(cell / size), cell % size];
    return h(
      "li",
      {},
      h(
        "button",
        chooser(a, b, row, column, members),
        h("b", {}, grouped(members.length)),
        h("span", {}, ` ${meta.classes[row]} → ${meta.classes[column]}`),
      ),
    );
  });
  return h("ol", { class: "pairs" }, ...entries);
}
