// One search box: what matches in ids, classes, texts and columns is counted and selected as the reader types.

import { choose, columns, emit, label, meta, nameOf, on, pin, prediction, state, task, visible } from "./state.js";
import { fields, readValue, valueOf } from "./fields.js";
import { $, grouped } from "./dom.js";

const PATIENCE = 150; // milliseconds after the last letter
const SEPARATOR = "\n"; // no word that is searched for contains it
/** All that is searched of each sample, in lower case; made at the first search. @type {string[]} */
let haystacks = [];
/** The matches that are selected now. @type {number[]} */
let matches = [];
let waiting = 0;
/** The selection that the search made; null while it makes one. @type {number[] | null} */
let mine = null;

export function buildSearch() {
  const box = $("search");
  box.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(search, PATIENCE);
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      search();
      const first = matches.find((sample) => visible[sample]);
      if (first !== undefined) pin(first);
    } else if (event.key === "Escape" && box.value) {
      event.stopPropagation(); // the pinned sample stays
      event.preventDefault();
      box.value = "";
      search();
    }
  });
  document.addEventListener("keydown", (event) => {
    const typing = /** @type {any} */ (event.target).closest?.("input:not([type=range], [type=radio]), select, textarea");
    if (event.key !== "/" || event.altKey || event.ctrlKey || event.metaKey || typing) return;
    event.preventDefault();
    box.focus();
    box.select();
  });
  mine = state.chosen;
  on("selection", showCount);
}

/** Search as if the reader had typed it. @param {string} text */
export function searchFor(text) {
  $("search").value = text;
  search();
}

/** Search for what is in the box, and select what matches. */
function search() {
  clearTimeout(waiting);
  const text = $("search").value.trim();
  const words = [...new Set(text.toLowerCase().split(/\s+/).filter(Boolean))];
  matches = words.length ? found(text, words) : [];
  state.words = words.map((word) => word.slice(word.indexOf(":") + 1)).filter(Boolean); // what is marked in texts
  mine = null;
  choose(matches, words.length ? `“${text}”` : "", true, "search");
  if (matches.length === 1) pin(matches[0]);
  emit("sample"); // its text marks the words
}

/** Samples that match: the one whose id is the text first, then those that contain all of the words. */
function found(text, words) {
  if (!haystacks.length) haystacks = Array.from({ length: meta.n }, (_, sample) => haystack(sample));
  const id = text.replace(/^(sample|id|#)\s*#?/i, "");
  const tests = words.map(testOf);
  const exact = [];
  const others = [];
  for (let sample = 0; sample < meta.n; sample++) {
    const name = nameOf(sample);
    if (name === text || name === id) exact.push(sample);
    else if (tests.every((holds) => holds(sample))) others.push(sample);
  }
  return [...exact, ...others];
}

const classNames = () => meta.classes.map((each) => each.toLowerCase());

/**
 * Whether a number of a sample is that of a class; the text is meant as a whole if there is a class of that name.
 * @param {string} text @param {(sample: number) => number | null} codeOf
 */
function isOf(text, codeOf) {
  const names = classNames();
  const wanted = names.map((each) => (names.includes(text) ? each === text : each.includes(text)));
  return (sample) => wanted[codeOf(sample) ?? -1] === true;
}

/** Whether any network predicts a class. @param {string} text */
function predictedAs(text) {
  const each = meta.networks.map((_, k) => isOf(text, (sample) => prediction(k, sample)));
  return (sample) => each.some((holds) => holds(sample));
}

/**
 * Whether a sample matches a word: "class:8", "predicted:1" and "age:30" look in what they name, "8->1" means samples of
 * class 8 that a network reads as 1, other words are looked for anywhere. Numbers may be bounds, "age:>30".
 * @returns {(sample: number) => boolean}
 */
function testOf(word) {
  const anywhere = (sample) => haystacks[sample].includes(word);
  const [given, read] = word.split(/->|→/);
  if (given && read && classNames().includes(given)) {
    const [of, as] = [isOf(given, label), predictedAs(read)];
    return (sample) => of(sample) && as(sample);
  }
  const colon = word.indexOf(":");
  const [name, value] = [word.slice(0, colon), word.slice(colon + 1)];
  if (colon < 1 || !value) return anywhere;
  if (classNames().length && ["class", "truth"].includes(name)) return isOf(value, label);
  if (classNames().length && name === "predicted") return predictedAs(value);
  const j = fields.findIndex((field) => field.name.toLowerCase() === name);
  if (j < 0) return anywhere;
  if (fields[j].kind !== "number") return (sample) => readValue(j, valueOf(j, sample)).toLowerCase().includes(value);
  const sign = /^[<>]/.exec(value)?.[0] ?? "";
  const number = Math.fround(Number(value.slice(sign.length).replace("−", "-")));
  const each = (sample) => Math.fround(columns[`field-${j}`][sample]);
  if (sign === "<") return (sample) => each(sample) < number;
  return sign ? (sample) => each(sample) > number : (sample) => each(sample) === number;
}

function haystack(sample) {
  // Numbers of rows are found as a whole: a part of a number means nothing.
  const parts = meta.ids ? [nameOf(sample)] : [];
  const truth = task.record?.(sample).truth; // of several labels their names, of a regression a number
  if (typeof truth === "string") parts.push(truth);
  else if (!task.record && meta.classes.length) parts.push(meta.classes[label(sample)] ?? "");
  if (columns.texts) parts.push(columns.texts[sample]);
  fields.forEach(({ kind }, j) => {
    if (kind === "text" || kind === "category") parts.push(readValue(j, valueOf(j, sample)));
  });
  return parts.join(SEPARATOR).toLowerCase();
}

/** Count the matches; after another selection, or none, nothing is searched for any more. */
function showCount() {
  mine ??= state.chosen;
  if (state.chosen !== mine) {
    mine = state.chosen;
    matches = [];
    $("search").value = "";
    if (state.words.length) {
      state.words = [];
      emit("sample");
    }
  }
  const left = matches.filter((sample) => visible[sample]).length;
  const hidden = matches.length - left;
  const text = hidden ? `${grouped(left)} + ${grouped(hidden)} filtered out` : grouped(left);
  $("search-count").textContent = $("search").value.trim() ? text : "";
}
