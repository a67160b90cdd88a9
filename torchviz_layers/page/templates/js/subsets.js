// The subsets that the headline and the pills name, counted again when what is wrong changes.

import { columns, isWrong, meta, state, task } from "./state.js";

const others = (k) => meta.networks.map((_, other) => other).filter((other) => other !== k);

/** Whether a sample is in a subset. @returns {(sample: number) => boolean} */
function rule(name) {
  if (name === "differ") return task.differ;
  const all = meta.networks.map((_, k) => k);
  if (name === "both-wrong") return (sample) => all.every((k) => isWrong(k, sample));
  const [kind, number] = name.split("-");
  const k = Number(number);
  if (kind === "wrong") return (sample) => isWrong(k, sample);
  return (sample) => isWrong(k, sample) && !others(k).some((other) => isWrong(other, sample));
}

/** The samples for which a rule holds. @param {(sample: number) => boolean} holds @returns {number[]} */
export function members(holds) {
  const found = [];
  for (let sample = 0; sample < meta.n; sample++) if (holds(sample)) found.push(sample);
  return found;
}

/**
 * Count all subsets again; a selection that is one of them follows it.
 * @param {(subset: any) => string} [labelOf] the new label of a subset
 */
export function recount(labelOf = (subset) => subset.label) {
  for (const subset of meta.subsets) {
    const chosen = state.chosen.length && state.chosenAs === subset.label;
    columns[`subset-${subset.name}`] = members(rule(subset.name));
    subset.label = labelOf(subset);
    if (!chosen) continue;
    state.chosen = [...columns[`subset-${subset.name}`]];
    state.chosenAs = subset.label;
  }
}
