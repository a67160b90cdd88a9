// A selection in the other parts of the page: histograms of the reader's columns and counts of their choices are of the
// samples that the other filters leave and, with a selection, of the selected ones among them.

import { BY_COLUMNS, columns, conditions, hiddenBy, meta, on, state } from "./state.js";
import { choicesOf, fields } from "./fields.js";
import { $, grouped, h, svg } from "./dom.js";

const BINS = 40;
const HEIGHT = 30; // of a histogram, in units of its own
const LEAST = 1.5; // of a bar: a few samples are seen beside thousands

/** What counts again when it is shown. @type {(() => void)[]} */
const refreshers = [];

/** Flags of the selection that they were made of. @type {{of: number[] | null, flags: Uint8Array}} */
let known = { of: null, flags: new Uint8Array(0) };

/** 1 for each selected sample, whether visible or not; null without a selection. @returns {Uint8Array | null} */
export function selectedFlags() {
  if (!state.chosen.length) return null;
  if (known.of !== state.chosen) {
    const flags = new Uint8Array(meta.n);
    for (const sample of state.chosen) flags[sample] = 1;
    known = { of: state.chosen, flags };
  }
  return known.flags;
}

/** 1 for each sample that all filters but a column's own leave and, with a selection, that is selected. @param {number} j */
function countedFor(j) {
  const chosen = selectedFlags();
  const others = [...conditions].filter(([name]) => name !== `field-${j}`).map(([, holds]) => holds);
  const flags = new Uint8Array(meta.n);
  for (let sample = 0; sample < meta.n; sample++) {
    if (chosen && !chosen[sample]) continue;
    const by = hiddenBy[sample];
    // Hidden by columns alone: the column's own filter may be the one that hides it.
    if (by === 0 || (by === BY_COLUMNS && others.every((holds) => holds(sample)))) flags[sample] = 1;
  }
  return flags;
}

export function buildFacets() {
  const note = h("p", { id: "facets-scope", class: "hint", role: "status" });
  $("filter-panel").prepend(note);
  refreshers.push(() => showScope(note));
  on("selection", refresh); // after each filter, too
  $("filters").addEventListener("toggle", refresh);
  refresh();
}

/** Counts in a panel that is closed wait until it is opened. */
function refresh() {
  if ($("filters").open) for (const each of refreshers) each();
}

function showScope(note) {
  const selected = selectedFlags();
  const counted = selected ? countOf(selected.map((flag, sample) => (hiddenBy[sample] ? 0 : flag))) : 0;
  note.hidden = !selected;
  note.textContent = selected ? `Dark bars and counts: the ${grouped(counted)} selected, on a scale of their own. Pale bars: all samples.` : "";
}

const countOf = (flags) => flags.reduce((sum, flag) => sum + flag, 0);

/**
 * A histogram: pale bars for all samples and over them those that are counted. A selection has a scale of its own, because
 * few samples would not be seen beside all.
 * @param {number} j column @param {number[]} ends of the axis
 */
export function histogram(j, [low, high]) {
  // Fewer whole numbers than bins: a bin each, without gaps between them.
  const bins = fields[j].whole ? Math.min(BINS, Math.ceil(high - low) + 1) : BINS;
  const all = binCounts(j, low, high, bins, null);
  const counted = svg("path", { class: "counted" });
  const show = () => {
    const counts = binCounts(j, low, high, bins, countedFor(j));
    counted.setAttribute("d", barsOf(counts, Math.max(1, ...(state.chosen.length ? counts : all))));
  };
  refreshers.push(show);
  show();
  return svg(
    "svg",
    { class: "histogram", viewBox: `0 0 ${bins} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { class: "all", d: barsOf(all, Math.max(1, ...all)) }),
    counted,
  );
}

/** @param {Uint8Array | null} flags of the samples that count; null: all */
function binCounts(j, low, high, bins, flags) {
  const counts = new Uint32Array(bins);
  const values = columns[`field-${j}`];
  for (let sample = 0; sample < meta.n; sample++) {
    if (flags && !flags[sample]) continue;
    const bin = Math.floor(((values[sample] - low) / (high - low || 1)) * bins);
    if (Number.isFinite(values[sample])) counts[Math.min(bins - 1, Math.max(0, bin))]++;
  }
  return counts;
}

function barsOf(counts, most) {
  let path = "";
  counts.forEach((count, bin) => {
    if (count) path += `M${bin + 0.5} ${HEIGHT}v${-Math.max(LEAST, (HEIGHT * count) / most)}`;
  });
  return path;
}

/** Keep the counts on the chips of a column's choices up to date. @param {number} j @param {any} host of the chips */
export function countChoices(j, host) {
  const choices = choicesOf(j);
  const values = columns[`field-${j}`];
  const show = () => {
    const flags = countedFor(j);
    const counts = choices.map(() => 0);
    for (let sample = 0; sample < meta.n; sample++) {
      if (!flags[sample]) continue;
      const at = choices.findIndex(({ has }) => has(values[sample]));
      if (at >= 0) counts[at]++;
    }
    [...host.children].forEach((chip, k) => {
      const { name, count } = choices[k];
      const part = counts[k] === count ? "" : ` of ${grouped(count)}`;
      chip.lastChild.textContent = grouped(counts[k]);
      chip.title = `${name}: ${grouped(counts[k])}${part}${state.chosen.length ? ", of the selection" : ""} (shift + click: these alone)`;
    });
  };
  refreshers.push(show);
  show();
}
