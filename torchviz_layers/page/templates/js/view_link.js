// What the page's link keeps of the view, and the button that copies it.

import { choose, colorBy, columns, conditions, filter, meta, nameOf, on, pin, stage, state, unlabelled } from "./state.js";
import { fromRanges, keep, keepControl, packRows, ranges, readLink, unpackRows, writeLink, writeSoon } from "./link.js";
import { fields, filterBy, filters } from "./fields.js";
import { searchFor } from "./search.js";
import { explain } from "./why.js";
import { showRange, stageRange } from "./ranges.js";
import { spoken } from "./card.js";
import { $ } from "./dom.js";

const LONGEST_TITLE = 80;
const REMARK = 2500; // milliseconds

const layerName = (k) => {
  const { layer, network } = meta.panels[k];
  return network === null ? layer : `${meta.networks[network].name}/${layer}`;
};

/** Register the parts, in the order in which a link brings them back: what changes classes and subsets comes first. */
export function buildLink() {
  keep({ name: "sample", write: () => (state.pinned === null ? "" : nameOf(state.pinned)), read: readSample });
  keep({ name: "layer", write: () => layerName(state.stage), read: readLayer });
  keepControl("label", "label-choice");
  keepControl("threshold", "threshold-number", "input");
  keepControl("a", "pair-a");
  keepControl("b", "pair-b");
  keep({ name: "show", write: () => (state.show === "all" ? null : state.show), read: readShow });
  keep({ name: "hidden", write: writeHidden, read: readHidden });
  keep({ name: "where", write: writeFilters, read: readFilters });
  keepColor();
  // Before the matrix, the measure and the selection, which it sets, and which the reader may have changed since.
  keep({ name: "why", write: writeWhy, read: readWhy });
  keepControl("matrix", "matrix-choice");
  keepControl("measure", "measure");
  keepControl("kind", "kind");
  keep({ name: "find", write: () => (state.words.length ? $("search").value.trim() : null), read: readSearch });
  keep({ name: "select", write: writeSelection, read: readSelection });
  keep({ name: "zoom", write: () => stageRange()?.map((value) => Number(value.toPrecision(5))).join("_") ?? null, read: readZoom });

  let pinned = state.pinned;
  on("sample", () => {
    if (state.pinned === pinned) return;
    pinned = state.pinned;
    $("spoken").textContent = pinned === null ? "" : spoken(pinned);
    writeLink();
  });
  on("stage", writeLink);
  for (const event of ["filter", "selection", "color", "task", "pair", "range", "why"]) on(/** @type {any} */ (event), writeSoon);
  document.addEventListener("change", writeSoon); // selects that are no state of ours
  addEventListener("hashchange", readLink);
  $("copy-link").hidden = location.protocol === "about:"; // a notebook's cell has no address
  $("copy-link").addEventListener("click", copy);
}

/** A view without a pinned sample has an empty name in its link. */
function readSample(text) {
  const sample = Array.from({ length: meta.n }, (_, k) => k).find((k) => nameOf(k) === text);
  if (sample !== undefined && sample !== state.pinned) pin(sample);
  if (sample === undefined && text === "" && state.pinned !== null) pin(null);
}

function readLayer(text) {
  const layer = meta.panels.findIndex((_, k) => layerName(k) === text);
  if (layer >= 0 && layer !== state.stage) stage(layer);
}

/** Filters are set together: subset and classes wait for the columns. */
let changed = false;

function readShow(text) {
  const wanted = meta.subsets.some(({ name }) => name === text) ? text : "all";
  changed = wanted !== state.show;
  state.show = wanted;
}

const classCount = () => meta.classes.length + (unlabelled ? 1 : 0);

const writeHidden = () => (state.hidden.size ? ranges([...state.hidden].sort((a, b) => a - b)) : null);

function readHidden(text) {
  const wanted = fromRanges(text ?? "", classCount());
  changed ||= wanted.size !== state.hidden.size || [...wanted].some((code) => !state.hidden.has(code));
  state.hidden = wanted;
}

/** Filters by column: names and, by what they are, the choices that are off, or both ends and whether missing values stay. */
function writeFilters() {
  if (!filters.size) return null;
  const entry = ([j, { off, low, high, missing }]) => [fields[j].name, ...(off ? [[...off]] : [low, high, missing ? 1 : 0])];
  return JSON.stringify([...filters].map(entry));
}

