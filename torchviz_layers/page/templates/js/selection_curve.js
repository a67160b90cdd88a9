// What can be measured of a selection alone, layer by layer: how far the neighbours on the page have a sample's own class.

import { columns, meta, state, visible } from "./state.js";
import { grouped } from "./dom.js";

/** The measure that each sample has a part in; others, like a probe, are of all samples only. */
const MEASURE = "purity";

/** Visible samples of the selection. @returns {number[]} */
const members = () => state.chosen.filter((sample) => visible[sample]);

const ofClasses = () => meta.task === "classification" && Boolean(columns.target);

/** Whether the page knows neighbours in a layer of a network. */
const hasNeighbors = () => meta.panels.some((_, panel) => columns[`near-${panel}`]);

/** Whether a measure has a line for the selection. @param {string} key */
export const measurable = (key) => key === MEASURE && ofClasses() && hasNeighbors() && members().length > 0;

/**
 * Mean share of a selected sample's labelled neighbours on the page that have its class; null for a layer without
 * neighbours, and if no selected sample with a label has such neighbours.
 * @param {number} panel @returns {number | null}
 */
export function ofSelection(panel) {
  const near = columns[`near-${panel}`];
  if (!near) return null;
  const { target } = columns;
  const unlabelled = meta.classes.length;
  const count = near.shape[1];
  let [sum, samples] = [0, 0];
  for (const sample of members()) {
    const own = target[sample];
    if (own === unlabelled) continue;
    let [same, labelled] = [0, 0];
    for (let k = sample * count; k < (sample + 1) * count; k++) {
      const other = target[near[k]];
      if (other !== unlabelled) labelled++;
      if (other === own) same++;
    }
    if (!labelled) continue;
    sum += same / labelled;
    samples++;
  }
  return samples ? sum / samples : null;
}

/** What the curves are of, in few words; "" without a selection. @param {string} key @returns {string} */
export function aboutSelection(key) {
  const count = members().length;
  if (!count) return "";
  return measurable(key) ? `${grouped(count)} selected` : "of all samples";
}

/** The same in a sentence. @param {string} key @returns {string} */
export function explained(key) {
  if (measurable(key))
    return (
      `Thin lines: share of the ${shownNeighbors()} nearest neighbours that have the sample’s own class, averaged over the ` +
      `${grouped(members().length)} selected. Thick lines: of all samples.`
    );
  if (key === MEASURE && ofClasses()) return "Of all samples, not of the selection: the page has no neighbours";
  return key === "pair" ? "Of all samples of both classes, not of the selection" : "Of all samples, not of the selection";
}

/** How many neighbours of a sample are on the page. */
function shownNeighbors() {
  const known = meta.panels.map((_, panel) => columns[`near-${panel}`]).find(Boolean);
  return known ? known.shape[1] : 0;
}
