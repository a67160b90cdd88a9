// The confusion matrix: counts of samples, whose cells select them; for many classes, its largest entries as a list.

import { choose, columns, meta, on, prediction, scope, state, task, truth } from "./state.js";
import { classifying, comparePair, pair } from "./pair.js";
import { explain } from "./why.js";
import { rovingTabindex } from "./roving_tabindex.js";
import { $, grouped, h, shortened } from "./dom.js";

const LARGEST_TABLE = 16;
const FEW = 5; // classes: their names have room beside the rows
const FEWEST = 3; // and above the columns, side by side
const LONGEST_LIST = 40;
const BEGINNING = 3; // letters of a heading that are seen at least
/** @type {(element?: any) => void} */
let stopAt;

/** The network of the enlarged layer; of the input, which all share, the one before. */
let shown = meta.networks.length - 1;

/**
 * What rows and columns can be: the true classes and the predictions of a network, first of the one whose layer is enlarged,
 * then the predictions of the two that are compared.
 */
function axes() {
  // A label that is chosen makes networks classify that did not at first.
  const all = meta.networks.map((_, k) => k).filter((k) => meta.networks[k].classifies);
  const compared = pair.chosen ? [pair.a, pair.b] : all;
  const predictions = compared.map((k) => ({ name: meta.networks[k].name, of: (sample) => prediction(k, sample), network: k }));
  const pairs = predictions.length === 2 && compared[0] !== compared[1] ? [[predictions[0], predictions[1]]] : [];
  if (!columns.target) return pairs;
  const right = { name: "truth", of: truth };
  const first = predictions.filter(({ network }) => network === shown);
  const others = predictions.filter(({ network }) => network !== shown);
  return [...[...first, ...others].map((each) => [right, each]), ...pairs];
}

export function buildMatrix() {
  if (!choices().length) return $("matrix-section").remove();
  shown = meta.panels[state.stage].network ?? shown;
  const show = () => {
    $("matrix").className = "";
    choices()[Math.max(0, $("matrix-choice").selectedIndex)].draw($("matrix"));
    stopAt();
  };
  const list = () => {
    const { selectedIndex, length } = $("matrix-choice");
    const options = choices().map(({ text }, k) => h("option", { value: String(k) }, text));
    $("matrix-choice").replaceChildren(...options);
    $("matrix-choice").selectedIndex = length === options.length ? selectedIndex : 0;
  };
  stopAt = rovingTabindex($("matrix"), () => task.stops?.($("matrix")) ?? stops());
  if (pair.chosen) buildChooser();
  $("matrix-choice").addEventListener("change", show);
  on("stage", () => {
    const { network } = meta.panels[state.stage];
    if (network === null || network === shown) return;
    shown = network;
    list();
    show();
  });
  on("why", () => {
    const wanted = choices().findIndex(({ text }) => state.why && text === byTrueClass(meta.networks[state.why.network]));
    if (wanted < 0 || wanted === $("matrix-choice").selectedIndex) return;
    $("matrix-choice").selectedIndex = wanted;
    show();
  });
  on("task", list); // a filter follows, which draws
  on("filter", show);
  on("scope", show);
  on("pair", () => (list(), show()));
  if (task.tables) new ResizeObserver(show).observe($("matrix"));
  list();
  show();
}

/** Two selects for the networks that are compared, and what one fixes of the other. */
function buildChooser() {
  const side = (key) => {
    const options = classifying.map((k) => h("option", { value: String(k) }, meta.networks[k].name));
    const select = h("select", { id: `pair-${key}`, "aria-label": `Network ${key.toUpperCase()}` }, ...options);
    select.value = String(pair[key]);
    select.addEventListener("change", () => comparePair({ [key]: Number(select.value) }));
    return h("label", {}, `${key.toUpperCase()} `, select);
  };
  $("pair").replaceChildren(side("a"), side("b"));
  $("pair").hidden = $("pair-story").hidden = false;
  on("pair", showStory);
  showStory();
}

/** "B fixes 12 of A’s 30 errors and makes 4 of its own; they differ on 20.": each number selects its samples. */
function showStory() {
  const { a, b } = pair;
  if (a === b) return $("pair-story").replaceChildren("Choose two networks to compare them.");
  const number = (name) => {
    const samples = columns[`subset-${name}`];
    const { label } = meta.subsets.find((subset) => subset.name === name);
    const show = { class: "number", title: `Select: ${label}`, onclick: () => choose(samples, label) };
    return h("button", show, grouped(samples.length));
  };
  const differ = ["they differ on ", number("differ"), "."];
  if (!columns.target) return $("pair-story").replaceChildren("A and B: ", ...differ);
  const errors = number(`wrong-${a}`);
  $("pair-story").replaceChildren(
    ...["B fixes ", number("only-a"), " of A’s ", errors, " errors and makes ", number("only-b"), " of its own; ", ...differ],
  );
}

const byTrueClass = ({ name }) => `${name}’s predictions by true class`;

/** What can be shown: matrices of two networks or of one against the truth, and the tables of the task. */
function choices() {
  const matrices = axes().map(([a, b]) => ({
    text: a.network === undefined ? byTrueClass(b) : `${a.name} against ${b.name}`,
    draw: () => showMatrix(a, b),
  }));
  return [...matrices, ...(task.tables?.() ?? [])];
}

