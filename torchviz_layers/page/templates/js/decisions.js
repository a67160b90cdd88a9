// Which labels are suspect, above a probability that the reader chooses, and what the reader decides about labels.
// Decisions stay in the browser, for these samples with these labels, and in the link.

import { columns, emit, meta, nameOf, truth } from "./state.js";
import { percent } from "./dom.js";

export const SUSPECT = "label suspect";

/** The least probability of a wrong label with which a suspect counts as one. */
export const suspicion = { least: 0.6 };

/** The case of each sample whose label is doubted, above the threshold or not. @type {Map<number, any>} */
export const doubted = new Map();
for (const item of meta.cases) if (item.kind === SUSPECT && !doubted.has(item.sample)) doubted.set(item.sample, item);

/** Whether any suspect has a probability: a corner case of a class of the user's own may have none. */
export const hasProbabilities = [...doubted.values()].some(({ probability }) => probability !== undefined);

/** Whether a case counts: only a suspect may be below the threshold. */
export const counts = (item) =>
  item.kind !== SUSPECT || item.probability === undefined || item.probability >= suspicion.least;

/** @param {number} sample */
export const isSuspect = (sample) => doubted.has(sample) && counts(doubted.get(sample));

/** Rounded down, as the threshold compares: 59.8% is not "60%", and "100%" is certain. @param {number} probability */
export const wholePercent = (probability) => percent(Math.floor(100 * probability + 1e-6) / 100, 0);

/** "probably wrong: 93%", below one half "perhaps wrong: 41%"; null without a probability. @param {any} item @returns {string | null} */
export const stated = (item) =>
  item?.probability === undefined ? null : `${adverb(item.probability)} wrong: ${wholePercent(item.probability)}`;

/** Whether suspects stand in the order of the queue: by score, which finds planted errors better than the probability. @param {number[]} samples */
export const byScore = (samples) =>
  samples.length > 1 &&
  samples.every((sample, k) => isSuspect(sample) && (!k || doubted.get(samples[k - 1]).score >= doubted.get(sample).score));

/** @param {number} probability */
export const adverb = (probability) => (probability < 0.5 ? "perhaps" : "probably");

/** @param {number} least probability, in [0, 1] */
export function setSuspicion(least) {
  suspicion.least = least;
  emit("suspicion");
}

/** @typedef {{decision: string, label: number | null}} Decision */

/** What is decided about a sample's label: "keep", "unsure" or, with another class, "change". @type {Map<number, Decision>} */
export const decisions = new Map();

/** Whether labels can be decided on: each sample has one class. */
export const decidable = meta.task === "classification" && Boolean(columns.target) && meta.classes.length > 1;

const LETTERS = { keep: "K", change: "C", unsure: "U" };
const WORDS = { K: "keep", C: "change", U: "unsure" };
const ENTRY = /^([0-9a-z]{1,6})([KCU])([0-9a-z]{0,4})$/;

/** A change to the label that a sample has is none. @param {number} sample @param {string} decision @param {number | null} label */
export function decide(sample, decision, label = null) {
  if (decision === "change" && (label === null || label === truth(sample))) decision = "keep";
  replaceBy(sample, { decision, label: decision === "change" ? label : null });
}

/** @param {number} sample */
export const withdraw = (sample) => replaceBy(sample, undefined);

/** What each sample had before a decision of this visit, the last at the end. @type {{sample: number, before: Decision | undefined}[]} */
const history = [];
export const canUndo = () => history.length > 0;

/** Take back the last decision or withdrawal. @returns {number | null} its sample; null if there is none */
export function undo() {
  const last = history.pop();
  if (!last) return null;
  put(last.sample, last.before);
  return last.sample;
}

/** @param {number} sample @param {Decision | undefined} decision */
function replaceBy(sample, decision) {
  history.push({ sample, before: decisions.get(sample) });
  put(sample, decision);
}

/** @param {number} sample @param {Decision | undefined} decision */
function put(sample, decision) {
  if (decision) decisions.set(sample, decision);
  else decisions.delete(sample);
  store();
  emit("decision");
}

/** The decisions for a link: "f1C4.f2K.f3U" says to change row f1 (in base 36) to class 4, keep f2, and doubt f3. */
export function decisionsText() {
  const entry = ([sample, { decision, label }]) =>
    `${sample.toString(36)}${LETTERS[decision]}${label === null ? "" : label.toString(36)}`;
  return [...decisions].sort(([a], [b]) => a - b).map(entry).join(".");
}

/** Take over decisions of a link; those of the link win. What does not fit these samples is left out. @param {string | null} text */
export function readDecisions(text) {
  if (!decidable || !text) return;
  if (take(text)) emit("decision");
}

function take(text) {
  let taken = 0;
  for (const entry of text.split(".")) {
    const found = ENTRY.exec(entry);
    if (!found) continue;
    const [sample, decision] = [parseInt(found[1], 36), WORDS[found[2]]];
    const label = decision === "change" ? parseInt(found[3], 36) : null;
    if (sample >= meta.n || (label !== null && !(label < meta.classes.length))) continue;
    decisions.set(sample, { decision, label });
    taken++;
  }
  return taken;
}

/** A number of the samples and their labels: corrected data begin without decisions. */
function fingerprint() {
  let hash = 0x811c9dc5;
  const add = (code) => (hash = Math.imul(hash ^ code, 0x01000193));
  for (let sample = 0; sample < meta.n; sample++) {
    const name = nameOf(sample);
    for (let k = 0; k < name.length; k++) add(name.charCodeAt(k));
    add(columns.target[sample]);
  }
  return (hash >>> 0).toString(36);
}

const key = decidable ? `torchviz_layers decisions ${document.title} ${fingerprint()}` : "";

// An iframe in a notebook has no storage, and a browser may forbid it: decisions then stay in the link alone.
function store() {
  try {
    localStorage.setItem(key, decisionsText());
  } catch {
    // nothing is kept
  }
}

if (decidable) {
  try {
    take(localStorage.getItem(key) ?? "");
  } catch {
    // nothing was kept
  }
}
