// Inside the live page: it sends the selection to the shell around it, and receives marks and neighbours.
// Messages name a sample by its row in the store; the page itself, as everywhere, by its own row.

import { choose, columns, meta, nameOf, on, pin, selected, state } from "./state.js";
import { $, grouped, h } from "./dom.js";

/** Row in the store of every sample. @type {Uint32Array} */
const storeRow = columns["store-row"];
const sampleOf = new Map(Array.from(storeRow, (row, sample) => [row, sample]));

/** The reader's marks, by sample. @type {Map<number, {label: string, note: string}>} */
let marks = new Map();

const send = (message) => parent.postMessage(message, origin);
const rowsOf = (samples) => samples.map((sample) => storeRow[sample]);

/** The sample that the controls act on: the one that was clicked or, without one, the one under the pointer. */
const subject = () => state.pinned ?? state.sample;

function showSubject() {
  const sample = subject();
  const mark = marks.get(sample);
  $("mark-sample").disabled = sample === null;
  $("mark-sample").textContent = sample === null ? "Mark" : `Mark #${nameOf(sample)}`;
  $("near-find").disabled = sample === null;
  $("unmark").hidden = mark === undefined;
  for (const badge of document.querySelectorAll("#card .mark.own")) badge.remove();
  const shown = marks.get(state.sample);
  if (shown) $("card").querySelector(".kinds")?.append(h("span", { class: "mark own", title: shown.note }, shown.label));
}

function showChosen() {
  const { length } = selected();
  $("mark-selection").hidden = !length;
  $("mark-selection").textContent = `Mark ${grouped(length)} selected`;
  send({ kind: "selection", rows: rowsOf(selected()) });
}

function showMarks() {
  $("marked").hidden = !marks.size;
  $("marked").textContent = `${grouped(marks.size)} marked`;
  for (const tile of $("gallery").querySelectorAll(".tile"))
    tile.classList.toggle("marked", marks.has(Number(tile.dataset.sample)));
  showSubject();
}

function mark(samples, label) {
  send({ kind: "ask", ask: { do: "mark", rows: rowsOf(samples), label, note: $("mark-note").value } });
}

function receiveMarks({ marks: given }) {
  marks = new Map(given.filter(({ row }) => sampleOf.has(row)).map((each) => [sampleOf.get(each.row), each]));
  showMarks();
}

function receiveNeighbours({ row, layer, items }) {
  const query = sampleOf.get(row);
  $("near-found").hidden = false;
  $("near-found").replaceChildren(
    h("p", { class: "hint" }, `Nearest to #${query === undefined ? row : nameOf(query)} in ${layer}, among all samples:`),
    ...items.map(neighbour),
  );
}

function neighbour({ row, id, distance, truth, wrong, picture, text }) {
  const sample = sampleOf.get(row);
  const title = `#${id}${truth === null ? "" : `, ${truth}`}, distance ${distance}${sample === undefined ? ", not shown here" : ""}`;
  const button = h(
    "button",
    {
      class: `thumb${wrong ? " wrong" : ""}${picture ? "" : " named"}`,
      title,
      "aria-label": title,
      "aria-disabled": String(sample === undefined),
      onclick: () => sample === undefined || pin(sample),
    },
    picture ? h("img", { src: picture, alt: "" }) : (text ?? `#${id}`),
  );
  button.dataset.row = String(row);
  return button;
}

$("mark").addEventListener("submit", (event) => {
  event.preventDefault();
  if (subject() !== null) mark([subject()], $("mark-label").value);
});
$("mark-selection").addEventListener("click", () => {
  if ($("mark").reportValidity()) mark(selected(), $("mark-label").value);
});
$("unmark").addEventListener("click", () => mark([subject()], ""));
$("marked").addEventListener("click", () => choose([...marks.keys()], "Marked"));
$("near").addEventListener("submit", (event) => {
  event.preventDefault();
  const row = storeRow[subject()];
  send({ kind: "ask", ask: { do: "neighbors", row, layer: $("near-layer").value, k: Number($("near-count").value) } });
});
$("near-layer").value = meta.panels[state.stage].layer;

on("sample", showSubject);
on("selection", showChosen);
on("theme", () => send({ kind: "theme", theme: document.documentElement.dataset.theme }));
on("stage", () => ($("near-layer").value = meta.panels[state.stage].layer));
new MutationObserver(showMarks).observe($("gallery"), { childList: true });

const receive = { marks: receiveMarks, neighbors: receiveNeighbours };
addEventListener("message", (event) => {
  if (event.source === parent && event.origin === origin) receive[event.data.kind]?.(event.data);
});
showSubject();
showChosen();
send({ kind: "ready" });
