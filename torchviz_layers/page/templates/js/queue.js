// The corner cases, kind by kind; the arrow keys step through them.

import { choose, meta, nameOf, on, pin, state } from "./state.js";
import { SUSPECT, counts, doubted, hasProbabilities, setSuspicion, stated, suspicion } from "./decisions.js";
import { $, grouped, h, percent } from "./dom.js";

let at = -1;

// More planted errors are among the first by score than among the first by probability.
const ORDER =
  "The score is −log10 of the probability of the given label: 3 is one in a thousand. The probability that the label is wrong also asks how many neighbours have the proposed label.";

/** The cases of a kind that count, strongest first. @param {string} kind @returns {any[]} */
export const listed = (kind) => meta.cases.filter((item) => item.kind === kind && counts(item));
const queue = () => listed($("kind").value);

/** How many cases of a kind were found; the page may have only the first of them. */
const found = (kind) => meta.caseTotals[kind] ?? 0;
const carried = (kind) => meta.cases.filter((item) => item.kind === kind).length;

export function buildQueue() {
  if (!meta.cases.length) {
    document.querySelector("main").classList.add("no-cases");
    return $("queue-section").remove();
  }
  const kinds = [...new Set(meta.cases.map(({ kind }) => kind))];
  for (const kind of kinds) $("kind").append(h("option", { value: kind }, kind));
  // An untrained network's errors are no suspects: the page begins with a kind that has cases.
  $("kind").value = kinds.find((kind) => listed(kind).length) ?? kinds[0];
  $("kind").addEventListener("change", () => {
    at = -1;
    step(1);
    showQueue();
  });
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("queue-all").addEventListener("click", () =>
    choose([...new Set(queue().map(({ sample }) => sample))], $("kind").value, true),
  );
  document.addEventListener("keydown", key);
  $("reason").before(h("p", { id: "queue-cut", class: "quiet" }));
  if (hasProbabilities) addThreshold();
  on("sample", showQueue);
  on("suspicion", () => {
    at = queue().findIndex(({ sample }) => sample === state.pinned);
    showQueue();
  });
  showQueue();
}

function addThreshold() {
  const input = h("input", { id: "least-suspicion", type: "range", min: "0", max: "100", step: "1" });
  input.value = String(Math.round(100 * suspicion.least));
  input.addEventListener("input", () => setSuspicion(Number(input.value) / 100));
  const box = h(
    "div",
    { id: "suspicion", title: "How probable it must be that a label is wrong for it to count as a suspect" },
    h("label", { htmlFor: "least-suspicion" }, "Probably wrong"),
    input,
    h("output", { htmlFor: "least-suspicion", class: "quiet" }),
    h("span", { id: "queue-order", class: "quiet", title: ORDER }, "· highest score first"),
  );
  $("reason").before(box);
}

/** Show a kind of cases, from its first on the next step. @param {string} kind */
export function showKind(kind) {
  $("kind").value = kind;
  at = queue().findIndex(({ sample }) => sample === state.pinned);
  $("kind").dispatchEvent(new Event("change"));
}

/** The first corner case; the arrow keys continue from it. @returns {number | undefined} */
export function beginQueue() {
  const first = meta.cases.length ? queue()[0] : undefined;
  if (first) at = 0;
  return first?.sample;
}

/** The case of the chosen kind that is on the card. @returns {any} */
export const currentCase = () => {
  const items = queue();
  return items[at]?.sample === state.sample ? items[at] : items.find(({ sample }) => sample === state.sample);
};

function key(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest?.("input, select, textarea")) return;
  const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (move === undefined) return;
  event.preventDefault();
  step(move);
}

/** @param {number} move 1 to the next, -1 to the previous */
export function step(move) {
  const items = queue();
  if (!items.length) return;
  at = at < 0 ? (move > 0 ? 0 : items.length - 1) : (at + move + items.length) % items.length;
  pin(items[at].sample);
}

function showQueue() {
  const kind = $("kind").value;
  const items = queue();
  // If a sample of the queue is pinned elsewhere on the page, the arrow keys continue from it.
  if (state.pinned !== null && items[at]?.sample !== state.pinned) {
    const place = items.findIndex(({ sample }) => sample === state.pinned);
    if (place >= 0) at = place;
  }
  $("position").textContent = at < 0 ? grouped(items.length) : `${grouped(at + 1)} / ${grouped(items.length)}`;
  $("queue-cut").hidden = carried(kind) >= found(kind);
  $("queue-cut").textContent = `The strongest ${grouped(carried(kind))} of ${grouped(found(kind))} are listed.`;
  showThreshold(kind, items.length);
  const here = currentCase();
  const reason = here ? [...measures(here), here.reason].join(" · ") : "";
  $("reason").title = reason;
  $("reason").textContent = reason || hint(items.length);
}

/** What is filtered by, and what is sorted by. */
const measures = (item) => (stated(item) ? [stated(item), `score ${item.score?.toFixed(1) ?? "–"}`] : []);

function hint(count) {
  if (!count) return "None of these samples is above the threshold.";
  return `Step through these samples with ← and →${state.sample === null ? "" : `; #${nameOf(state.sample)} is not one of them`}.`;
}

function showThreshold(kind, count) {
  const box = $("suspicion");
  if (!box) return;
  box.hidden = kind !== SUSPECT;
  $("least-suspicion").value = String(Math.round(100 * suspicion.least));
  box.querySelector("output").textContent =
    `≥ ${percent(suspicion.least, 0)}: ${grouped(count)} of ${grouped(Math.max(found(SUSPECT), doubted.size))} shown`;
}