/** Visible samples, or those of the selection, by cell. @returns {Map<number, number[]>} */
function cells(a, b) {
  const found = new Map();
  for (let sample = 0; sample < meta.n; sample++) {
    if (!scope[sample] || a.of(sample) === null) continue; // no truth: an unlabelled sample
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
  const axes = meta.classes.length <= LARGEST_TABLE ? h("p", { id: "matrix-axes", class: "quiet", "aria-hidden": "true" }, axesOf(a, b)) : "";
  $("matrix").replaceChildren(axes, draw(a, b, found));
}

/** Where the arrow keys stop, by row: the buttons of the cells, or empty cells themselves; or the entries of the list. */
function stops() {
  const lines = $("matrix").querySelectorAll("tbody tr, li");
  return [...lines].map((line) => [...line.querySelectorAll("button, td:empty")]).filter((line) => line.length);
}

const described = (a, b, row, column) => `${a.name}: ${meta.classes[row]}, ${b.name}: ${meta.classes[column]}`;

function chooser(a, b, row, column, members) {
  const text = described(a, b, row, column);
  return {
    title: `${text} (${grouped(members.length)})`,
    "aria-label": `${text} (${counted(members.length)})`,
    onclick: () =>
      a.network === undefined && row !== column ? explain(b.network, row, column) : choose(members, text, false, "matrix"),
  };
}

const rowsAndColumns = (a, b) => `rows: ${a.network === undefined ? "true class" : a.name}, columns: ${b.name}`;

/** The same for the eye, in a line: "rows: truth · columns: LeNet60". */
const axesOf = (a, b) => `rows: ${a.name} · columns: ${b.name}`;

const counted = (count) => (count === 1 ? "1 sample" : `${grouped(count)} samples`);

/** A name that is cut in its middle where there is no room. */
const parts = (name) => h("span", { class: "parts" }, ...shortened(name));

/** Whether names are told apart by the few letters that a narrow heading begins with. */
const differAtStart = () => new Set(meta.classes.map((name) => name.slice(0, BEGINNING))).size === meta.classes.length;

function table(a, b, found) {
  const size = meta.classes.length;
  const looks = [meta.classes.some((name) => name.length > 2) ? "worded" : "", size <= FEW ? "few" : "", size <= FEWEST ? "fewest" : ""];
  const heading = differAtStart() ? (name) => name : parts;
  const most = Math.max(
    1,
    ...[...found].filter(([cell]) => Math.floor(cell / size) !== cell % size).map(([, members]) => members.length),
  );
  const head = h(
    "tr",
    {},
    h("th", { class: "corner", title: rowsAndColumns(a, b) }, h("span", { class: "hidden" }, rowsAndColumns(a, b))),
    ...meta.classes.map((name) => h("th", { scope: "col", title: name }, heading(name))),
  );
  const lines = meta.classes.map((name, row) => {
    const line = h("tr", {}, h("th", { scope: "row", title: name }, heading(name)));
    for (let column = 0; column < size; column++)
      line.append(cell(a, b, row, column, found.get(row * size + column), most));
    return line;
  });
  return h(
    "table",
    {
      class: looks.filter(Boolean).join(" "),
      role: "grid",
      "aria-label": `${rowsAndColumns(a, b)}; move with the arrow keys`,
    },
    h("thead", {}, head),
    h("tbody", {}, ...lines),
  );
}

function cell(a, b, row, column, members, most) {
  const entry = h("td", { class: row === column ? "same" : "" });
  if (!members) return emptyCell(entry, a, b, row, column);
  const button = h("button", chooser(a, b, row, column, members), String(members.length));
  if (row !== column) button.style.setProperty("--share", String(0.12 + 0.88 * Math.sqrt(members.length / most)));
  entry.append(button);
  return entry;
}

/** Of a network against the truth, a cell beside the diagonal shows the border between its classes without errors, too. */
function emptyCell(entry, a, b, row, column) {
  const text = `${described(a, b, row, column)} (no samples)`;
  if (a.network !== undefined || row === column) {
    entry.setAttribute("aria-label", text);
    return entry;
  }
  const title = `${text}; shows the samples nearest to this border`;
  entry.append(h("button", { title, "aria-label": title, onclick: () => explain(b.network, row, column) }));
  return entry;
}

function list(a, b, found) {
  const size = meta.classes.length;
  const off = [...found]
    .filter(([cell]) => Math.floor(cell / size) !== cell % size)
    .sort((x, y) => y[1].length - x[1].length);
  const entries = off.slice(0, LONGEST_LIST).map(([cell, members]) => {
    const [row, column] = [Math.floor(cell / size), cell % size];
    // Named by its own text, which is all that a reader of the screen could say to it.
    const { "aria-label": _, ...named } = chooser(a, b, row, column, members);
    return h(
      "li",
      {},
      h(
        "button",
        named,
        h("b", {}, grouped(members.length)),
        parts(meta.classes[row]),
        h("span", {}, " → "),
        parts(meta.classes[column]),
      ),
    );
  });
  return h("ol", { class: "pairs" }, ...entries);
}
