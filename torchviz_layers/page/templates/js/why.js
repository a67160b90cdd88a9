// Why two classes are confused: both keep their colours and the rest is dimmed, the errors are selected, a curve shows how
// the layers separate the two, and a row of samples leads from one class to the other. It ends with the selection.

import { choose, colorBy, columns, confidence, emit, hover, meta, nameOf, on, pin, prediction, stage, state, truth } from "./state.js";
import { between, byProbability, countOf, errorsOf, countOfKnown, mostLike, probability, turn } from "./border.js";
import { classWord } from "./gallery.js";
import { inWords, onTile } from "./views.js";
import { rovingTabindex } from "./roving_tabindex.js";
import { $, grouped, h, percent } from "./dom.js";

const GAP = 4; // pixels between the tiles of the row
const FEWEST = 3; // tiles, however narrow the panel is

/** @type {(element?: any) => void} */
let stopAt;
/** How many tiles the row has room for. */
let room = 0;

export function buildWhy() {
  stopAt = rovingTabindex($("why"), () => [[...$("why").querySelectorAll(".tile")]]);
  // Another selection, or none, ends it: Esc and "Clear" are the ways out.
  on("selection", () => {
    if (state.why && !ownTitles().includes(state.chosenAs)) leave();
    else if (state.why) showPressed();
  });
  on("filter", show);
  on("task", leave);
  on("sample", showCurrent);
  new ResizeObserver(() => state.why && roomOf() !== room && show()).observe($("why"));
}

function leave() {
  if (!state.why) return;
  state.why = null;
  emit("why");
  show();
}

/**
 * Show why samples of one class are taken for another; without such samples, which ones are nearest to it.
 * @param {number} network @param {number} given the true class @param {number} predicted
 */
export function explain(network, given, predicted) {
  const errors = errorsOf(network, given, predicted);
  state.why = { network, given, predicted, title: titleOf(network, given, predicted) };
  if ($("color") && state.color !== "truth") {
    $("color").value = "truth";
    colorBy("truth");
  }
  emit("why");
  if (errors.length) choose(errors, state.why.title, true, "matrix");
  else chooseLike(given, predicted);
  show();
}

/** "8 read as 1 by LeNet60" */
export function titleOf(network, given, predicted) {
  return `${meta.classes[given]} read as ${meta.classes[predicted]}${reader(network)}`;
}

const reader = (network) => (meta.networks.length > 1 ? ` by ${meta.networks[network].name}` : "");

const titleOfLike = (network, own, other) => `${meta.classes[own]} most like ${meta.classes[other]}${reader(network)}`;

/** The titles of selections that do not end it. */
function ownTitles() {
  const { network, given, predicted, title } = state.why;
  return [title, titleOfLike(network, given, predicted), titleOfLike(network, predicted, given)];
}

function chooseLike(own, other) {
  const { network } = state.why;
  choose(mostLike(network, own, other), titleOfLike(network, own, other), true, "matrix");
}

function show() {
  $("why").hidden = !state.why;
  $("why").replaceChildren();
  if (!state.why) return;
  const { network, given, predicted } = state.why;
  $("why").classList.toggle("worded", meta.classes.some((name) => name.length > 2));
  room = roomOf();
  const [left, right] = [meta.classes[given], meta.classes[predicted]];
  const about = `From ${left} to ${right} by ${meta.networks[network].name}’s ${byProbability(network) ? "probability" : "last layer"}`;
  const row = h("div", { class: "way", role: "group", title: about, "aria-label": `${about}; move with the arrow keys` });
  row.style.setProperty("--room", String(room));
  row.append(...between(network, given, predicted, room).map(tile));
  $("why").append(sentence(), h("div", { class: "ends" }, likeButton(given, predicted), likeButton(predicted, given)), row);
  stopAt();
  showPressed();
  showCurrent();
}

/** As many tiles as fit; their width is that of the stylesheet. */
function roomOf() {
  const width = parseFloat(getComputedStyle($("why")).getPropertyValue("--tile"));
  return Math.max(FEWEST, Math.floor(($("why").clientWidth + GAP) / (width + GAP)));
}

