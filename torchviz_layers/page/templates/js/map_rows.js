// Which points are shown, as dots or as crosses, and which are selected.

import { choose, isWrong, meta, state, visible } from "./state.js";
import { maps, models } from "./maps.js";

/** Set while the script itself changes the sources' selection. */
let echo = false;

export function brushed(source) {
  if (echo) return;
  // A brush that catches nothing is a slip: "Clear" and Esc are the ways to end a selection.
  if (!source.selected.indices.length && state.chosen.length) return showSelection();
  choose(
    Array.from(source.selected.indices, (row) => maps.sampleOf[row]),
    "Selection",
  );
}

export function showSelection() {
  const { sampleOf, rowOf } = maps;
  echo = true;
  // Visible ones in drawing order, by flags: neither ranks nor comparisons are needed.
  const flags = new Uint8Array(sampleOf.length);
  for (const sample of state.chosen) if (visible[sample]) flags[rowOf[sample]] = 1;
  const rows = [];
  for (let row = 0; row < flags.length; row++) if (flags[row]) rows.push(row);
  models.samples.selected.indices = rows;
  models.stage.selected.indices = rows;
  echo = false;
}

export function showVisible() {
  const { sampleOf } = maps;
  const visibleRows = new Uint8Array(sampleOf.length);
  for (let row = 0; row < sampleOf.length; row++) visibleRows[row] = visible[sampleOf[row]];
  maps.visibleRows = visibleRows;
  const wrong = meta.networks.map((_, k) => errorsOf(k));
  const everywhere = new Uint8Array(sampleOf.length).fill(wrong.length ? 1 : 0);
  for (const flags of wrong) for (let row = 0; row < flags.length; row++) everywhere[row] &= flags[row];
  split("both", everywhere);
  wrong.forEach((flags, k) => split(String(k), flags));
  split("stage", wrong[meta.panels[state.stage].network] ?? everywhere);
  // The name of a class that is switched off is hidden, too.
  const codes = Array.from(models["names-stage"].data.text, (_, code) => code);
  replace(
    "named",
    codes.filter((code) => !state.hidden.has(code)),
  );
}

/** 1 for rows whose sample a network misclassifies. @returns {Uint8Array} */
function errorsOf(k) {
  const { sampleOf, visibleRows } = maps;
  const flags = new Uint8Array(sampleOf.length);
  for (let row = 0; row < flags.length; row++) if (visibleRows[row] && isWrong(k, sampleOf[row])) flags[row] = 1;
  return flags;
}

/** Divide the visible rows into dots and crosses. */
function split(who, wrong) {
  const { visibleRows } = maps;
  const plain = [];
  const crossed = [];
  for (let row = 0; row < visibleRows.length; row++) if (visibleRows[row]) (wrong[row] ? crossed : plain).push(row);
  replace(`plain-${who}`, plain);
  replace(`wrong-${who}`, crossed);
}

/** Set a view only if it differs: every assignment repaints its panels. */
function replace(name, rows) {
  const old = models[name].indices;
  if (old.length === rows.length && rows.every((row, k) => row === old[k])) return;
  models[name].indices = rows;
}