function readFilters(text) {
  if (text !== null) for (const entry of JSON.parse(text)) readFilter(entry);
  const named = new Set(text === null ? [] : JSON.parse(text).map(([name]) => name));
  for (const j of [...filters.keys()])
    if (!named.has(fields[j].name)) {
      filters.delete(j);
      changed = conditions.delete(`field-${j}`) || changed;
    }
  if (changed) filter();
  changed = false;
}

function readFilter([name, first, high, missing]) {
  const j = fields.findIndex((field) => field.name === name);
  if (j < 0) return;
  const discrete = ["category", "text"].includes(fields[j].kind);
  if (discrete && Array.isArray(first)) {
    const off = new Set(first.filter((code) => code === null || Number.isInteger(code)));
    if (off.size) filterBy(j, { off });
  } else if (!discrete && Number.isFinite(first) && Number.isFinite(high) && first <= high) {
    filterBy(j, { low: first, high, missing: missing === 1 });
  }
}

function keepColor() {
  const usual = state.color;
  const read = (text) => {
    const wanted = text ?? usual;
    if (wanted === state.color || ![...($("color")?.options ?? [])].some(({ value }) => value === wanted)) return;
    $("color").value = wanted;
    colorBy(wanted);
  };
  keep({ name: "color", write: () => (state.color === usual ? null : state.color), read });
}

function readSearch(text) {
  if ((text ?? "") !== $("search").value.trim()) searchFor(text ?? "");
}

/** The network, the true class and the predicted one, by number: names may be long. */
function writeWhy() {
  return state.why ? [state.why.network, state.why.given, state.why.predicted].join("_") : null;
}

function readWhy(text) {
  if (text === null) {
    if (state.why) choose([], "");
    return;
  }
  if (!/^\d{1,6}_\d{1,6}_\d{1,6}$/.test(text)) return;
  const [network, given, predicted] = text.split("_").map(Number);
  const classes = meta.classes.length;
  if (!meta.networks[network]?.classifies || !columns.target || given === predicted) return;
  if (given >= classes || predicted >= classes) return;
  const { color } = state;
  explain(network, given, predicted);
  if (state.color === color) return;
  // The reader has chosen another colour since.
  $("color").value = color;
  colorBy(color);
}

/** Whether the selection was left out of the link because it is too large. */
let leftOut = false;

/** A subset by its name, other selections by their rows, followed by the title. */
function writeSelection() {
  leftOut = false;
  if (!state.chosen.length || state.words.length || state.why) return null; // a search or why selects again
  const subset = meta.subsets.find(({ label }) => label === state.chosenAs);
  if (subset && columns[`subset-${subset.name}`].length === state.chosen.length) return `subset.${subset.name}`;
  const rows = packRows(state.chosen, meta.n, state.ranked);
  leftOut = rows === null;
  return rows === null ? null : `${rows}.${state.chosenAs.slice(0, LONGEST_TITLE)}`;
}

function readSelection(text) {
  if (text === null) {
    if (state.chosen.length && !state.words.length && !state.why) choose([], "");
    return;
  }
  const dot = text.indexOf(".");
  const [rows, title] = [text.slice(0, dot), text.slice(dot + 1)];
  if (rows === "subset") {
    const subset = meta.subsets.find(({ name }) => name === title);
    if (subset) choose(columns[`subset-${subset.name}`], subset.label);
    return;
  }
  const found = dot > 0 ? unpackRows(rows, meta.n) : [];
  if (found.length) choose(found, title || "Selection", rows[0] === "o");
}

function readZoom(text) {
  const range = (text ?? "").split("_").map(Number);
  const valid = range.length === 4 && range.every(Number.isFinite) && range[0] < range[1] && range[2] < range[3];
  if (!valid) return stageRange() && $("fit").click();
  showRange(range);
  // The stage fits its points once more when the page's layout is known.
  requestAnimationFrame(() => requestAnimationFrame(() => showRange(range)));
}

/** Copy the address; where the browser does not let a page copy, show it, ready to be copied by hand. */
async function copy() {
  writeLink();
  const address = location.href;
  try {
    await navigator.clipboard.writeText(address);
    remark(leftOut ? "copied, without the selection: it is too large for a link" : "copied");
  } catch {
    const field = $("link-field");
    field.value = address;
    field.hidden = false;
    field.focus();
    field.select();
    field.addEventListener("blur", () => (field.hidden = true), { once: true });
    remark("copy the link with Ctrl + C");
  }
}

let forgotten = 0;

function remark(text) {
  $("copied").textContent = text;
  clearTimeout(forgotten);
  forgotten = setTimeout(() => ($("copied").textContent = ""), REMARK);
}
