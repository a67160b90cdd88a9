// The selected samples as pictures, least certain first. Without a selection: those that a filter leaves, or else those
// that every network misclassifies, or else all.

import {
  choose,
  columns,
  conditions,
  filter,
  isWrong,
  label,
  leastCertainFirst,
  meta,
  nameOf,
  on,
  pin,
  prediction,
  selected,
  state,
  task,
  truth,
  unhide,
  visible,
} from "./state.js";
import { byScore, doubted, isSuspect, stated, wholePercent } from "./decisions.js";
import { classifying } from "./pair.js";
import { never, soon } from "./frames.js";
import { BESIDE } from "./panel_sight.js";
import { inWords, onTile } from "./views.js";
import { cut } from "./chips.js";
import { rovingTabindex } from "./roving_tabindex.js";
import { $, grouped, h } from "./dom.js";

const PAGE = 240;
const FIRST = 60; // tiles that are there at once: more than are in view
const STEP = 60; // tiles that are added in a frame
const LETTERS = 7; // of a class's name below a tile
const SHORT = 2; // letters of names that stand side by side; longer ones stand one above the other
let limit = PAGE;
/** @type {(element?: any) => void} */
let stopAt;
/** The tile of each sample that is shown. @type {Map<number, any>} */
let shown = new Map();
/** The tile of the sample on the card. */
let current = null;

export function buildGallery() {
  $("clear").addEventListener("click", () => choose([], ""));
  // Moving to a tile with the keys shows its sample.
  const arrived = (tile) => pin(Number(tile.dataset.sample));
  stopAt = rovingTabindex($("gallery"), rowsOfTiles, arrived, allTiles);
  on("selection", () => {
    limit = PAGE;
    showGallery();
  });
  on("sample", showCurrent);
  on("suspicion", showGallery);
  showGallery();
}

/** The samples of the gallery, in its order, and its title. @returns {{samples: number[], title: string}} */
export function gallery() {
  if (state.chosen.length || state.chosenAs) return { samples: selected(), title: state.chosenAs };
  const ofOne = meta.subsets.find(({ name }) => name.startsWith("wrong-"))?.name;
  const wrong = conditions.size ? [] : ["both-wrong", ofOne, "some-differ", "differ"];
  const names = state.show === "all" ? wrong : [state.show];
  for (const name of names) {
    const samples = Array.from(columns[`subset-${name}`] ?? []).filter((sample) => visible[sample]);
    if (samples.length || name === state.show)
      return { samples: leastCertainFirst(samples), title: meta.subsets.find((subset) => subset.name === name).label };
  }
  const samples = Array.from(visible.keys()).filter((sample) => visible[sample]);
  return { samples: leastCertainFirst(samples), title: conditions.size ? "Filtered samples" : "All samples" };
}

const ranked = () => task.rank || meta.networks.some(({ classifies }) => classifies);

function showGallery() {
  const { samples, title } = gallery();
  $("gallery-title").textContent = title;
  $("gallery-title").title = title;
  const signs = samples.slice(0, limit).some((sample) => isSuspect(sample)) ? "?: label suspect" : "";
  const own = state.ranked && byScore(samples) ? "highest score first" : "";
  const order = ranked() && !state.ranked ? (task.ranking ?? "least certain first") : own;
  const parts = [grouped(samples.length), state.cleared ? "filters cleared" : "", order, signs];
  $("gallery-count").textContent = samples.length ? parts.filter(Boolean).join(" · ") : "";
  $("gallery-count").title = $("gallery-count").textContent;
  $("clear").hidden = !state.chosen.length;
  shown = new Map();
  $("gallery").classList.toggle("captioned", captioned());
  $("gallery").classList.toggle("stacked", captioned() && worded());
  $("gallery").replaceChildren(...samples.slice(0, FIRST).map(tile));
  const others = samples.slice(FIRST, limit);
  never("gallery");
  if (others.length) addLater(others, samples.length);
  else showEnd(samples.length);
  if (!samples.length) $("gallery").append(h("p", { class: "hint" }, ...whyEmpty()));
  stopAt();
  showCurrent();
}

/** Why no sample is shown, and a button that changes it. @returns {any[]} */
function whyEmpty() {
  if (state.chosenAs && !state.chosen.length) return ["No id, class, text or column matches."];
  const text = state.chosen.length ? "The filters hide all of the selection. " : "The filters leave no sample. ";
  const show = () => {
    if (unhide(state.chosen.length ? state.chosen : [...visible.keys()])) filter({ cleared: true });
  };
  return [text, h("button", { class: "small", onclick: show }, "Remove them")];
}

