// The journey of a sample: in each layer its nearest neighbours in activation space, and the class that they vote for.

import { columns, label, meta, on, pin, stage, state, nameOf } from "./state.js";
import { paint, picture } from "./thumbnails.js";
import { className } from "./card.js";
import { rovingTabindex } from "./roving_tabindex.js";
import { $, h, shortened } from "./dom.js";

/** One row per layer; built once, repainted for every sample. @type {{panel: number, thumbs: any[], vote: any}[]} */
const rows = [];

export function buildJourney() {
  if (!meta.panels.some((_, k) => columns[`near-${k}`])) return $("journey-section").remove();
  meta.panels.forEach((panel, k) => {
    if (!columns[`near-${k}`]) return;
    const first = k === 0 || panel.network !== meta.panels[k - 1].network;
    if (first && panel.network !== null)
      $("journey").append(h("h3", { class: "lane" }, meta.networks[panel.network].name));
    $("journey").append(row(panel, k));
  });
  const steps = () => [...$("journey").querySelectorAll(".step")];
  rovingTabindex($("journey"), () => steps().map((step) => [...step.querySelectorAll("button")]));
  on("sample", showJourney);
  showJourney();
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
  for (const { panel, thumbs, vote } of rows) {
    const near = columns[`near-${panel}`];
    const count = near.shape[1];
    thumbs.forEach((thumb, rank) => show(thumb, near[sample * count + rank], sample));
    const votes = columns[`vote-${panel}`];
    vote.classList.toggle("wrong", Boolean(votes && columns.target) && votes[sample] !== columns.target[sample]);
    vote.replaceChildren(...(votes ? [className(votes[sample])] : []));
  }
}

/** A dot in the colour of its class, for a sample without a picture. */
function dot(sample) {
  const mark = h("i", { class: "dot", "aria-hidden": "true" });
  mark.style.setProperty("--c", meta.colors[label(sample)] ?? "currentColor");
  return mark;
}

function show(thumb, neighbour, sample) {
  thumb.dataset.sample = String(neighbour);
  thumb.title = `#${nameOf(neighbour)}${meta.texts ? ` ${meta.texts[neighbour]}` : ""}`;
  const { target } = columns;
  thumb.classList.toggle("wrong", Boolean(target) && target[neighbour] !== target[sample]);
  thumb.setAttribute(
    "aria-label",
    `neighbour ${nameOf(neighbour)}${target ? `, a ${meta.classes[target[neighbour]]}` : ""}`,
  );
  const old = thumb.firstElementChild;
  if (columns.pixels && old) paint(old, neighbour);
  else thumb.replaceChildren(columns.pixels ? picture(neighbour) : dot(neighbour));
}
