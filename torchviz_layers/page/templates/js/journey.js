// The journey of a sample: in each layer its nearest neighbours in activation space, and the class that they vote for.

import { columns, label, meta, on, pin, stage, state, task, nameOf, truth } from "./state.js";
import { many } from "./pair.js";
import { voteOf, votes } from "./votes.js";
import { hasPictures, paint, picture } from "./thumbnails.js";
import { soon } from "./frames.js";
import { BESIDE, PANEL } from "./panel_sight.js";
import { inWords, onThumb } from "./views.js";
import { className } from "./card.js";
import { rovingTabindex } from "./roving_tabindex.js";
import { $, h, shortened } from "./dom.js";

/** One row per layer; built once, repainted for every sample. @type {{panel: number, thumbs: any[], vote: any}[]} */
const rows = [];
const SHORT = 3; // letters of a class's name that fit beside eight neighbours
/** Of many networks, the one whose layers are listed: that of the enlarged layer. @type {number} */
let listed = 0;

export function buildJourney() {
  if (!meta.panels.some((_, k) => columns[`near-${k}`])) return $("journey-section").remove();
  listed = meta.panels[state.stage].network ?? 0;
  listRows();
  const steps = () => [...$("journey").querySelectorAll(".step")];
  const stopAt = rovingTabindex($("journey"), () => steps().map((step) => [...step.querySelectorAll("button")]));
  // In one of the next frames, after the picture at the pointer: it has many.
  on("sample", () => soon("journey of a sample", PANEL, showJourney));
  on("task", showHint);
  showHint();
  if (many)
    on("stage", () => {
      const network = meta.panels[state.stage].network ?? listed;
      if (network === listed) return;
      listed = network;
      listRows();
      stopAt();
      showJourney();
    });
  showJourney();
}

function listRows() {
  rows.length = 0;
  const worded = meta.classes.some((name) => name.length > SHORT);
  $("journey").classList.toggle("worded", worded);
  $("journey").replaceChildren();
  let above = null;
  meta.panels.forEach((panel, k) => {
    if (!columns[`near-${k}`] || (many && panel.network !== null && panel.network !== listed)) return;
    if (panel.network !== above && panel.network !== null)
      $("journey").append(h("h3", { class: "lane" }, meta.networks[panel.network].name));
    above = panel.network;
    $("journey").append(row(panel, k));
  });
}

const USUAL_HINT = $("journey-section").querySelector(".hint").textContent;

/** What the thumbnails and the last column mean. */
function showHint() {
  const known = task.vote || meta.panels.some((_, k) => votes(k));
  const hint = known ? (task.journeyHint ?? USUAL_HINT) : "Nearest in each layer’s activation space.";
  $("journey-section").querySelector(".hint").textContent = hint;
}

function row(panel, k) {
  const count = columns[`near-${k}`].shape[1];
  const open = h(
    "button",
    { class: "layer", title: `Enlarge ${panel.layer}`, onclick: () => stage(k) },
    ...shortened(panel.layer),
  );
  const strip = h("span", { class: "near" });
  const thumbs = Array.from({ length: count }, () =>
    h("button", {
      class: "thumb",
      "aria-label": "neighbour",
      onclick: (event) => pin(Number(event.currentTarget.dataset.sample)),
    }),
  );
  strip.append(...thumbs);
  const vote = h("span", { class: "vote" });
  rows.push({ panel: k, thumbs, vote });
  return h("div", { class: "step" }, open, strip, vote);
}

function showJourney() {
  const { sample } = state;
  $("journey").hidden = sample === null;
  if (sample === null) return;
  // A row below the fold has as many pictures as one that is seen.
  const { bottom } = $("journey-section").getBoundingClientRect();
  const fold = Math.min(bottom, innerHeight);
  const below = rows.filter(({ vote }) => vote.getBoundingClientRect().top > fold);
  showRows(rows.filter((each) => !below.includes(each)));
  if (below.length) soon("journey", BESIDE, () => showRows(below));
}

function showRows(wanted) {
  const { sample } = state;
  if (sample === null) return;
  for (const { panel, thumbs, vote } of wanted) {
    const near = columns[`near-${panel}`];
    const count = near.shape[1];
    thumbs.forEach((thumb, rank) => show(thumb, near[sample * count + rank], sample));
    const special = task.vote?.(Array.from(near.subarray(sample * count, (sample + 1) * count)), sample);
    if (task.vote) {
      vote.classList.toggle("wrong", Boolean(special?.wrong));
      vote.replaceChildren(...(special ? [special.content] : []));
      continue;
    }
    const winner = votes(panel) ? voteOf(panel, sample) : null; // null: all neighbours are unlabelled
    const right = truth(sample);
    vote.classList.toggle("wrong", winner !== null && right !== null && winner !== right);
    vote.replaceChildren(...(winner === null ? [] : [className(winner)]));
  }
}

/** A dot in the colour of its class, for a sample without a picture. */
function dot(sample) {
  const mark = h("i", { class: "dot", "aria-hidden": "true" });
  mark.style.setProperty("--c", task.colorOf?.(sample) ?? meta.colors[label(sample)] ?? "currentColor");
  return mark;
}

function show(thumb, neighbour, sample) {
  thumb.dataset.sample = String(neighbour);
  const tag = task.tag ? `: ${task.tag(neighbour)}` : "";
  thumb.title = `#${nameOf(neighbour)}${tag} ${inWords(neighbour)}`.trim();
  const [right, code] = [truth(sample), truth(neighbour)];
  const other = right !== null && code !== null && code !== right;
  thumb.classList.toggle("wrong", task.neighbourWrong ? task.neighbourWrong(neighbour, sample) : other);
  const name = code === null ? (columns.target ? ", without a label" : "") : `, a ${meta.classes[code]}`;
  thumb.setAttribute("aria-label", `neighbour ${nameOf(neighbour)}${tag}${name}`);
  const old = thumb.firstElementChild;
  if (task.colorOf) thumb.style.setProperty("--value", task.colorOf(neighbour)); // underlined, if values have colours
  if (hasPictures && old) paint(old, neighbour);
  else thumb.replaceChildren(hasPictures ? picture(neighbour) : (onThumb(neighbour) ?? dot(neighbour)));
}
