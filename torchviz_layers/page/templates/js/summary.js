// What a selection is made of: its classes, errors and confidence, and how its columns differ from all samples.

import { choose, columns, confidence, isWrong, label, meta, narrowed, on, prediction, scope, selected, state, task, truth } from "./state.js";
import { fields, readEnd } from "./fields.js";
import { cut } from "./chips.js";
import { networks, predicted, rounded } from "./residuals.js";
import { $, grouped, h, percent } from "./dom.js";

const MOST_BARS = 12;
const MOST_NETWORKS = 3;
const MOST_COLUMNS = 2; // lines on the reader's columns
const NOTABLE = 0.15; // a difference of a column that is worth a line: of shares, or in standard deviations

export function buildSummary() {
  if ($("matrix-choice")) $("matrix-choice").addEventListener("change", () => queueMicrotask(showScope));
  $("gallery-count").after(h("div", { id: "summary", role: "group", "aria-label": "Summary of the selection" }));
  if ($("matrix")) $("matrix").before(h("p", { id: "matrix-scope", class: "hint", role: "status" }));
  on("selection", showSummary);
  on("filter", showScope);
  on("scope", showScope);
  showSummary();
  showScope();
}

/** Say that the matrix counts the selection alone. */
function showScope() {
  const note = $("matrix-scope");
  if (!note) return;
  // A list of labels is of all samples, whatever is selected.
  const counted = narrowed() && !document.querySelector("#matrix .label-list");
  note.hidden = !counted;
  if (!counted) return;
  const count = scope.reduce((sum, one) => sum + one, 0);
  note.textContent = `Counts of the selection: ${count === 1 ? "1 sample" : `${grouped(count)} samples`}`;
}

function showSummary() {
  const samples = state.chosen.length ? selected() : [];
  $("summary").hidden = samples.length < 2;
  if (samples.length < 2) return $("summary").replaceChildren();
  const lines = meta.task === "regression" ? values(samples) : [classBars(samples), ...errors(samples)];
  $("summary").replaceChildren(...[...lines, ...columnLines(samples)].filter((line) => line !== null));
}

const line = (text) => h("p", { class: "summary-line", title: text }, text);

/** A bar for each class, as wide as its share; a click leaves that class of the selection. */
function classBars(samples) {
  if (!meta.classes.length) return null;
  const counts = new Uint32Array(meta.classes.length + 1);
  for (const sample of samples) counts[label(sample)]++;
  const order = [...counts.keys()].filter((code) => counts[code]).sort((a, b) => counts[b] - counts[a] || a - b);
  const most = counts[order[0]];
  const bars = order.slice(0, MOST_BARS).map((code) => {
    const name = meta.classes[code] ?? "unlabelled";
    const text = `${name}: ${grouped(counts[code])} (${percent(counts[code] / samples.length, 0)})`;
    const narrow = () => {
      const left = samples.filter((sample) => label(sample) === code);
      choose(left, `${name} of ${state.chosenAs || "the selection"}`, state.ranked);
    };
    const bar = h("i", { "aria-hidden": "true" });
    bar.style.cssText = `height:${Math.max(2, (20 * counts[code]) / most).toFixed(1)}px`;
    bar.style.setProperty("--c", meta.colors[code] ?? "var(--ink)");
    const properties = { class: "class-bar", title: `${text}; click: these alone`, onclick: narrow };
    return h("button", properties, bar, h("span", { class: "name" }, cut(name, 8)), h("b", {}, grouped(counts[code])));
  });
  const more = order.length - bars.length;
  if (more > 0) bars.push(h("span", { class: "quiet" }, `+${grouped(more)} classes`));
  return h("div", { class: "class-bars", role: "group", "aria-label": "Classes of the selection" }, ...bars);
}

/** By network the share of errors, the mean confidence, and the two classes that are confused most. */
function errors(samples) {
  const known = samples.filter((sample) => task.isWrong || truth(sample) !== null);
  const judges = meta.networks.map((_, k) => k).filter((k) => columns[`top-${k}`] || columns[`said-${k}`]);
  const lines = judges.slice(0, MOST_NETWORKS).map((k) => {
    const parts = [];
    if ((columns.target || task.isWrong) && known.length)
      parts.push(`${percent(known.filter((sample) => isWrong(k, sample)).length / known.length)} wrong`);
    if (columns[`share-${k}`])
      parts.push(`mean confidence ${percent(mean(samples.map((sample) => confidence(k, sample))), 0)}`);
    const confused = mostConfused(k, known);
    if (confused) parts.push(confused);
    return parts.length ? line(`${meta.networks[k].name}: ${parts.join(" · ")}`) : null;
  });
  const more = judges.length - MOST_NETWORKS;
  return more > 0 ? [...lines, line(`and ${more} more networks`)] : lines;
}

