// A multi-label task. Over all labels an error is a sample with any wrong label. For one label, which the reader chooses,
// the page shows two classes, the samples that have it and those that do not; multilabel.py counts the same.

import { columns, emit, filter, isWrong, meta, state, task } from "./state.js";
import { voteOf, votes } from "./votes.js";
import { recount } from "./subsets.js";
import { $, grouped, h, percent } from "./dom.js";

const ABSENT = "#4269d0"; // colours of the two classes of a label
const PRESENT = "#ff725c";

/** The label that is chosen; null for all labels. @type {number | null} */
let chosen = null;

const said = (k) => columns[`said-${k}`];
const networks = () => meta.networks.map((_, k) => k).filter(said);
const width = () => columns.sets.shape[1]; // bytes of a sample's label set

/** Whether a sample's set has a label; labels are packed eight a byte, the first in the highest bit. */
const has = (sets, sample, label) => ((sets[sample * width() + (label >> 3)] >> (7 - (label & 7))) & 1) === 1;

const listed = (sets, sample) => meta.labels.map((_, label) => label).filter((label) => has(sets, sample, label));

const ONES = Uint8Array.from({ length: 256 }, (_, byte) => [...byte.toString(2)].filter((bit) => bit === "1").length);

/** Number of labels that one set has and another does not, or the other way round. */
function different(a, b, sample, other = sample) {
  let count = 0;
  for (let k = 0; k < width(); k++) count += ONES[a[sample * width() + k] ^ b[other * width() + k]];
  return count;
}

/** Number of wrong labels of every sample, by network. @type {Record<number, Uint16Array>} */
const wrongLabels = {};

/** Probability of a label, in [0, 1]. */
const probability = (k, sample, label) => columns[`sure-${k}`][sample * meta.labels.length + label] / 255;

/** Size of the intersection of two samples' label sets as a share of their union; 1 if both are empty. */
function overlap(sample, other) {
  let [both, either] = [0, 0];
  for (let k = 0; k < width(); k++) {
    const [a, b] = [columns.sets[sample * width() + k], columns.sets[other * width() + k]];
    both += ONES[a & b];
    either += ONES[a | b];
  }
  return either ? both / either : 1;
}

/** What differs from classes over all labels; for a chosen label most of it does not apply. */
const ALL = {
  colors() {
    const choices = networks().flatMap((k) => [
      [`count-${k}`, `${meta.networks[k].name}’s wrong labels`],
      [`exact-${k}`, `${meta.networks[k].name}: exact match`],
    ]);
    return [...choices, ["labels", "number of labels"]];
  },
  coloring,
  /** By the wrong labels of the first network. */
  colorOf: (sample) => meta.ramp[Math.min(meta.mostCounted, wrongLabels[networks()[0]]?.[sample] ?? 0)],
  differ: (sample) => different(said(0), said(1), sample) > 0,
  isWrong: (k, sample) => wrongLabels[k] !== undefined && wrongLabels[k][sample] > 0,
  journeyHint:
    "Nearest in each layer’s activation space, and how far their labels and the sample’s overlap; red: no label in common.",
  legend,
  neighbourWrong: (neighbour, sample) => overlap(neighbour, sample) === 0,
  rank: (sample) => networks().reduce((sum, k) => sum + wrongLabels[k][sample], 0),
  ranking: "most wrong labels first",
  sign: () => "any label wrong",
  tag: (sample) => listed(columns.sets, sample).map((label) => meta.labels[label]).join("; ") || "no label",
  vote(near, sample) {
    const mean = near.reduce((sum, neighbour) => sum + overlap(neighbour, sample), 0) / near.length;
    return { wrong: mean === 0, content: h("span", { title: "mean overlap of label sets" }, percent(mean, 0)) };
  },
};

function coloring(by) {
  const [what, k] = by.split("-");
  const discrete = (most, code) => ({ code, low: -0.5, high: most + 0.5, palette: meta.ramp.slice(0, most + 1) });
  if (what === "exact")
    return { code: (s) => Number(isWrong(k, s)), low: -0.5, high: 1.5, palette: [ABSENT, PRESENT] };
  const count = what === "count" ? (s) => wrongLabels[k][s] : (s) => listed(columns.sets, s).length;
  let most = 1;
  for (let sample = 0; sample < meta.n; sample++) most = Math.max(most, count(sample));
  const scale = discrete(Math.min(meta.mostCounted, most), count);
  return { ...scale, palette: spread(scale.palette.length), above: most > meta.mostCounted };
}

