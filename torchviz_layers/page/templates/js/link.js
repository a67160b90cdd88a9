// The page's address keeps the view. Each part of the page registers what it keeps; the link names only what differs from a
// fresh page.

/**
 * @typedef {object} Part
 * @property {string} name
 * @property {() => string | null} write the part as it is now; null if it is as on a fresh page
 * @property {(text: string | null) => void} read bring it to what a link says; null: as on a fresh page. It ignores what it
 *   does not know: a link may be mistyped, of another page, or hostile.
 */

const PATIENCE = 250; // milliseconds after the last change; browsers limit how often the address may change
/** Parts that a link can name alone, without a change of the others. */
const ALONE = new Set(["sample", "layer"]);

/** The parts in the order in which they are written and read. @type {Map<string, Part>} */
const parts = new Map();
let waiting = 0;
/** Set while a link is read: what it changes is written once, at the end. */
let reading = false;

/** Keep a part of the page in its link. @param {Part} part */
export function keep(part) {
  parts.set(part.name, part);
}

/** Keep what a select or a field of numbers shows; a link's value is set as if the reader had chosen it. @param {string} id */
export function keepControl(name, id, event = "change") {
  const control = document.getElementById(id);
  if (!(control instanceof HTMLSelectElement || control instanceof HTMLInputElement)) return;
  const usual = control.value;
  keep({
    name,
    write: () => (control.value === usual || !control.isConnected ? null : control.value),
    read(text) {
      const wanted = text ?? usual;
      if (wanted === control.value) return;
      const known = control instanceof HTMLSelectElement ? [...control.options].some(({ value }) => value === wanted) : true;
      const valid = control.type !== "number" || (wanted.trim() !== "" && Number(wanted) >= 0 && Number.isFinite(Number(wanted)));
      if (!known || !valid) return;
      control.value = wanted;
      control.dispatchEvent(new Event(event, { bubbles: true }));
    },
  });
}

/** The view as a link's end, from `#` on. */
export function written() {
  const link = new URLSearchParams();
  for (const { name, write } of parts.values()) {
    const text = write();
    if (text !== null) link.set(name, text);
  }
  return `#${link}`;
}

/** Put the view into the address now. */
export function writeLink() {
  clearTimeout(waiting);
  if (reading) return;
  try {
    history.replaceState(null, "", written());
  } catch {
    // An iframe in a notebook has no address that could be changed.
  }
}

/** Put the view into the address soon: what changes often changes it once. */
export function writeSoon() {
  clearTimeout(waiting);
  waiting = setTimeout(writeLink, PATIENCE);
}

/** What the address says of a part of the view; null without it. @param {string} name */
export const linkSays = (name) => new URLSearchParams(location.hash.slice(1)).get(name);

/**
 * Show what the address names; what a whole view's link does not name is as on a fresh page. A link to a sample or a layer
 * alone, which a person writes, leaves the rest of the view as it is.
 */
export function readLink() {
  const link = new URLSearchParams(location.hash.slice(1));
  const named = [...link.keys()].filter((name) => parts.has(name));
  const whole = named.some((name) => !ALONE.has(name)) || named.length === ALONE.size;
  reading = true;
  for (const { name, read } of [...parts.values()]) {
    if (!whole && !link.has(name)) continue;
    if (ALONE.has(name) && !link.has(name)) continue;
    try {
      read(link.get(name));
    } catch {
      // What a link says may not fit this page.
    }
  }
  reading = false;
}

const LONGEST = 1500; // bytes of a selection in a link

/**
 * Rows as text for a link: as differences, in seven bits a byte, or as a bit for each sample of the page, whichever is
 * shorter; null if both are too long. @param {number[]} rows @param {number} n samples of the page
 * @param {boolean} ordered whether the order of the rows means something @returns {string | null}
 */
export function packRows(rows, n, ordered) {
  const sorted = ordered ? rows : [...rows].sort((a, b) => a - b);
  const bytes = [];
  let before = ordered ? 0 : -1;
  for (const row of sorted) {
    const step = row - before;
    // Of rows in an order of their own a step may go back: its sign is the lowest bit.
    let rest = ordered ? (step < 0 ? -2 * step - 1 : 2 * step) : step - 1;
    for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128);
    bytes.push(rest);
    before = row;
  }
  const bits = Math.ceil(n / 8);
  if (!ordered && bits < bytes.length && bits <= LONGEST) {
    const set = new Uint8Array(bits);
    for (const row of sorted) set[row >> 3] |= 1 << (row & 7);
    return `b${base64(set)}`;
  }
  return bytes.length <= LONGEST ? `${ordered ? "o" : "d"}${base64(bytes)}` : null;
}

/** Rows that `packRows` wrote, without repetition; only those that the page has. @param {string} text @returns {number[]} */
export function unpackRows(text, n) {
  const bytes = Array.from(atob(text.slice(1).replaceAll("-", "+").replaceAll("_", "/")), (sign) => sign.charCodeAt(0));
  const rows = new Set();
  if (text[0] === "b") {
    for (let row = 0; row < Math.min(n, 8 * bytes.length); row++) if ((bytes[row >> 3] >> (row & 7)) & 1) rows.add(row);
    return [...rows];
  }
  if (text[0] !== "d" && text[0] !== "o") return [];
  let row = text[0] === "o" ? 0 : -1;
  let [value, shift] = [0, 0];
  for (const byte of bytes) {
    value += (byte & 127) * 2 ** shift;
    shift += 7;
    if (byte & 128) continue;
    row += text[0] === "o" ? (value % 2 ? -(value + 1) / 2 : value / 2) : value + 1;
    if (Number.isInteger(row) && row >= 0 && row < n) rows.add(row);
    [value, shift] = [0, 0];
  }
  return [...rows];
}

const base64 = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

/** Whole numbers as ranges: "0-4,6". @param {number[]} numbers in ascending order */
export function ranges(numbers) {
  const found = [];
  for (const number of numbers) {
    if (found.length && found.at(-1)[1] === number - 1) found.at(-1)[1] = number;
    else found.push([number, number]);
  }
  return found.map(([from, to]) => (from === to ? from : `${from}-${to}`)).join(",");
}

/** The whole numbers below a limit that ranges name; what is no range is ignored. @param {string} text @param {number} limit */
export function fromRanges(text, limit) {
  const found = new Set();
  for (const part of text.split(",")) {
    const match = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(part);
    if (!match) continue;
    const last = Math.min(limit - 1, Number(match[2] ?? match[1]));
    for (let number = Number(match[1]); number <= last; number++) found.add(number);
  }
  return found;
}
