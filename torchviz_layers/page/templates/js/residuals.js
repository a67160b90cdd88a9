// A regression: values and residuals in place of classes. An error is a residual larger than a threshold that the reader
// moves. A residual is a network's prediction minus the true value; regression.py counts the same.

import { choose, colorBy, columns, emit, filter, isWrong, meta, task } from "./state.js";
import { members, recount } from "./subsets.js";
import { $, grouped, h } from "./dom.js";

const SIGNIFICANT = 9; // digits of an exported residual

/** A number as the page shows it: at least three significant digits. @param {number} value */
export function rounded(value) {
  if (Number.isNaN(value)) return "unknown";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size && (size < 1e-4 || size >= 1e6)) return value.toExponential(2);
  const digits = size ? Math.max(0, 2 - Math.floor(Math.log10(size))) : 0;
  return value.toLocaleString("en-US", { maximumFractionDigits: digits }).replace("-", "−");
}

const signed = (value) => `${value > 0 ? "+" : ""}${rounded(value)}`;
export const truth = (sample) => (columns.value ? columns.value[sample] : NaN);
export const predicted = (k, sample) => (columns[`value-${k}`] ? columns[`value-${k}`][sample] : NaN);

/** NaN without a true value; infinite if the prediction is not finite: nothing is farther off. */
function residual(k, sample) {
  if (!columns[`value-${k}`] || Number.isNaN(truth(sample))) return NaN;
  const value = predicted(k, sample);
  return (Number.isFinite(value) ? value : Infinity) - truth(sample);
}

const threshold = () => meta.threshold.value;
const predicts = (k) => columns[`value-${k}`] !== undefined;
export const networks = () => meta.networks.map((_, k) => k).filter(predicts);

/** Size of the largest residual of a sample; without one, below all others. */
function severity(sample) {
  const sizes = networks().map((k) => Math.abs(residual(k, sample)));
  return Math.max(-1, ...sizes.filter((size) => !Number.isNaN(size)));
}

/** The threshold */

function buildThreshold() {
  if (!meta.threshold) return;
  const { value, max, step } = meta.threshold;
  const usual = value;
  const slider = h("input", { id: "threshold", type: "range", min: "0", max: String(max), step: String(step) });
  const number = h("input", { id: "threshold-number", type: "number", min: "0", step: "any" });
  number.setAttribute("aria-label", "Threshold of errors, in the target’s unit");
  const share = h("output", { class: "quiet", for: "threshold" });
  const reset = h("button", { class: "small", title: `Back to ${rounded(usual)}, which the largest 5 % or so exceed` }, "5 %");
  const show = () => {
    slider.value = String(threshold());
    slider.setAttribute("aria-valuetext", rounded(threshold()));
    if (document.activeElement !== number) number.value = String(threshold());
    share.textContent = shareOfErrors();
    reset.disabled = threshold() === usual;
  };
  // A drag sends more events than the figures can be drawn for: at most one a frame counts.
  let asked = 0;
  const ask = (size) => {
    if (!Number.isFinite(size) || size < 0) return;
    meta.threshold.value = size;
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(() => {
      moved();
      show();
    });
  };
  slider.addEventListener("input", () => ask(Number(slider.value)));
  number.addEventListener("input", () => number.value !== "" && ask(Number(number.value)));
  number.addEventListener("blur", show);
  reset.addEventListener("click", () => ask(usual));
  const label = h("label", { htmlFor: "threshold" }, "Off by more than");
  $("chips").before(h("div", { id: "threshold-choice", role: "group", "aria-label": "Errors" }, label, slider, number, share, reset));
  show();
}

function shareOfErrors() {
  const known = networks().flatMap((k) => members((sample) => !Number.isNaN(residual(k, sample))).map((sample) => isWrong(k, sample)));
  const share = known.filter(Boolean).length / Math.max(1, known.length);
  return `largest ${(100 * share).toFixed(share && share < 0.1 ? 1 : 0)} %`;
}

function moved() {
  recount((subset) => `${subset.label.slice(0, subset.label.lastIndexOf(" > "))} > ${rounded(threshold())}`);
  emit("task");
  emit("sample");
  filter({});
}

/** Colours */

function colors() {
  const known = networks();
  const choices = columns.value ? [["truth", "true value"]] : [];
  choices.push(...known.map((k) => [`value-${k}`, `${meta.networks[k].name}’s prediction`]));
  if (columns.value) choices.push(...known.map((k) => [`residual-${k}`, `${meta.networks[k].name}’s residual`]));
  return choices;
}

function coloring(by) {
  const [what, network] = by.split("-");
  if (!["truth", "value", "residual"].includes(what)) return null;
  const { low, high, below, above } = what === "residual" ? meta.residualScale : meta.valueScale;
  const code = { truth, value: (s) => predicted(network, s), residual: (s) => residual(network, s) }[what];
  return { code, low, high, below, above, palette: what === "residual" ? meta.diverging : meta.ramp };
}

/** The colour of a true value. */
function colorOf(sample) {
  const { low, high } = meta.valueScale;
  const share = Math.min(1, Math.max(0, (truth(sample) - low) / (high - low)));
  return Number.isNaN(share) ? "var(--ink)" : meta.ramp[Math.round(share * (meta.ramp.length - 1))];
}

