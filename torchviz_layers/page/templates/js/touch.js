// Fingers and narrow screens: a swipe over a map scrolls the page, and a tapped sample's card comes up as a sheet.

import { on, state } from "./state.js";
import { $ } from "./dom.js";

/** As in narrow.css: the screens on which the card is below the fold. */
const NARROW = matchMedia("(max-width: 760px)");
const ROOM = 24; // pixels that stay between a tapped point and the sheet

/** The elements of the figures that take the pointer. @type {Set<HTMLElement>} */
const surfaces = new Set();

/**
 * Leave swipes of one finger over a figure to the page, except for those that the chosen brush needs. Bokeh takes all of
 * them, so that a finger that comes to a map could not leave it. Two fingers zoom, as Bokeh does it.
 * @param {HTMLElement} surface
 */
export function letFingersScroll(surface) {
  surfaces.add(surface);
  share(surface);
}

function share(surface) {
  const pans = /** @type {any} */ (document.querySelector("input[name=brush]:checked"))?.value === "pan";
  surface.style.setProperty("touch-action", pans ? "none" : "pan-y", "important"); // Bokeh has a rule of its own
}

export const isNarrow = () => NARROW.matches;

export function buildSheet() {
  $("brush").addEventListener("change", () => surfaces.forEach(share));
  // After the figure's own listener, which pins the sample.
  document.addEventListener("click", (event) => {
    if (!NARROW.matches || !(event.target instanceof Element)) return;
    if (event.target.closest(".figure, .tile, .thumb") && state.pinned !== null && state.pinned === tapped) open(event.clientY);
    tapped = null;
  });
  $("search").addEventListener("keydown", (event) => {
    if (NARROW.matches && event.key === "Enter" && state.pinned !== null) open(0);
  });
  $("card-close").addEventListener("click", () => {
    close();
    // The button that had the focus is gone.
    $("stage-layer").focus({ preventScroll: true });
  });
  document.addEventListener("keydown", (event) => event.key === "Escape" && close());
  NARROW.addEventListener("change", close);
  on("sample", () => {
    if (state.pinned === null) close();
    else if (state.sample === state.pinned) tapped = state.pinned;
  });
}

/** The sample that was pinned last, until the click that did it has gone through the page. @type {number | null} */
let tapped = null;

const card = () => $("card").closest("section");

/** @param {number} y where the tapped point is in the window */
function open(y) {
  document.documentElement.dataset.sheet = "open";
  const hidden = y + ROOM - card().getBoundingClientRect().top;
  if (hidden > 0) scrollBy({ top: hidden });
}

function close() {
  delete document.documentElement.dataset.sheet;
}
