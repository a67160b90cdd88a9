// Why two classes are confused: both keep their colours and the rest is dimmed, the errors are selected, a curve shows how
// the layers separate the two, and a row of samples leads from one class to the other. It ends with the selection.

import { choose, colorBy, columns, emit, meta, nameOf, on, pin, prediction, state, truth, visible } from "./state.js";
import { onTile } from "./views.js";
import { rovingTabindex } from "./roving_tabindex.js";
import { $, h, percent } from "./dom.js";

const STEPS = 24; // of the way from one class to the other, each with one sample

/** @type {(element?: any) => void} */
let stopAt;

export function buildWhy() {
  stopAt = rovingTabindex($("why"), () => [[...$("why").querySelectorAll(".tile")]]);
  // Another selection, or none, ends it: Esc and "Clear" are the ways out.
  on("selection", () => {
    if (state.why && state.chosenAs !== state.why.title) leave();
  });
  on("task", leave);
  on("sample", showCurrent);
}

function leave() {
  if (!state.why) return;
  state.why = null;
  emit("why");
  showRow();
}

/**
 * Show why samples of one class are taken for another.
 * @param {number} network @param {number} given the true class @param {number} predicted
 */
export function explain(network, given, predicted) {
  const title = titleOf(network, given, predicted);
  const way = wayBetween(network, given, predicted);
  const errors = way.filter(({ sample }) => truth(sample) === given && prediction(network, sample) === predicted);
  state.why = { network, given, predicted, title };
  if ($("color") && state.color !== "truth") {
    $("color").value = "truth";
    colorBy("truth");
  }
  emit("why");
  choose(
    errors.map(({ sample }) => sample),
    title,
    true,
    "matrix",
  );
  showRow(way);
}

/** "8 read as 1 by LeNet60" */
export function titleOf(network, given, predicted) {
  const reader = meta.networks.length > 1 ? ` by ${meta.networks[network].name}` : "";
  return `${meta.classes[given]} read as ${meta.classes[predicted]}${reader}`;
}

/** Visible samples of two classes, from the surest of the one to the surest of the other. */
function wayBetween(network, given, predicted) {
  const share = nearness(network, given, predicted);
  const way = [];
  for (let sample = 0; sample < meta.n; sample++) {
    const code = truth(sample);
    if (visible[sample] && (code === given || code === predicted)) way.push({ sample, share: share(sample) });
  }
  return way.sort((a, b) => b.share - a.share || a.sample - b.sample);
}

/** A sample's probability of the one class, as a share of that of both; 1/2 where both are too small to be on the page. */
function nearness(network, given, predicted) {
  const top = columns[`top-${network}`];
  const shares = columns[`share-${network}`];
  const width = top.shape[1];
  return (sample) => {
    let [one, other] = [0, 0];
    for (let k = sample * width; k < (sample + 1) * width; k++) {
      if (top[k] === given) one = shares[k];
      if (top[k] === predicted) other = shares[k];
    }
    return one + other ? one / (one + other) : 0.5;
  };
}

/** One sample for each step of the way; of those in a step, an error before others. */
function steps(way) {
  const { network } = state.why;
  const found = Array(STEPS).fill(null);
  for (const each of way) {
    const step = Math.min(STEPS - 1, Math.floor((1 - each.share) * STEPS));
    const wrong = prediction(network, each.sample) !== truth(each.sample);
    if (!found[step] || (wrong && !found[step].wrong)) found[step] = { ...each, wrong };
  }
  return found.filter(Boolean);
}

function showRow(way = []) {
  $("why").hidden = !state.why;
  $("why").replaceChildren();
  if (!state.why) return;
  const [given, predicted] = [meta.classes[state.why.given], meta.classes[state.why.predicted]];
  const row = h("div", { class: "way", role: "group", "aria-label": `From ${given} to ${predicted}; move with the arrow keys` });
  row.append(...steps(way).map(tile));
  const name = meta.networks[state.why.network].name;
  $("why").append(
    h("p", { class: "ends" }, end(state.why.given), h("span", { class: "quiet" }, `by ${name}’s probability`), end(state.why.predicted)),
    row,
  );
  stopAt();
  showCurrent();
}

function end(code) {
  const name = h("b", { title: meta.classes[code] }, h("i", { class: "dot" }), ` ${meta.classes[code]}`);
  name.style.setProperty("--c", meta.colors[code]);
  return name;
}

function tile({ sample, share, wrong }) {
  const { given, predicted } = state.why;
  const is = meta.classes[truth(sample)];
  const text = `#${nameOf(sample)}, a ${is}: ${percent(share, 0)} ${meta.classes[given]}, ${percent(1 - share, 0)} ${meta.classes[predicted]}`;
  const button = h(
    "button",
    { class: `tile wrong-${wrong ? 1 : 0}`, title: text, "aria-label": text, onclick: () => pin(sample) },
    onTile(sample),
  );
  button.dataset.sample = String(sample);
  return button;
}

function showCurrent() {
  for (const button of $("why").querySelectorAll(".tile"))
    button.classList.toggle("current", Number(button.dataset.sample) === state.sample);
}

/** Whether the layers' separation of the two classes can be computed. */
export const separable = () => Boolean(state.why) && meta.panels.some((_, k) => columns[`near-${k}`]);

/** Separations by panel, of the pair for which they were computed. @type {{pair: any, found: Map<number, number | null>}} */
let known = { pair: null, found: new Map() };

/**
 * How far a layer separates the two classes: the share of a sample's neighbours of these classes that have its own, averaged
 * over the samples of both; null if none of them has such neighbours.
 * @param {number} panel @returns {number | null}
 */
export function separation(panel) {
  if (known.pair !== state.why) known = { pair: state.why, found: new Map() };
  if (!known.found.has(panel)) known.found.set(panel, computed(panel));
  return known.found.get(panel) ?? null;
}

function computed(panel) {
  const near = columns[`near-${panel}`];
  if (!near || !state.why) return null;
  const { given, predicted } = state.why;
  const { target } = columns;
  const count = near.shape[1];
  let [sum, samples] = [0, 0];
  for (let sample = 0; sample < meta.n; sample++) {
    const own = target[sample];
    if (own !== given && own !== predicted) continue;
    const other = own === given ? predicted : given;
    let [same, different] = [0, 0];
    for (let k = sample * count; k < (sample + 1) * count; k++) {
      if (target[near[k]] === own) same++;
      else if (target[near[k]] === other) different++;
    }
    if (!same && !different) continue;
    sum += same / (same + different);
    samples++;
  }
  return samples ? sum / samples : null;
}
