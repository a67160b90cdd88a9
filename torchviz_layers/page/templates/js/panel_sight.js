// Which panels the reader sees. What happens in the others waits until they come into view.

import { soon } from "./frames.js";

/** Ranks of work: the stage, panels in view, and what is beside them. */
export const STAGE = 0;
export const PANEL = 1;
export const BESIDE = 2;

/** @type {Set<number>} */
const inSight = new Set();
/** What a panel out of view has missed, by name. @type {Map<number, Map<string, () => void>>} */
const missed = new Map();

/** Do something in a panel now if it is in view, else when it comes into view; the same thing once. */
export function whenSeen(k, what, task) {
  if (inSight.has(k)) return task();
  if (!missed.has(k)) missed.set(k, new Map());
  missed.get(k).set(what, task);
}

/** Repaint a panel in one of the next frames in which it is in view. @param {number} k @param {() => void} paint */
export function repaintPanel(k, paint) {
  whenSeen(k, "paint", () => soon(`panel ${k}`, PANEL, paint));
}

/** Tell which panel has come into view or has left it. @param {number} k @param {boolean} seen */
export function sight(k, seen) {
  if (!seen) {
    inSight.delete(k);
    return;
  }
  inSight.add(k);
  const tasks = missed.get(k);
  missed.delete(k);
  tasks?.forEach((task) => task());
}
