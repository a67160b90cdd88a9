// What the reader has chosen, and the listeners to it. Samples are always named by their row.

import { readColumns, readJson } from "./store.js";

/** Names, sentences and numbers of the page. @type {any} */
export const meta = readJson("meta");

/** Arrays of the page by name. @type {Record<string, any>} */
export const columns = await readColumns();

export const state = {
  show: "all",
  /** Classes that are switched off. */
  hidden: new Set(),
  /** The selection: samples chosen by a drag, a cell or a number of the headline, whether visible or not. @type {number[]} */
  chosen: [],
  /** The gallery's title for the selection. */
  chosenAs: "",
  /** Whether the selection has an order of its own, best match first. */
  ranked: false,
  /** Whether the last selection of the page's own has removed filters that hid all of it. */
  cleared: false,
  /** What is searched for, in lower case; it is marked in texts. @type {string[]} */
  words: [],
  /** The sample on the card: pinned, or under the pointer. @type {number | null} */
  sample: null,
  /** @type {number | null} */
  pinned: null,
  color: "",
  /** The two classes of which the reader asks why they are confused; see why.js. @type {null | {network: number, given: number, predicted: number, title: string}} */
  why: null,
  /** The enlarged layer: at first the output of the last network; of many, of the first, which is in view. */
  stage: meta.networks.length > 2 ? meta.networks[0].journey.at(-1) : meta.panels.length - 1,
};

/** What residuals.js and labels.js do in another way than for classes, by name. @type {Record<string, any>} */
export const task = {};

const listeners = {};

/** @param {"filter" | "selection" | "scope" | "range" | "sample" | "color" | "stage" | "task" | "theme" | "pair" | "why" | "decision" | "suspicion"} event @param {() => void} listener */
export function on(event, listener) {
  (listeners[event] ??= []).push(listener);
}

export function emit(event) {
  for (const listener of listeners[event] ?? []) listener();
}

const firstThatClassifies = meta.networks.findIndex(({ classifies }) => classifies);

/**
 * Label of a sample for the classes: the true class or, without targets, the prediction of the first network that
 * classifies. An unlabelled sample has the number behind the last class.
 */
export function label(sample) {
  if (columns.target) return columns.target[sample];
  return firstThatClassifies < 0 ? 0 : prediction(firstThatClassifies, sample);
}

/** True class of a sample; null without a label. @returns {number | null} */
export function truth(sample) {
  const code = columns.target ? columns.target[sample] : meta.classes.length;
  return code < meta.classes.length ? code : null;
}

/** Number of samples without a label, among others that have one. */
export const unlabelled = columns.target ? columns.target.filter((code) => code === meta.classes.length).length : 0;

export function prediction(network, sample) {
  const top = columns[`top-${network}`];
  return top ? top[sample * top.shape[1]] : null;
}

/** Probability of the network's prediction, in [0, 1]. */
export function confidence(network, sample) {
  const shares = columns[`share-${network}`];
  return shares ? shares[sample * shares.shape[1]] / 65535 : null;
}

export function isWrong(network, sample) {
  if (task.isWrong) return task.isWrong(network, sample);
  const predicted = prediction(network, sample);
  const right = truth(sample);
  return right !== null && predicted !== null && predicted !== right;
}

/** Mean confidence of the networks in their predictions of a sample. */
export function certainty(sample) {
  const known = meta.networks.map((_, k) => confidence(k, sample)).filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : 0;
}

export const nameOf = (sample) => (meta.ids ? meta.ids[sample] : String(sample));

/** Further conditions that a sample must meet to be visible, by what set them. @type {Map<any, (sample: number) => boolean>} */
export const conditions = new Map();

/** 1 for every sample that passes the filters, 0 for the others. */
export const visible = new Uint8Array(meta.n).fill(1);

/** Which filters hide a sample: a sum of the numbers below, so that counts can leave one of the filters out. */
export const hiddenBy = new Uint8Array(meta.n);
export const BY_SUBSET = 1;
export const BY_COLUMNS = 2;
export const BY_CLASS = 4;

/** 1 for the samples that are visible and, with a selection, selected: counts and summaries are of these. */
export const scope = new Uint8Array(meta.n).fill(1);
/** The selection that narrows the scope: the last that the matrix did not make itself. @type {number[]} */
let narrowing = [];

