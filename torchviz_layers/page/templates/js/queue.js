// The corner cases, kind by kind; the arrow keys step through them.

import { choose, meta, nameOf, on, pin, state } from "./state.js";
import { $, grouped, h } from "./dom.js";

let at = -1;

const queue = () => meta.cases.filter(({ kind }) => kind === $("kind").value);

export function buildQueue() {
  if (!meta.cases.length) return $("queue-section").remove();
  const kinds = [...new Set(meta.cases.map(({ kind }) => kind))];
  for (const kind of kinds) $("kind").append(h("option", { value: kind }, kind));
  $("kind").addEventListener("change", () => {
    at = -1;
    step(1);
  });
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("queue-all").addEventListener("click", () =>
    choose([...new Set(queue().map(({ sample }) => sample))], $("kind").value),
  );
  document.addEventListener("keydown", key);
  on("sample", showQueue);
}

/** The first corner case; the arrow keys continue from it. @returns {number | undefined} */
export function beginQueue() {
  if (!meta.cases.length) return undefined;
  at = 0;
  return queue()[0].sample;
}

function key(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest?.("input, select, textarea")) return;
  const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (move === undefined) return;
  event.preventDefault();
  step(move);
}

function step(move) {
  const items = queue();
  at = at < 0 ? (move > 0 ? 0 : items.length - 1) : (at + move + items.length) % items.length;
  pin(items[at].sample);
}

function showQueue() {
  const items = queue();
  // If a sample of the queue is pinned elsewhere on the page, the arrow keys continue from it.
  if (state.pinned !== null && items[at]?.sample !== state.pinned) {
    const found = items.findIndex(({ sample }) => sample === state.pinned);
    if (found >= 0) at = found;
  }
  const here = items[at]?.sample === state.sample ? items[at] : items.find(({ sample }) => sample === state.sample);
  $("position").textContent = at < 0 ? grouped(items.length) : `${grouped(at + 1)} / ${grouped(items.length)}`;
  $("reason").title = here ? here.reason : "";
  $("reason").textContent = here
    ? here.reason
    : `Step through these samples with ← and →${state.sample === null ? "" : `; #${nameOf(state.sample)} is not one of them`}.`;
}
