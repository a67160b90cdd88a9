// What the neighbours of a sample vote for: the class that most of them have. Python counts in the same way.

import { columns, meta, prediction, truth } from "./state.js";

/**
 * What the neighbours in a panel vote with: their true classes or, without any, what the panel's network predicts for
 * them; null where there is neither.
 * @returns {((sample: number) => number | null) | null}
 */
function voter(panel) {
  if (columns.target) return truth;
  const { network } = meta.panels[panel];
  return network !== null && meta.networks[network].classifies ? (sample) => prediction(network, sample) : null;
}

/** Whether the neighbours in a panel vote. @param {number} panel */
export const votes = (panel) => Boolean(columns[`near-${panel}`] && voter(panel));

/**
 * The class that most of a sample's neighbours in a panel have; in a tie, the nearest decide; null if none has a class.
 * @param {number} panel @param {number} sample @returns {number | null}
 */
export function voteOf(panel, sample) {
  const near = columns[`near-${panel}`];
  const count = near.shape[1];
  const codes = Array.from(near.subarray(sample * count, (sample + 1) * count), voter(panel));
  // The nearest counts 1 + 1/2, the next 1 + 1/4, and so on: the fractions decide ties and nothing else.
  const weight = (code) => codes.reduce((sum, other, rank) => sum + (other === code ? 1 + 0.5 ** (1 + rank) : 0), 0);
  let [winner, most] = [null, 0];
  for (const code of new Set(codes)) {
    if (code === null || weight(code) <= most) continue;
    [winner, most] = [code, weight(code)];
  }
  return winner;
}
