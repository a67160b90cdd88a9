// The samples on the border of two classes, and how their neighbours part or mix the two from layer to layer.

import { columns, meta, prediction, truth, visible } from "./state.js";

const LEAST_OF_BOTH = 0.5; // of the probability: a sample with less is on the border of other classes
const FEWEST = 3; // samples in the row, if there are so many of the two classes

/** A network's probability of a class; null where it is not among the most probable, which alone are on the page. @returns {number | null} */
export function probability(network, sample, code) {
  const top = columns[`top-${network}`];
  const width = top.shape[1];
  for (let k = sample * width; k < (sample + 1) * width; k++)
    if (top[k] === code) return columns[`share-${network}`][k] / 65535;
  return null;
}

/** How many of a sample's most probable classes are on the page. @returns {number} */
export const countOfKnown = (network) => columns[`top-${network}`].shape[1];

/**
 * Whether samples are placed between classes by probabilities. Of more than two networks the page has only the most
 * probable class; then the neighbours in the network's last layer place them.
 */
export const byProbability = (network) => countOfKnown(network) > 1;

/** How near a network places a sample to a class, in [0, 1]: its probability, or the share of neighbours of this class. */
function nearness(network, sample, code) {
  if (byProbability(network)) return probability(network, sample, code) ?? 0;
  const near = columns[`near-${meta.networks[network].journey.at(-1)}`];
  if (!near) return 0;
  const count = near.shape[1];
  let same = 0;
  for (let k = sample * count; k < (sample + 1) * count; k++) if (truth(near[k]) === code) same++;
  return same / count;
}

/** Samples of one class that are taken for another, the least wrong first: the visible ones or, if the filters hide all, all. */
export function errorsOf(network, given, predicted) {
  const all = samplesOf(given).filter((sample) => prediction(network, sample) === predicted);
  const seen = all.filter((sample) => visible[sample]);
  const share = new Map(all.map((sample) => [sample, shareOfOther(network, sample, given, predicted)]));
  return (seen.length ? seen : all).sort((a, b) => share.get(a) - share.get(b) || a - b);
}

/** Visible samples of a class, right or wrong, the nearest to another class first; those that are not near at all are left out. */
export function mostLike(network, own, other) {
  const found = new Map();
  for (const sample of samplesOf(own)) {
    const value = visible[sample] ? nearness(network, sample, other) : 0;
    if (value) found.set(sample, value);
  }
  return [...found.keys()].sort((a, b) => found.get(b) - found.get(a) || a - b);
}

/** How many visible samples a class has. */
export const countOf = (code) => samplesOf(code).filter((sample) => visible[sample]).length;

function samplesOf(code) {
  const found = [];
  for (let sample = 0; sample < meta.n; sample++) if (truth(sample) === code) found.push(sample);
  return found;
}

/** The predicted class's part of the nearness to both. */
function shareOfOther(network, sample, given, predicted) {
  const [one, other] = [given, predicted].map((code) => nearness(network, sample, code));
  return one + other ? other / (one + other) : 0.5;
}

/**
 * As many samples as there is room for, from one class to the other by the network's probability. Only samples of the two
 * classes belong that are taken for one of them, and whose probability is mostly theirs; of fewer than three, right ones
 * that are nearest to the border are added.
 * @param {number} network @param {number} given @param {number} predicted @param {number} room
 * @returns {{sample: number, share: number, wrong: boolean}[]}
 */
export function between(network, given, predicted, room) {
  const pair = [given, predicted];
  const belonging = [];
  const others = [];
  for (const own of pair)
    for (const sample of samplesOf(own)) {
      const said = prediction(network, sample);
      if (!visible[sample] || !pair.includes(said)) continue;
      const both = pair.reduce((sum, code) => sum + (probability(network, sample, code) ?? 0), 0);
      const each = { sample, share: shareOfOther(network, sample, given, predicted), wrong: said !== own };
      if (both >= LEAST_OF_BOTH) belonging.push(each);
      else if (!each.wrong) others.push(each);
    }
  // At the ends, whatever the errors in between are: the right samples of which the network is surest.
  const rightOf = (own) => belonging.filter(({ sample, wrong }) => !wrong && truth(sample) === own).sort(byShare);
  const ends = [rightOf(given)[0], rightOf(predicted).at(-1)].filter(Boolean);
  const inner = belonging.filter((each) => !ends.includes(each));
  const found = [...ends, ...spread(inner, room - ends.length)];
  const chosen = new Set(found);
  const rest = belonging.filter((each) => !chosen.has(each));
  const wrong = rest.filter((each) => each.wrong).sort(byShare);
  found.push(...evenly(wrong, room - found.length));
  const right = rest.filter((each) => !each.wrong).sort(byDistance);
  found.push(...right.slice(0, room - found.length));
  found.push(...others.sort(byDistance).slice(0, Math.max(0, FEWEST - found.length)));
  return found.sort(byShare);
}

const byShare = (a, b) => a.share - b.share || a.sample - b.sample;
const byDistance = (a, b) => Math.abs(a.share - 0.5) - Math.abs(b.share - 0.5) || a.sample - b.sample;

/** For each step between the ends the sample that is nearest to it, an error before others. */
function spread(way, steps) {
  const found = new Map();
  for (const each of way) {
    const place = each.share * (steps + 1);
    const step = Math.round(place);
    if (step < 1 || step > steps) continue; // too near to an end
    const away = Math.abs(place - step);
    const before = found.get(step);
    if (!before || (each.wrong === before.each.wrong ? away < before.away : each.wrong)) found.set(step, { each, away });
  }
  return [...found.values()].map(({ each }) => each);
}

/** So many of a list, from its first to its last. */
function evenly(list, count) {
  if (count >= list.length) return list;
  if (count <= 1) return list.slice(0, Math.max(0, count));
  return Array.from({ length: count }, (_, k) => list[Math.round((k * (list.length - 1)) / (count - 1))]);
}

/**
 * Up to which layer the neighbours of confused samples have their own class, and from which on the predicted one: the words
 * of the answer cards (answers.py), with numbers of panels in place of the layers' names.
 * @param {number} network @param {number[]} samples @param {number} given @param {number} predicted
 * @returns {(string | number)[]}
 */
export function turn(network, samples, given, predicted) {
  const shares = meta.networks[network].journey.map((panel) => ({ panel, share: shareOfGiven(panel, samples, given, predicted) }));
  const steps = shares.filter(({ share }) => share !== null);
  if (!steps.length) return [];
  const apart = steps.map(({ share }) => share >= 0.5);
  const turning = apart.lastIndexOf(true) + 1;
  if (!turning) return ["merged from ", steps[0].panel, " on"];
  const always = apart.indexOf(false) < 0 || apart.indexOf(false) >= turning;
  if (turning === steps.length) return [always ? "apart in every layer" : "apart at the end"];
  const where = turning === 1 ? "apart in " : always ? "apart up to " : "last apart in ";
  return [where, steps[turning - 1].panel, ", merged from ", steps[turning].panel, " on"];
}

/** The share of samples' neighbours that have the true class, of those that have either; null if none has. */
function shareOfGiven(panel, samples, given, predicted) {
  const near = columns[`near-${panel}`];
  if (!near) return null;
  const count = near.shape[1];
  let [sum, all] = [0, 0];
  for (const sample of samples) {
    let [one, other] = [0, 0];
    for (let k = sample * count; k < (sample + 1) * count; k++) {
      const code = truth(near[k]);
      if (code === given) one++;
      else if (code === predicted) other++;
    }
    if (!one && !other) continue;
    sum += one / (one + other);
    all++;
  }
  return all ? sum / all : null;
}