/** The colours and their numbers: at the ends, ≤ and ≥ if there are values beyond them. */
function legend(by) {
  const scale = coloring(by);
  if (!scale) return null;
  const { low, high, below, above, palette } = scale;
  const bar = h("span", { class: "ramp" });
  bar.style.background = `linear-gradient(90deg, ${palette.join(",")})`;
  const from = `${below ? "≤ " : ""}${rounded(low)}`;
  const to = `${above ? "≥ " : ""}${rounded(high)}`;
  const name = colors().find(([value]) => value === by)[1];
  const unlabelled = by !== `value-${by.split("-")[1]}` && columns.value?.some(Number.isNaN);
  return h(
    "span",
    { class: "scale", title: `${name}: from ${from} to ${to}` },
    h("span", { class: "name" }, name),
    h("span", {}, from),
    h("span", { class: "ticks" }, bar, by.startsWith("residual") ? h("span", { class: "middle" }, "0") : null),
    h("span", {}, to),
    unlabelled ? h("span", { class: "entry" }, h("i", { class: "dot unknown" }), "no value") : null,
  );
}

/** The headline's parts: what their text is now, and what a click on them does. */

function headline() {
  return meta.headline.map(([text, part]) => {
    if (part === "threshold") return [rounded(threshold()), null];
    return [columns[`subset-${part}`] ? grouped(columns[`subset-${part}`].length) : text, part];
  });
}

function act(part) {
  const [what, k] = part.split("-");
  if (what === "plot") {
    $("matrix-choice").value = String(networks().indexOf(Number(k)));
    $("matrix-choice").dispatchEvent(new Event("change"));
    $("color").value = `residual-${k}`;
    colorBy(`residual-${k}`);
    return true;
  }
  if (what !== "within") return false;
  const near = (sample) => Math.abs(residual(k, sample)) <= meta.medians[k];
  choose(members(near), `${meta.networks[k].name}: |residual| ≤ ${rounded(meta.medians[k])}`);
  return true;
}

/** The card */

const valueText = (sample) => (Number.isNaN(truth(sample)) ? "no true value" : rounded(truth(sample)));

function truthOnCard(sample) {
  if (!columns.value) return null;
  if (Number.isNaN(truth(sample))) return h("span", {}, " has no true value");
  return h("span", {}, " true value ", h("b", {}, valueText(sample)));
}

function predictedOnCard(network, k, sample) {
  if (!predicts(k)) return null;
  const wrong = isWrong(k, sample);
  const off = residual(k, sample);
  const line = h("div", { class: wrong ? "prediction wrong" : "prediction" });
  line.append(
    h(
      "p",
      { class: "says" },
      h("span", { class: "name", title: network.name }, `${network.name}:`),
      h("b", {}, rounded(predicted(k, sample))),
      Number.isNaN(off) ? null : h("span", { class: "residual", title: "residual: prediction minus true value" }, signed(off)),
      wrong ? h("b", { class: "verdict", title: `off by more than ${rounded(threshold())}` }, "✕") : null,
    ),
    gauge(k, sample),
  );
  return line;
}

/** Where the true value and the prediction are on the scale of the values. */
function gauge(k, sample) {
  const { low, high } = meta.valueScale;
  const at = (value) => `${(100 * Math.min(1, Math.max(0, (value - low) / (high - low)))).toFixed(1)}%`;
  const marks = [];
  if (!Number.isNaN(truth(sample))) marks.push(["truth", truth(sample)]);
  if (!Number.isNaN(predicted(k, sample))) marks.push(["said", predicted(k, sample)]);
  const bar = h("div", { class: "gauge", "aria-hidden": "true" });
  for (const [kind, value] of marks) {
    const mark = h("i", { class: kind });
    mark.style.left = at(value);
    bar.append(mark);
  }
  return bar;
}

function spoken(sample) {
  return networks()
    .map((k) => {
      const off = residual(k, sample);
      const end = Number.isNaN(off) ? "" : `, residual ${signed(off)}`;
      return `${meta.networks[k].name} predicts ${rounded(predicted(k, sample))}${end}`;
    })
    .join(". ");
}

/** The journey: neighbours with their values, and their mean */

function vote(near, sample) {
  const values = near.map(truth).filter((value) => !Number.isNaN(value));
  if (!values.length) return null;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const far = Boolean(meta.threshold) && Math.abs(mean - truth(sample)) > threshold();
  return { wrong: far, content: h("span", { title: `mean of the neighbours: ${rounded(mean)}` }, rounded(mean)) };
}

/** Exported fields */

function record(sample) {
  const fields = columns.value ? { truth: Number.isNaN(truth(sample)) ? null : truth(sample) } : {};
  for (const k of networks()) {
    const { name } = meta.networks[k];
    fields[`${name} prediction`] = predicted(k, sample);
    const off = predicted(k, sample) - truth(sample);
    if (columns.value) fields[`${name} residual`] = Number.isNaN(off) ? null : Number(off.toPrecision(SIGNIFICANT));
  }
  return fields;
}

if (meta.task === "regression")
  Object.assign(task, {
    act,
    buildTools: buildThreshold,
    coloring,
    colorOf,
    colors,
    differ: (sample) => Boolean(meta.threshold) && Math.abs(predicted(0, sample) - predicted(1, sample)) > threshold(),
    headline,
    isWrong: (k, sample) => Boolean(meta.threshold) && Math.abs(residual(k, sample)) > threshold(),
    journeyHint: "Nearest in each layer’s activation space, and the mean of their values; red: farther off than the threshold.",
    legend,
    neighbourWrong: (neighbour, sample) => Boolean(meta.threshold) && Math.abs(truth(neighbour) - truth(sample)) > threshold(),
    predicted: predictedOnCard,
    rank: severity,
    ranking: meta.threshold ? "largest residual first" : "",
    record,
    sign: () => `|residual| > ${rounded(threshold())}`,
    spoken,
    tag: (sample) => (columns.value ? valueText(sample) : ""),
    truth: truthOnCard,
    vote,
  });
