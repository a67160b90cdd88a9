// Of more than two networks the reader chooses two, A and B, which are compared. Their subsets are computed here; for
// every pair of networks they would make the page's file large.

import { columns, emit, filter, isWrong, meta, prediction, state } from "./state.js";

/** Numbers of the networks that classify. @type {number[]} */
export const classifying = meta.networks.map((_, k) => k).filter((k) => meta.networks[k].classifies);

/** Whether there are more networks than a page can list one beside another. */
export const many = meta.networks.length > 2;

/** The numbers of the two networks that are compared: at first the least and the most accurate. */
export const pair = { a: classifying[0], b: classifying.at(-1), chosen: classifying.length > 2 };

if (pair.chosen && columns.target) {
  const accuracy = (k) => meta.networks[k].accuracy ?? 0;
  const ranked = [...classifying].sort((p, q) => accuracy(p) - accuracy(q) || p - q);
  [pair.a, pair.b] = [ranked[0], ranked.at(-1)];
}

/** Compute the pair's subsets and add them to those of the page. */
function compare() {
  const { a, b } = pair;
  const all = Array.from({ length: meta.n }, (_, sample) => sample);
  const [nameA, nameB] = [meta.networks[a].name, meta.networks[b].name];
  const found = [["differ", `${nameA} and ${nameB} differ`, all.filter((s) => prediction(a, s) !== prediction(b, s))]];
  if (columns.target) {
    found.push(["only-a", `${nameA} wrong, ${nameB} right`, all.filter((s) => isWrong(a, s) && !isWrong(b, s))]);
    found.push(["only-b", `${nameB} wrong, ${nameA} right`, all.filter((s) => isWrong(b, s) && !isWrong(a, s))]);
  }
  for (const [name, label, samples] of found) {
    columns[`subset-${name}`] = Uint32Array.from(samples);
    const subset = meta.subsets.find((each) => each.name === name);
    if (subset) subset.label = label;
    else meta.subsets.push({ name, label });
  }
}

/** Compare two other networks. @param {{a?: number, b?: number}} change */
export function comparePair(change) {
  Object.assign(pair, change);
  compare();
  emit("pair");
  if (["differ", "only-a", "only-b"].includes(state.show)) filter({});
}

if (pair.chosen) compare();
