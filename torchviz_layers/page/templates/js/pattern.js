// The figure of a layer is made from one pattern, as JSON of Bokeh: a hundred figures in the page's file would be large,
// and take long to read.

import { meta } from "./state.js";

/**
 * The pattern's JSON for one panel. Models of its own get ids of their own; its points get the panel's columns, and the
 * views of the panel's owner.
 * @param {any} pattern @param {Set<string>} own ids of the pattern's own models @param {number} k panel
 * @param {Map<string, string>} views ids of the owner's views, by those in the pattern
 */
export function copyOf(pattern, own, k, views) {
  if (Array.isArray(pattern)) return pattern.map((item) => copyOf(item, own, k, views));
  if (pattern === null || typeof pattern !== "object") return pattern;
  const copy = {};
  for (const [name, value] of Object.entries(pattern)) copy[name] = copyOf(value, own, k, views);
  if (own.has(copy.id)) copy.id += `-${k}`;
  if (views.has(copy.id)) copy.id = views.get(copy.id);
  if (copy.type === "field" && copy.field?.startsWith("panel-")) copy.field = `${copy.field.slice(6)}${k}`;
  return copy;
}

const STEPS = 32_766; // of a panel's range; one more is a sample that was not embedded

/** Coordinates of a panel in a given order of samples. @returns {[Float32Array, Float32Array]} */
export function decoded(place, k, order) {
  const { x, y } = meta.panels[k];
  const xs = new Float32Array(order.length);
  const ys = new Float32Array(order.length);
  const [across, up] = [(x[1] - x[0]) / STEPS, (y[1] - y[0]) / STEPS];
  for (let row = 0; row < order.length; row++) {
    const at = 2 * order[row];
    const embedded = place[at] <= STEPS;
    xs[row] = embedded ? x[0] + place[at] * across : NaN;
    ys[row] = embedded ? y[0] + place[at + 1] * up : NaN;
  }
  return [xs, ys];
}