/** So many colours over the whole ramp. */
const spread = (count) =>
  Array.from({ length: count }, (_, k) => meta.ramp[Math.round((k / Math.max(1, count - 1)) * (meta.ramp.length - 1))]);

function legend(by) {
  if (!/^(count|exact|labels)/.test(by)) return null;
  const { palette, above } = coloring(by);
  const names = by.startsWith("exact")
    ? ["exact match", "any label wrong"]
    : palette.map((_, k) => `${above && k === palette.length - 1 ? "≥ " : ""}${k}`);
  const entries = names.map((name, k) => {
    const dot = h("i", { class: "dot" });
    dot.style.setProperty("--c", palette[k]);
    return h("span", { class: "entry" }, dot, name);
  });
  const title = ALL.colors().find(([value]) => value === by)[1];
  return h("span", { class: "scale", title }, h("span", { class: "name" }, title), ...entries);
}

/** The choice of a label */

function buildChoice() {
  const select = h("select", { id: "label-choice" });
  select.append(h("option", { value: "" }, "all labels: exact match"));
  meta.labels.forEach((name, label) =>
    select.append(h("option", { value: String(label) }, `${name} (${grouped(meta.has[label])})`)),
  );
  select.addEventListener("change", () => chooseLabel(select.value === "" ? null : Number(select.value)));
  $("chips").before(h("label", { id: "label-of" }, "Label ", select));
}

/** @param {number | null} label null for all labels */
export function chooseLabel(label) {
  chosen = label;
  $("label-choice").value = label === null ? "" : String(label);
  for (const name of Object.keys(ALL)) delete task[name];
  forget();
  if (label === null) Object.assign(task, ALL);
  else asTwoClasses(label);
  state.hidden = new Set();
  recount();
  emit("task");
  emit("sample");
  filter({});
}

/** Remove the columns that make a label two classes. */
function forget() {
  delete columns.target;
  meta.networks.forEach((network, k) => {
    network.classifies = false;
    for (const name of ["top", "share", "settle"]) delete columns[`${name}-${k}`];
  });
  [meta.classes, meta.colors] = [[], []];
}

/** Make the columns that a page of two classes has; class 1 are the samples that have the label. */
function asTwoClasses(label) {
  meta.classes = [`not ${meta.labels[label]}`, meta.labels[label]];
  meta.colors = [ABSENT, PRESENT];
  const of = (sets) => Uint8Array.from({ length: meta.n }, (_, sample) => Number(has(sets, sample, label)));
  columns.target = of(columns.sets);
  for (const k of networks()) {
    meta.networks[k].classifies = true;
    const predicted = of(said(k));
    const [top, share] = [new Uint8Array(2 * meta.n), new Uint16Array(2 * meta.n)];
    for (let sample = 0; sample < meta.n; sample++) {
      const p = probability(k, sample, label);
      const sure = Math.max(0.5, predicted[sample] ? p : 1 - p); // rounding may put it on the other side of 0.5
      top.set([predicted[sample], 1 - predicted[sample]], 2 * sample);
      share.set([65535 * sure, 65535 * (1 - sure)], 2 * sample);
    }
    columns[`top-${k}`] = Object.assign(top, { shape: [meta.n, 2] });
    columns[`share-${k}`] = Object.assign(share, { shape: [meta.n, 2] });
  }
  for (const k of networks()) settle(k);
  task.differ = (sample) => columns["top-0"][2 * sample] !== columns["top-1"][2 * sample];
}

/** The step of its journey from which each sample's vote stays right; one behind the last: not even in the last. */
function settle(k) {
  const { journey } = meta.networks[k];
  if (!journey.every(votes)) return;
  columns[`settle-${k}`] = Uint8Array.from({ length: meta.n }, (_, sample) => {
    let step = journey.length;
    while (step > 0 && voteOf(journey[step - 1], sample) === columns.target[sample]) step--;
    return step;
  });
}

function headline() {
  if (chosen === null) return meta.headline;
  const parts = [[`${meta.labels[chosen]}: ${grouped(columns.target.filter(Boolean).length)} of ${grouped(meta.n)} samples have it`, null]];
  for (const k of networks()) {
    const wrong = columns[`subset-wrong-${k}`];
    if (!wrong) continue;
    parts.push([`; ${meta.networks[k].name} is wrong on `, null], [grouped(wrong.length), `wrong-${k}`]);
  }
  return [...parts, [".", null]];
}

/** The card: label sets as chips, wrong and missing labels marked */