const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / Math.max(1, numbers.length);

/** "4 read as 9: 12", the most frequent error of a network. */
function mostConfused(k, samples) {
  if (!columns.target || !columns[`top-${k}`]) return "";
  const size = meta.classes.length;
  const counts = new Map();
  for (const sample of samples) {
    const [right, read] = [truth(sample), prediction(k, sample)];
    if (right === null || right === read) continue;
    counts.set(right * size + read, (counts.get(right * size + read) ?? 0) + 1);
  }
  const [most] = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  if (!most) return "";
  const [right, read] = [Math.floor(most[0] / size), most[0] % size];
  return `${cut(meta.classes[right], 12)} read as ${cut(meta.classes[read], 12)}: ${grouped(most[1])}`;
}

const trueValue = (sample) => (columns.value ? columns.value[sample] : NaN);

/** Of a regression the mean of the true values, and by network the mean error. */
function values(samples) {
  const known = samples.filter((sample) => !Number.isNaN(trueValue(sample)));
  if (!known.length) return [line(`${grouped(samples.length)} samples without a true value`)];
  const every = Array.from({ length: meta.n }, (_, sample) => trueValue(sample)).filter((value) => !Number.isNaN(value));
  const lines = [line(`mean true value ${rounded(mean(known.map(trueValue)))} (of all: ${rounded(mean(every))})`)];
  for (const k of networks().slice(0, MOST_NETWORKS)) {
    const off = known.map((sample) => predicted(k, sample) - trueValue(sample)).filter(Number.isFinite);
    const size = rounded(mean(off.map(Math.abs)));
    lines.push(line(`${meta.networks[k].name}: mean error ${size}, on average ${rounded(mean(off))}`));
  }
  return lines;
}

/** The columns in which the selection differs most from all samples. */
function columnLines(samples) {
  const found = fields.map((_, j) => difference(j, samples)).filter((each) => each !== null && each.size >= NOTABLE);
  found.sort((a, b) => b.size - a.size);
  return found.slice(0, MOST_COLUMNS).map(({ text }) => line(text));
}

/** How far a column's values in the selection are from those of all, and in words. @returns {{size: number, text: string} | null} */
function difference(j, samples) {
  const { name, kind } = fields[j];
  const all = columns[`field-${j}`];
  if (kind === "text") return null;
  if (kind === "category") return categories(j, samples);
  const own = samples.map((sample) => all[sample]).filter(Number.isFinite);
  const every = Array.from(all).filter(Number.isFinite);
  if (!own.length) return null;
  const [here, there] = [mean(own), mean(every)];
  const spread = Math.sqrt(mean(every.map((value) => (value - there) ** 2)));
  // Means of whole numbers aren't whole: four digits are enough.
  const read = (value) => (kind === "date" ? readEnd(j, Math.round(value)) : String(Number(value.toPrecision(3))).replace("-", "−"));
  return { size: Math.abs(here - there) / (spread || 1), text: `${name}: mean ${read(here)} (of all: ${read(there)})` };
}

/** The category with the largest gain of its share. */
function categories(j, samples) {
  const { name, names } = fields[j];
  const all = columns[`field-${j}`];
  const [own, every] = [new Uint32Array(names.length + 1), new Uint32Array(names.length + 1)];
  for (const sample of samples) own[all[sample]]++;
  for (const code of all) every[code]++;
  const gain = (code) => own[code] / samples.length - every[code] / meta.n;
  const best = [...own.keys()].sort((a, b) => gain(b) - gain(a) || a - b)[0];
  const shares = [own[best] / samples.length, every[best] / meta.n].map((share) => percent(share, 0));
  return { size: gain(best), text: `${name}: ${names[best] ?? "missing"} ${shares[0]} (of all: ${shares[1]})` };
}