function applyFilters() {
  const subset = columns[`subset-${state.show}`];
  hiddenBy.fill(subset ? BY_SUBSET : 0);
  subset?.forEach((sample) => (hiddenBy[sample] = 0));
  for (const holds of conditions.values())
    for (let sample = 0; sample < meta.n; sample++) if (!holds(sample)) hiddenBy[sample] |= BY_COLUMNS;
  if (state.hidden.size)
    for (let sample = 0; sample < meta.n; sample++) if (state.hidden.has(label(sample))) hiddenBy[sample] |= BY_CLASS;
  for (let sample = 0; sample < meta.n; sample++) visible[sample] = hiddenBy[sample] ? 0 : 1;
  applyScope();
}

function applyScope() {
  if (!narrowing.length) return scope.set(visible);
  scope.fill(0);
  for (const sample of narrowing) scope[sample] = visible[sample];
}

/** Whether a selection narrows the scope. */
export const narrowed = () => narrowing.length > 0;

/** Remove the filters that hide any of the samples, if together they hide all of them. @returns {boolean} whether any was */
export function unhide(samples) {
  if (!samples.length || samples.some((sample) => visible[sample])) return false;
  const by = samples.reduce((sum, sample) => sum | hiddenBy[sample], 0);
  if (by & BY_SUBSET) state.show = "all";
  if (by & BY_CLASS) state.hidden = new Set();
  if (by & BY_COLUMNS)
    for (const [name, holds] of [...conditions]) if (!samples.every(holds)) conditions.delete(name);
  return true;
}

export function filter(change = {}) {
  Object.assign(state, { cleared: false }, change);
  applyFilters();
  emit("filter");
  emit("selection");
}

/** The selected samples that pass the filters, in their own order or least certain first. @returns {number[]} */
export function selected() {
  const left = state.chosen.filter((sample) => visible[sample]);
  return state.ranked ? left : leastCertainFirst(left);
}

/** `certainty` of all samples. @type {Float64Array | null} */
let known = null;
/** The confidences that it is of: a task may replace them. @type {any[]} */
let knownOf = [];

function certainties() {
  const of = meta.networks.map((_, k) => columns[`share-${k}`]);
  if (!known || of.some((shares, k) => shares !== knownOf[k])) known = Float64Array.from(visible, (_, sample) => certainty(sample));
  knownOf = of;
  return known;
}

/** Least certain first, or in the order of the task: the most wrong first. */
export function leastCertainFirst(samples) {
  if (task.rank) {
    const rank = new Map(samples.map((sample) => [sample, task.rank(sample)]));
    return [...samples].sort((a, b) => rank.get(b) - rank.get(a) || a - b);
  }
  const sure = certainties();
  return [...samples].sort((a, b) => sure[a] - sure[b] || a - b);
}

/**
 * Select samples. Filters that hide all of them are removed, but for a search, which says how many are filtered out. The
 * matrix keeps its counts when one of its own cells is selected.
 * @param {Iterable<number>} samples @param {string} as @param {boolean} [ranked] whether they have an order of their own
 * @param {"" | "search" | "matrix"} [by] what selects them
 */
export function choose(samples, as, ranked = false, by = "") {
  state.chosen = [...samples];
  state.chosenAs = state.chosen.length || by === "search" ? as : ""; // a search may match nothing
  state.ranked = ranked && state.chosen.length > 0;
  const other = by !== "matrix" || !state.chosen.length;
  const changes = other && (narrowing.length > 0 || state.chosen.length > 0);
  if (other) narrowing = state.chosen;
  if (by !== "search" && unhide(state.chosen)) return filter({ cleared: true });
  state.cleared = false;
  applyScope();
  emit("selection");
  if (changes) emit("scope");
}

export function pin(sample) {
  state.pinned = sample;
  state.sample = sample;
  emit("sample");
}

/** Show the sample under the pointer, or, for null, the pinned one. */
export function hover(sample) {
  const shown = sample ?? state.pinned;
  if (shown === state.sample) return;
  state.sample = shown;
  emit("sample");
}

export function stage(panel) {
  state.stage = panel;
  emit("stage");
}

/** @param {string} color */
export function colorBy(color) {
  state.color = color;
  emit("color");
}