function chip(label, kind) {
  const text = { hit: "", extra: "wrong: ", missing: "missing: " }[kind];
  const sign = { hit: null, extra: h("b", { "aria-hidden": "true" }, "✕"), missing: h("b", { "aria-hidden": "true" }, "−") }[kind];
  const name = meta.labels[label];
  return h(
    "span",
    { class: `label ${kind}${label === chosen ? " chosen" : ""}`, title: text + name },
    sign,
    h("span", { class: "hidden" }, text),
    h("span", { class: "name" }, name),
  );
}

const chips = (entries) =>
  h("span", { class: "labels" }, ...(entries.length ? entries.map(([label, kind]) => chip(label, kind)) : ["no label"]));

const truth = (sample) => chips(listed(columns.sets, sample).map((label) => [label, "hit"]));

function predicted(network, k, sample) {
  if (!said(k)) return null;
  const either = meta.labels.map((_, label) => label).filter((label) => has(said(k), sample, label) || has(columns.sets, sample, label));
  const kind = (label) => (!has(said(k), sample, label) ? "missing" : has(columns.sets, sample, label) ? "hit" : "extra");
  const wrong = wrongLabels[k][sample];
  const line = h("div", { class: isWrong(k, sample) ? "prediction wrong" : "prediction" });
  const sure = chosen === null ? "" : `${percent(probability(k, sample, chosen), 0)} ${meta.labels[chosen]}`;
  line.append(
    h(
      "p",
      { class: "says" },
      h("span", { class: "name", title: network.name }, `${network.name}:`),
      h("span", { class: "quiet" }, wrong ? `${wrong} wrong` : "exact"),
    ),
    sure ? h("p", { class: "quiet", title: sure }, sure) : "",
    // What is wrong comes first.
    chips(either.map((label) => [label, kind(label)]).sort((a, b) => Number(a[1] === "hit") - Number(b[1] === "hit"))),
  );
  return line;
}

const names = (sets, sample) => listed(sets, sample).map((label) => meta.labels[label]).join("; ");

const spoken = (sample) =>
  networks()
    .map((k) => `${meta.networks[k].name} predicts ${names(said(k), sample) || "no label"}, ${wrongLabels[k][sample]} wrong`)
    .join(". ");

function record(sample) {
  const fields = { truth: names(columns.sets, sample) };
  for (const k of networks()) fields[`${meta.networks[k].name} prediction`] = names(said(k), sample);
  return fields;
}

/** The labels as a list, those of most errors first; a click chooses one. */
function tables() {
  return [{ text: "labels: samples, errors, accuracy", draw: drawList }];
}

function drawList(host) {
  host.classList.add("listed");
  const errors = (label) => networks().reduce((sum, k) => sum + meta.labelErrors[k][label], 0);
  const order = meta.labels.map((_, label) => label).sort((a, b) => errors(b) - errors(a) || meta.has[b] - meta.has[a]);
  const head = h("tr", {}, h("th", { scope: "col" }, "label"), h("th", { scope: "col" }, "samples"));
  for (const k of networks()) {
    const { name } = meta.networks[k];
    head.append(h("th", { scope: "col", title: `${name}: errors and accuracy`, class: `net-${k}` }, name));
  }
  const lines = order.map((label) => {
    const name = meta.labels[label];
    const open = h("button", { title: name, onclick: () => chooseAndFollow(label) }, name);
    open.setAttribute("aria-pressed", String(label === chosen));
    const line = h("tr", {}, h("th", { scope: "row" }, open), h("td", {}, grouped(meta.has[label])));
    for (const k of networks()) {
      const count = meta.labelErrors[k][label];
      line.append(h("td", {}, h("b", {}, grouped(count)), h("small", {}, ` ${percent(1 - count / meta.count)}`)));
    }
    return line;
  });
  host.replaceChildren(h("table", { class: "label-list" }, h("thead", {}, head), h("tbody", {}, ...lines)));
}

/** The list gives way to the label's matrix, so that the focus moves to what replaced it. */
function chooseAndFollow(label) {
  chooseLabel(label);
  $("matrix-choice").focus();
}

if (meta.task === "multilabel") {
  for (const k of networks())
    wrongLabels[k] = Uint16Array.from({ length: meta.n }, (_, sample) => different(said(k), columns.sets, sample));
  // The first are those that apply to one label, too.
  Object.assign(task, { buildTools: buildChoice, headline, predicted, record, spoken, tables, truth }, ALL);
}
