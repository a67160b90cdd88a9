// Pictures over the stage's points once the reader has zoomed in so far that few points are in view: none over another.

import { on, state } from "./state.js";
import { colorOf } from "./coloring.js";
import { onStageChange, stagePoints } from "./scatter.js";
import { hasPictures, picture } from "./thumbnails.js";
import { $, h } from "./dom.js";

const MOST = 150; // points in view, above which there are no pictures
const SIDE = 40; // of a picture, in pixels
const GAP = 2;

const layer = h("div", { class: "map-pictures", "aria-hidden": "true" });
/** Pictures that are shown, by sample. @type {Map<number, any>} */
const shown = new Map();
let wanted = true;
let asked = 0;

export function buildMapPictures() {
  if (!hasPictures) return;
  const text = `Pictures on the map, once it shows at most ${MOST} points: zoom in`;
  const button = h("button", { class: "small", id: "map-pictures", "aria-pressed": "true", title: text }, "Pictures");
  button.addEventListener("click", () => {
    wanted = !wanted;
    button.setAttribute("aria-pressed", String(wanted));
    show();
  });
  $("fit").before(button);
  $("figure-stage").append(layer);
  onStageChange(showLater);
  for (const event of /** @type {const} */ (["filter", "selection", "color", "stage"])) on(event, showLater);
  // Pictures cover the ring of the pinned sample: its own is marked in its place.
  let { pinned } = state;
  on("sample", () => {
    if (state.pinned === pinned) return;
    pinned = state.pinned;
    showLater();
  });
  showLater();
}

function showLater() {
  asked ||= requestAnimationFrame(show);
}

function show() {
  cancelAnimationFrame(asked);
  asked = 0;
  const places = wanted ? chosen(inView()) : [];
  const kept = new Set(places.map(({ sample }) => sample));
  for (const [sample, element] of shown) {
    if (kept.has(sample)) continue;
    element.remove();
    shown.delete(sample);
  }
  for (const { sample, x, y } of places) {
    let element = shown.get(sample);
    if (!element) shown.set(sample, (element = h("span", {}, picture(sample))));
    element.style.transform = `translate(${Math.round(x - SIDE / 2)}px, ${Math.round(y - SIDE / 2)}px)`;
    element.style.setProperty("--c", colorOf(sample));
    element.classList.toggle("current", sample === state.pinned);
    if (!element.parentNode) layer.append(element);
  }
}

/** Visible points in view, with their places in pixels; none if they are too many. */
function inView() {
  const { x, y, sampleOf, visibleRows, xs, ys } = stagePoints();
  const { clientWidth: width, clientHeight: height } = $("figure-stage");
  const found = [];
  // Backwards: what is drawn last, the errors, comes first.
  for (let row = sampleOf.length - 1; row >= 0; row--) {
    if (!visibleRows[row] || !(x[row] >= xs.start && x[row] <= xs.end && y[row] >= ys.start && y[row] <= ys.end)) continue;
    if (found.length === MOST) return [];
    const left = ((x[row] - xs.start) / (xs.end - xs.start)) * width;
    const top = ((ys.end - y[row]) / (ys.end - ys.start)) * height;
    found.push({ sample: sampleOf[row], x: left, y: top });
  }
  return found;
}

/** The points whose pictures lie apart: the pinned one first, then selected ones, then those that have a picture already. */
function chosen(points) {
  const selected = new Set(state.chosen);
  const rank = ({ sample }) => (sample === state.pinned ? 0 : selected.has(sample) ? 1 : shown.has(sample) ? 2 : 3);
  const ordered = [...points].sort((a, b) => rank(a) - rank(b));
  const placed = [];
  for (const point of ordered) {
    const apart = (other) => Math.max(Math.abs(other.x - point.x), Math.abs(other.y - point.y)) >= SIDE + GAP;
    if (placed.every(apart)) placed.push(point);
  }
  return placed;
}