/** "11 errors: apart up to conv_2, merged from dense_1 on": the number selects them, a layer's name enlarges it. */
function sentence() {
  const { network, given, predicted, title } = state.why;
  const errors = errorsOf(network, given, predicted);
  const [left, right] = [meta.classes[given], meta.classes[predicted]];
  if (!errors.length) return h("p", { class: "turn" }, `No ${left} is read as ${right}${reader(network)}.`);
  const count = h(
    "button",
    { class: "number", title: `Select: ${title}`, onclick: () => choose(errors, title, true, "matrix") },
    errors.length === 1 ? "1 error" : `${grouped(errors.length)} errors`,
  );
  const words = turn(network, errors, given, predicted);
  const about = `Apart: of these samples’ nearest neighbours that are ${left} or ${right}, most are ${left}; merged: most are ${right}.`;
  const parts = words.map((part) => (typeof part === "number" ? layerButton(part) : part));
  return h("p", { class: "turn", title: about }, count, ...(parts.length ? [": ", ...parts] : []));
}

function layerButton(panel) {
  const { layer } = meta.panels[panel];
  return h("button", { class: "number", title: `Enlarge ${layer}`, onclick: () => stage(panel) }, layer);
}

/** What selects the samples of a class that are most like the other. */
function likeButton(own, other) {
  const { network } = state.why;
  const like = mostLike(network, own, other);
  const [name, wanted] = [meta.classes[own], meta.classes[other]];
  const button = h(
    "button",
    {
      class: "small like",
      title: `${grouped(like.length)} of ${grouped(countOf(own))} samples of ${name}: ${ruleOf(network, wanted)}`,
      onclick: () => chooseLike(own, other),
    },
    h("i", { class: "dot" }),
    h("span", {}, `${name} most like ${wanted}`),
  );
  button.style.setProperty("--c", meta.colors[own]);
  button.dataset.title = titleOfLike(network, own, other);
  button.disabled = !like.length;
  return button;
}

/** Which samples are most like a class, and in which order. */
function ruleOf(network, wanted) {
  const { name, journey } = meta.networks[network];
  const known = countOfKnown(network);
  if (!byProbability(network)) return `by the share of ${wanted} among their neighbours in ${meta.panels[journey.at(-1)].layer}, the largest first`;
  const some = known < meta.classes.length ? `those with ${wanted} among the ${known} classes that ${name} finds most probable, ` : "";
  return `${some}by its probability of ${wanted}, the largest first`;
}

function showPressed() {
  for (const button of $("why").querySelectorAll(".like"))
    button.setAttribute("aria-pressed", String(state.chosenAs === button.dataset.title));
}

function tile({ sample, wrong }) {
  const { network } = state.why;
  const said = prediction(network, sample);
  const sure = percent(confidence(network, sample), 0);
  const is = meta.classes[truth(sample)];
  const reading = h("span", { class: "reading" }, classWord(truth(sample)), wrong ? h("span", {}, "→", classWord(said)) : null);
  const caption = h("span", { class: "caption", "aria-hidden": "true" }, reading, " ", h("span", {}, sure));
  const inside = inWords(sample);
  const text = `#${nameOf(sample)} is ${is}, read as ${meta.classes[said]} (${sure}): ${chances(sample)}`;
  const button = h(
    "button",
    {
      class: `tile captioned wrong-${wrong ? 1 : 0}`,
      title: inside ? `${text}: ${inside}` : text,
      // The name holds all the text that is seen, so that it can be said to the screen.
      "aria-label": [text, inside, caption.textContent].filter(Boolean).join(" "),
      onclick: () => pin(sample),
      onpointerenter: () => hover(sample),
      onpointerleave: () => hover(null),
      onfocus: () => hover(sample),
      onblur: () => hover(null),
    },
    onTile(sample),
    " ", // between the words of a text and those of the caption
    caption,
  );
  button.dataset.sample = String(sample);
  return button;
}

/** "8 30%, 1 62%": what the network thinks of both classes. */
function chances(sample) {
  const { network, given, predicted } = state.why;
  const part = (code) => {
    const value = probability(network, sample, code);
    return `${meta.classes[code]} ${value === null ? "less" : percent(value, 0)}`;
  };
  return `${part(given)}, ${part(predicted)}`;
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
