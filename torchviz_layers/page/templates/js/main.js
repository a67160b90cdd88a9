// Builds the parts of the page, draws the figures, and shows the sample and the layer that the link names.

import { choose, colorBy, pin, state } from "./state.js";
import { linkSays, readLink } from "./link.js";
import { drawFigures } from "./scatter.js";
import { buildMapPictures } from "./map_pictures.js";
import { buildToolbar, followTheme } from "./toolbar.js";
import { buildColumns } from "./columns.js";
import { buildSearch } from "./search.js";
import { buildCard } from "./card.js";
import { buildJourney } from "./journey.js";
import { buildGallery, gallery } from "./gallery.js";
import { buildWhy } from "./why.js";
import { buildAnswers } from "./answers.js";
import { buildMatrix } from "./matrix.js";
import { buildCurves } from "./curves.js";
import { buildTheatre } from "./theatre.js";
import { beginQueue, buildQueue } from "./queue.js";
import { buildExport } from "./export.js";
import { buildRelabel } from "./relabel.js";
import { buildSummary } from "./summary.js";
import { buildLink } from "./view_link.js";
import { buildSheet } from "./touch.js";
import { $ } from "./dom.js";

/** Start with a sample on the card: the first corner case or, without any, the gallery's first. */
function begin() {
  const first = beginQueue() ?? gallery().samples[0];
  if (first !== undefined) pin(first);
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (state.chosen.length || state.chosenAs || state.why) choose([], "");
  else pin(null);
});

buildToolbar();
buildColumns();
buildSearch();
buildCard();
buildJourney();
buildGallery();
buildSummary();
buildWhy();
buildMatrix();
buildCurves();
if (!$("analysis").childElementCount) document.querySelector("main").classList.add("no-analysis");
buildAnswers();
buildQueue();
await drawFigures();
// Without classes the first of the reader's columns colours the points; the figures come without it.
if (state.color.startsWith("field-")) colorBy(state.color);
buildTheatre();
buildMapPictures();
buildExport();
buildSheet();
buildRelabel();
followTheme();
buildLink();
const unpinned = linkSays("sample") === "";
readLink();
if (state.pinned === null && !unpinned) begin();
performance.mark("ready");
document.documentElement.dataset.ready = "true";
