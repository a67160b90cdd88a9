// Which classes are shown: a chip for each or, of many, a list with a search; and how many samples each has and each subset.

import { BY_CLASS, BY_SUBSET, columns, filter, hiddenBy, label, meta, on, state, unlabelled } from "./state.js";
import { selectedFlags } from "./facets.js";
import { rovingTabindex } from "./roving_tabindex.js";
import { $, grouped, h } from "./dom.js";

const MOST_CHIPS = 12;
const MOST_TOKENS = 4;
const LONGEST_NAME = 22; // letters of a name in the list and in a token

/** A name cut in its middle: names of classes often differ at their ends. @param {string} name @param {number} [longest] */
export function cut(name, longest = LONGEST_NAME) {
  if (name.length <= longest) return name;
  const end = Math.floor((longest - 1) / 2);
  return `${name.slice(0, longest - 1 - end)}…${name.slice(-end)}`;
}

/** Name and title of each class and, behind them, of the samples without a label. */
function classesShown() {
  const shown = meta.classes.map((name) => [name, name]);
  if (unlabelled) shown.push(["unlabelled", "Samples without a label"]);
  return shown;
}

const colorOf = (code) => meta.colors[code] ?? "var(--ink)";

/** Samples of each class that the other filters leave, all or the flagged. @param {Uint8Array | null} [flags] @returns {Uint32Array} */
function classCounts(flags = null) {
  const counts = new Uint32Array(meta.classes.length + 1);
  for (let sample = 0; sample < meta.n; sample++)
    if (!(hiddenBy[sample] & ~BY_CLASS) && (!flags || flags[sample])) counts[label(sample)]++;
  return counts;
}

/** Samples of a subset that the other filters leave. @param {string} name "all" or a subset's */
export function subsetCount(name) {
  let count = 0;
  if (name === "all") for (let sample = 0; sample < meta.n; sample++) count += hiddenBy[sample] & ~BY_SUBSET ? 0 : 1;
  else for (const sample of columns[`subset-${name}`]) count += hiddenBy[sample] & ~BY_SUBSET ? 0 : 1;
  return count;
}

export function buildChips() {
  rovingTabindex($("chips"), () => [[...$("chips").querySelectorAll(".chip")]]);
  showChips();
  on("task", showChips);
  on("selection", refresh); // after each filter, too
}

const manyClasses = () => classesShown().length > MOST_CHIPS;

function showChips() {
  $("chips").replaceChildren();
  $("chips").hidden = !classesShown().length;
  $("chips").classList.toggle("listed", manyClasses());
  $("chips").setAttribute("role", manyClasses() ? "group" : "toolbar");
  $("chips").setAttribute("aria-label", manyClasses() ? "Classes" : "Classes; move with the arrow keys");
  $("chips").append(...(manyClasses() ? [list(), h("span", { class: "class-tokens" })] : classesShown().map(chip)));
  refresh();
}

function chip([name, title], code) {
  const button = h("button", {
    class: "chip",
    "aria-pressed": "true",
    // The second click of a double click finds the class flipped once, and then alone.
    onclick: (event) => (event.shiftKey || event.altKey ? only(code) : event.detail === 2 ? only(code, true) : flip(code)),
  });
  button.append(h("i", { class: "dot" }), h("span", { class: "name" }, name), h("b"));
  button.style.setProperty("--c", colorOf(code));
  button.tabIndex = code ? -1 : 0;
  button.dataset.title = title;
  return button;
}

function refresh() {
  const left = classCounts();
  const flags = selectedFlags();
  // With a selection the counts are its own. Whatever is counted has as much room: the chips keep their places.
  const counts = flags ? classCounts(flags) : left;
  const all = new Uint32Array(meta.classes.length + 1);
  for (let sample = 0; sample < meta.n; sample++) all[label(sample)]++;
  $("chips").classList.toggle("of-selection", flags !== null);
  if (manyClasses()) return refreshList(counts);
  [...$("chips").children].forEach((button, code) => {
    const written = flags ? `${grouped(counts[code])} selected of ${grouped(left[code])}` : grouped(left[code]);
    button.setAttribute("aria-pressed", String(!state.hidden.has(code)));
    button.classList.toggle("without", flags !== null && !counts[code]);
    button.lastChild.textContent = grouped(counts[code]);
    button.lastChild.style.minWidth = `${grouped(all[code]).length}ch`;
    button.title = `${button.dataset.title}: ${written} (double click: this class alone)`;
  });
}

function flip(code) {
  const hidden = new Set(state.hidden);
  if (!hidden.delete(code)) hidden.add(code);
  filter({ hidden });
}

