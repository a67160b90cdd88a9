// Builds the parts of the page, draws the figures, and shows the sample and the layer that the link names.

import { choose, colorBy, meta, nameOf, on, pin, stage, state } from "./state.js";
import { drawFigures } from "./scatter.js";
import { buildToolbar, followTheme } from "./toolbar.js";
import { buildColumns } from "./columns.js";
import { buildSearch } from "./search.js";
import { buildCard, spoken } from "./card.js";
import { buildJourney } from "./journey.js";
import { buildGallery, gallery } from "./gallery.js";
import { buildMatrix } from "./matrix.js";
import { buildCurves } from "./curves.js";
import { buildTheatre } from "./theatre.js";
import { beginQueue, buildQueue } from "./queue.js";
import { buildExport } from "./export.js";
import { $ } from "./dom.js";

const layerName = (k) => {
  const { layer, network } = meta.panels[k];
  return network === null ? layer : `${meta.networks[network].name}/${layer}`;
};

/** Show what the link names: `#sample=<id>&layer=<network>/<layer>`. */
function follow() {
  const link = new URLSearchParams(location.hash.slice(1));
  const layer = meta.panels.findIndex((_, k) => layerName(k) === link.get("layer"));
  if (layer >= 0 && layer !== state.stage) stage(layer);
  const sample = link.has("sample")
    ? Array.from({ length: meta.n }, (_, k) => k).find((k) => nameOf(k) === link.get("sample"))
    : undefined;
  if (sample !== undefined && sample !== state.pinned) pin(sample);
}

/** Start with a sample on the card: the first corner case or, without any, the gallery's first. */
function begin() {
  const first = beginQueue() ?? gallery().samples[0];
  if (first !== undefined) pin(first);
}

function writeLink() {
  const link = new URLSearchParams();
  if (state.pinned !== null) link.set("sample", nameOf(state.pinned));
  link.set("layer", layerName(state.stage));
  try {
    history.replaceState(null, "", `#${link}`);
  } catch {
    // An iframe in a notebook has no address that could be changed.
  }
}

function keepLink() {
  let pinned = state.pinned;
  on("sample", () => {
    if (state.pinned === pinned) return;
    pinned = state.pinned;
    $("spoken").textContent = pinned === null ? "" : spoken(pinned);
    writeLink();
  });
  on("stage", writeLink);
  addEventListener("hashchange", follow);
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (state.chosen.length) choose([], "");
  else pin(null);
});

buildToolbar();
buildColumns();
buildSearch();
buildCard();
buildJourney();
buildGallery();
buildMatrix();
buildCurves();
buildQueue();
await drawFigures();
// Without classes the first of the reader's columns colours the points; the figures come without it.
if (state.color.startsWith("field-")) colorBy(state.color);
buildTheatre();
buildExport();
followTheme();
keepLink();
follow();
if (state.pinned === null) begin();
performance.mark("ready");
document.documentElement.dataset.ready = "true";
