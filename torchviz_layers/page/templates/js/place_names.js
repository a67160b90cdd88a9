// The classes' names on the stage and in the panels: as many as fit.

import { label, meta, state, visible } from "./state.js";
import { fitting } from "./map_names.js";
import { whenSeen } from "./panel_sight.js";
import { drawn, hostOf, models } from "./maps.js";
import { sizeOf } from "./ranges.js";
import { $ } from "./dom.js";

const LETTERS = { stage: 15, panel: 10 }; // their height in pixels, as in the figures
/** All names of the stage, whether they fit or not. @type {any} */
let stageNames = { x: [], y: [], text: [] };
let placing = 0;
/** Classes by the number of their visible samples, the largest first. @type {number[] | null} */
let bySize = null;

/** Places and texts of the classes' names in a panel; a name without a place is not drawn. */
export function namesOf(k) {
  const { x, y } = meta.panels[k].names;
  const numbers = (values) => values.map((value) => value ?? NaN);
  return { x: numbers(x), y: numbers(y), text: models["names-stage"].data.text };
}

/** Show as many names on a map as fit. @param {number | "stage"} key a panel's number or the stage */
export function placeNames(key) {
  const stage = key === "stage";
  const names = stage ? stageNames : namesOf(key);
  if (!names.text.length) return;
  bySize ??= classesBySize();
  const host = stage ? $("figure-stage") : hostOf(key);
  const figure = models[stage ? "stage-figure" : `panel-${key}`];
  const found = fitting(names, figure, sizeOf(figure, host), LETTERS[stage ? "stage" : "panel"], bySize);
  const shown = (values) => Array.from(values, (value, code) => (found.has(code) ? value : NaN));
  const [x, y] = [shown(names.x), shown(names.y)];
  const source = models[`names-${key}`];
  // The names are painted with the points: not again for the same ones.
  const same = (a, b) => a.length === b.length && a.every((value, code) => Object.is(value, b[code]));
  if (!same(x, Array.from(source.data.x)) || !same(y, Array.from(source.data.y)))
    source.data = { x, y, text: names.text };
}

/** @param {{x: number[], y: number[], text: string[]}} names of the stage from now on */
export function nameStage(names) {
  stageNames = names;
  placeNames("stage");
}

/** Show the names that fit after a change of the stage's range, once a frame. */
export function placeStageNames() {
  placing ||= requestAnimationFrame(() => {
    placing = 0;
    placeNames("stage");
  });
}

export function placeAllNames() {
  bySize = null;
  for (const k of drawn) if (models[`panel-${k}`]) whenSeen(k, "names", () => placeNames(k));
  placeNames("stage");
}

function classesBySize() {
  const counts = new Uint32Array(meta.classes.length + 1);
  for (let sample = 0; sample < meta.n; sample++) if (visible[sample]) counts[label(sample)]++;
  const codes = meta.classes.map((_, code) => code).filter((code) => !state.hidden.has(code));
  return codes.sort((a, b) => counts[b] - counts[a] || a - b);
}