/** Show one class alone or, if it is already alone, all classes. @param {boolean} [doubled] at the end of a double click */
function only(code, doubled = false) {
  const others = classesShown()
    .map((_, k) => k)
    .filter((k) => k !== code);
  // The first click of a double click has flipped the class: alone before means that now all are hidden.
  const alone = others.every((k) => state.hidden.has(k)) && (doubled ? state.hidden.has(code) : !state.hidden.has(code));
  filter({ hidden: new Set(alone ? [] : others) });
}

/** The list of many classes */

function list() {
  const find = h("input", { type: "search", placeholder: "Find a class", "aria-label": "Find a class", class: "find-class" });
  const entries = classesShown().map(([name, title], code) => entry(name, title, code));
  find.addEventListener("input", () => narrow(entries, find.value));
  const all = h("button", { class: "small", onclick: () => filter({ hidden: hiddenAfter(entries, false) }) }, "All");
  const none = h("button", { class: "small", onclick: () => filter({ hidden: hiddenAfter(entries, true) }) }, "None");
  const body = h("div", { class: "class-list", role: "group", "aria-label": "Which classes are shown" }, ...entries);
  const panel = h("div", { class: "class-panel" }, h("div", { class: "bar" }, find, all, none), body);
  const box = h("details", { id: "classes" }, h("summary", {}, h("span"), " ", h("b")), panel);
  box.addEventListener("toggle", () => box.open && find.focus());
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !box.open) return;
    event.stopPropagation(); // the selection stays
    box.open = false;
    box.firstElementChild.focus();
  });
  addEventListener("click", (event) => {
    if (!event.composedPath().includes(box)) box.open = false;
  });
  return box;
}

/** All and None mean the classes that the search in the list leaves. @param {any[]} entries @param {boolean} hide */
function hiddenAfter(entries, hide) {
  const hidden = new Set(state.hidden);
  entries.forEach((entry, code) => {
    if (entry.hidden) return;
    if (hide) hidden.add(code);
    else hidden.delete(code);
  });
  return hidden;
}

function narrow(entries, text) {
  const words = text.toLowerCase().split(/\s+/);
  entries.forEach((entry, code) => {
    const name = classesShown()[code][0].toLowerCase();
    entry.hidden = !words.every((word) => name.includes(word));
  });
}

function entry(name, title, code) {
  const box = h("input", { type: "checkbox", checked: true });
  box.addEventListener("change", () => flip(code));
  const dot = h("i", { class: "dot" });
  dot.style.setProperty("--c", colorOf(code));
  const text = h("label", { title }, box, dot, h("span", { class: "name" }, cut(name)), h("b"));
  text.addEventListener("dblclick", () => only(code));
  const alone = { class: "small", "aria-label": `only ${name}`, title: `${title}: this class alone`, onclick: () => only(code) };
  return h("div", { class: "class-entry" }, text, h("button", alone, "only"));
}

function refreshList(counts) {
  const shown = classesShown();
  [...$("chips").querySelectorAll(".class-entry")].forEach((entry, code) => {
    entry.querySelector("input").checked = !state.hidden.has(code);
    entry.querySelector("b").textContent = grouped(counts[code]);
  });
  const left = shown.length - state.hidden.size;
  const [title, count] = $("classes").firstElementChild.children;
  title.textContent = `${grouped(meta.classes.length)} classes`;
  count.textContent = state.hidden.size ? `${grouped(left)} shown` : "";
  $("chips").lastElementChild.replaceChildren(...tokens(shown, left));
}

/** The classes that are shown, or those that are not, whichever are fewer; a click takes one away. */
function tokens(shown, left) {
  if (!state.hidden.size) return [];
  const isOn = left <= state.hidden.size;
  const codes = shown.map((_, code) => code).filter((code) => state.hidden.has(code) !== isOn);
  const made = codes.slice(0, MOST_TOKENS).map((code) => {
    const [name, title] = shown[code];
    const does = isOn ? `Hide ${title}` : `Show ${title} again`;
    const dot = h("i", { class: "dot" });
    dot.style.setProperty("--c", colorOf(code));
    const text = h("span", { class: "name" }, isOn ? cut(name) : `not ${cut(name)}`);
    const properties = { class: "token", title: does, "aria-label": `${text.textContent}: ${does}`, onclick: () => flip(code) };
    return h("button", properties, dot, text, h("span", { "aria-hidden": "true" }, "✕"));
  });
  const more = codes.length - made.length;
  if (more > 0) made.push(h("span", { class: "quiet" }, `+${grouped(more)}`));
  return [...made, h("button", { class: "small", onclick: () => filter({ hidden: new Set() }) }, "All classes")];
}