/** Add tiles below the fold, some in each frame. @param {number[]} samples @param {number} count of all samples */
function addLater(samples, count) {
  soon("gallery", BESIDE, () => {
    const added = samples.slice(0, STEP).map(tile);
    for (const each of added) each.setAttribute("tabindex", "-1");
    $("gallery").append(...added);
    if (samples.length > STEP) addLater(samples.slice(STEP), count);
    else showEnd(count);
    showCurrent();
  });
}

/** The button for more, if there are more. */
function showEnd(count) {
  if (count > limit) {
    const more = h(
      "button",
      { class: "more", onclick: () => ((limit += PAGE), showGallery()) },
      `${grouped(count - limit)} more`,
    );
    $("gallery").append(more);
  }
}

/** What a sample is, for its tile's name. */
function tagOf(sample) {
  if (task.tag) return ` ${task.tag(sample)}`;
  return meta.classes.length ? ` ${meta.classes[label(sample)] ?? "unlabelled"}` : "";
}

function tile(sample) {
  const suspect = isSuspect(sample);
  const wrong = errors(sample);
  const doubt = suspect ? ["label suspect", stated(doubted.get(sample))] : [];
  const text = [`#${nameOf(sample)}${tagOf(sample)}`, ...doubt].filter(Boolean).join(", ");
  const inside = inWords(sample);
  const told = caption(sample);
  const button = h(
    "button",
    {
      class: `tile wrong-${wrong}${suspect ? " suspect" : ""}${told ? " captioned" : ""}${told?.classList.contains("stacked") ? " stacked" : ""}`,
      title: [text, inside, told?.title].filter(Boolean).join(": "),
      // The name holds all the text that is seen, so that it can be said to the screen.
      "aria-label": `${inside ? `${text}: ${inside}` : text} ${told?.textContent ?? ""}`.trim(),
      onclick: () => pin(sample),
    },
    onTile(sample),
    " ", // between the words of a text and those of the caption
    told,
  );
  shown.set(sample, button);
  button.dataset.sample = String(sample);
  const probability = suspect ? doubted.get(sample).probability : undefined;
  if (probability !== undefined) button.dataset.probability = wholePercent(probability);
  return button;
}

const captioned = () => meta.task === "classification" && Boolean(columns.target || classifying.length);
const worded = () => meta.classes.some((name) => name.length > SHORT);

/** The true class and what the networks predict, "9 → 4", below a tile; null where there are neither. */
function caption(sample) {
  if (!captioned()) return null;
  const right = truth(sample);
  const codes = [...new Set(classifying.map((k) => prediction(k, sample)))];
  const others = codes.filter((code) => code !== right);
  const given = columns.target ? [right === null ? "–" : classWord(right)] : [];
  const read = others.length ? ["→", classWord(others[0]), others.length > 1 ? "…" : ""] : [];
  const names = codes.map((code) => meta.classes[code]).join(", ");
  const title = `${columns.target ? `${meta.classes[right] ?? "unlabelled"} ` : ""}→ ${names}`;
  const stacked = others.length && worded();
  const lines = stacked ? [h("span", {}, ...given), h("span", {}, ...read)] : [...given, ...read];
  return h("span", { class: stacked ? "caption stacked" : "caption", title, "aria-hidden": "true" }, ...lines);
}

/** A class's name, short, underlined in its colour. @param {number} code */
export function classWord(code) {
  const word = h("span", { class: "word" }, cut(meta.classes[code], LETTERS));
  word.style.setProperty("--c", meta.colors[code]);
  return word;
}

/** How strongly a tile is marked: 0 for no error; of one or two networks, how many are wrong; of more, 2 if all are. */
function errors(sample) {
  const able = meta.task === "classification" ? classifying : meta.networks.map((_, k) => k);
  const wrong = able.filter((k) => isWrong(k, sample)).length;
  if (able.length <= 2) return wrong;
  return wrong === able.length ? 2 : Math.min(1, wrong);
}

function showCurrent() {
  current?.classList.remove("current");
  current = state.sample === null ? undefined : shown.get(state.sample);
  current?.classList.add("current");
}

const allTiles = () => [...$("gallery").querySelectorAll(".tile")];

/** The tiles row by row, as they are shown. @returns {any[][]} */
function rowsOfTiles() {
  const all = allTiles();
  const rows = [];
  all.forEach((tile, k) => {
    if (!k || tile.offsetTop > all[k - 1].offsetTop) rows.push([]);
    rows.at(-1).push(tile);
  });
  return rows;
}
