// What a sample is shown as: its picture, its text, the values of its features, its curves, or its id.

import { columns, meta, nameOf, state } from "./state.js";
import { hasPictures, picture } from "./thumbnails.js";
import { h, svg } from "./dom.js";

const TILE_LETTERS = 160;
const TITLE_LETTERS = 300;
const MOST_ROWS = 12; // of a card's table, until the reader asks for all
const FARTHEST = 3; // interquartile ranges at which a bar ends
const PROFILE_BARS = 48;
const TILE_CHANNELS = 6;
const NO_VALUE = 65535;
/** Whether the table of a card has all features. */
let allRows = false;

const view = hasPictures
  ? "image"
  : columns.texts
    ? "text"
    : columns.rows
      ? "row"
      : columns.series
        ? "series"
        : "id";
document.documentElement.dataset.view = view;
/** Whether a sample needs the card's whole width. */
export const wide = ["text", "row", "series"].includes(view);

/** A number as it is read: without the digits that float32 invents. @param {number} value @param {number} [digits] of a fraction */
export function readNumber(value, digits = 4) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "–" : value > 0 ? "∞" : "−∞";
  const text = String(Number(value.toPrecision(Number.isInteger(value) ? 15 : digits)));
  return text.replace("-", "−");
}

/** Return the sample for the card, as large as its kind needs. @param {number} sample @returns {any} */
export function onCard(sample) {
  if (view === "text") return wholeText(sample);
  if (view === "row") return table(sample);
  if (view === "series") return curves(sample);
  return picture(sample);
}

/** Return the sample for a tile of the gallery. @param {number} sample @returns {any} */
export function onTile(sample) {
  if (view === "text") return words(sample, marked(beginning(columns.texts[sample])));
  if (view === "row") return profile(sample);
  if (view === "series") return sparkline(sample);
  return picture(sample);
}

/** Return the sample for a place of a few pixels; null where only a dot fits. @param {number} sample @returns {any} */
export function onThumb(sample) {
  if (view === "row") return profile(sample);
  return view === "series" ? sparkline(sample) : null;
}

/** The sample in words, for titles; empty where its picture says it. @param {number} sample */
export function inWords(sample) {
  if (columns.texts) return cut(columns.texts[sample], TITLE_LETTERS);
  if (view !== "row") return "";
  const unusual = features(sample).slice(0, 3);
  return unusual.map(({ name, value }) => `${name} ${readNumber(value)}`).join(", ");
}

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

const words = (sample, children) => h("span", { class: "picture words", "data-sample": String(sample) }, ...children);

/** The part of a text that a tile has room for: its first words, or those around what is searched for. */
function beginning(text) {
  const low = text.slice(0, 100_000).toLowerCase();
  const places = state.words.map((word) => low.indexOf(word)).filter((place) => place >= 0);
  const first = Math.min(...places);
  if (!places.length || first < TILE_LETTERS / 2) return cut(text, TILE_LETTERS);
  const space = text.lastIndexOf(" ", first - 20);
  const start = space > first - 60 ? space + 1 : first - 20;
  return `…${cut(text.slice(start), TILE_LETTERS)}`;
}

/** A text in pieces, in which what is searched for is marked. @param {string} text @returns {(string | Node)[]} */
export function marked(text) {
  if (!state.words.length) return [text];
  const low = text.toLowerCase();
  if (low.length !== text.length) return [text]; // a letter whose lower case is two: places would not agree
  const pieces = [];
  let at = 0;
  while (at < text.length) {
    let [start, word] = [-1, ""];
    for (const each of state.words) {
      const place = low.indexOf(each, at);
      if (place >= 0 && (start < 0 || place < start || (place === start && each.length > word.length)))
        [start, word] = [place, each];
    }
    if (start < 0) break;
    if (start > at) pieces.push(text.slice(at, start));
    at = start + word.length;
    pieces.push(h("mark", {}, text.slice(start, at)));
  }
  if (at < text.length) pieces.push(text.slice(at));
  return pieces;
}

function wholeText(sample) {
  const text = words(sample, marked(columns.texts[sample]));
  for (const [name, value] of Object.entries({ tabindex: "0", role: "group", "aria-label": "Text", dir: "auto" }))
    text.setAttribute(name, value);
  return text;
}

// Rows

/** The features of a sample, the most unusual first. */
function features(sample) {
  const count = columns.rows.shape[1];
  const found = meta.features.map(({ name, median, scale }, k) => {
    const value = columns.rows[sample * count + k];
    const away = scale && Number.isFinite(value) ? (value - median) / scale : 0;
    return { name, value, away, median, scale };
  });
  return found.sort((a, b) => Math.abs(b.away) - Math.abs(a.away));
}

function table(sample) {
  const all = features(sample);
  const host = h("div", { class: "picture row-view", "data-sample": String(sample) });
  const lines = all.slice(0, allRows ? all.length : MOST_ROWS).map(featureLine);
  const body = h(
    "table",
    {},
    h("caption", { class: "hidden" }, "Features, the most unusual first"),
    h("tbody", {}, ...lines),
  );
  const scroll = h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Features" }, body);
  scroll.tabIndex = 0;
  host.append(scroll);
  const foot = h(
    "p",
    { class: "foot", title: `Bars: distance from the median in interquartile ranges (IQR), up to ${FARTHEST}` },
    `unusual first · bars: ±${FARTHEST} IQR `,
  );
  if (all.length > MOST_ROWS) {
    const toggle = h("button", { class: "small" }, allRows ? `first ${MOST_ROWS}` : `all ${all.length}`);
    toggle.addEventListener("click", () => {
      allRows = !allRows;
      host.replaceWith(table(sample));
    });
    foot.append(toggle);
  }
  host.append(foot);
  return host;
}

function featureLine({ name, value, away, median, scale }) {
  const share = Math.min(1, Math.abs(away) / FARTHEST);
  const bar = h("i", { class: Math.abs(away) > FARTHEST ? "far" : "" });
  bar.style.cssText = `left:${away < 0 ? 50 - 50 * share : 50}%;width:${50 * share}%`;
  const text = scale
    ? `${name}: ${readNumber(value)}; median ${readNumber(median)}, ${readNumber(away)} IQR away`
    : `${name}: ${readNumber(value)}; the same for all samples`;
  return h(
    "tr",
    { title: text },
    h("th", { scope: "row" }, name),
    h("td", {}, readNumber(value)),
    h("td", { class: "away" }, h("span", { class: "track", "aria-hidden": "true" }, bar)),
  );
}

/** All features of a sample as tiny bars around the median; of many, the most unusual of neighbours. */
function profile(sample) {
  const count = columns.rows.shape[1];
  const bars = Math.min(PROFILE_BARS, count);
  const steps = new Float32Array(bars);
  meta.features.forEach(({ median, scale }, k) => {
    const value = columns.rows[sample * count + k];
    const away = scale && Number.isFinite(value) ? (value - median) / scale : 0;
    const bar = Math.floor((k * bars) / count);
    if (Math.abs(away) > Math.abs(steps[bar])) steps[bar] = Math.max(-FARTHEST, Math.min(FARTHEST, away));
  });
  let path = "";
  steps.forEach((step, bar) => (path += `M${bar + 0.5} 0V${(-step).toFixed(2)}`));
  const drawn = svg(
    "svg",
    { class: "picture profile", viewBox: `0 ${-FARTHEST} ${bars} ${2 * FARTHEST}`, preserveAspectRatio: "none" },
    svg("path", { class: "middle", d: `M0 0H${bars}` }),
    svg("path", { class: "value", d: path, "stroke-width": 0.7 }),
  );
  drawn.setAttribute("aria-hidden", "true");
  drawn.dataset.sample = String(sample);
  return drawn;
}

// Series

/** A channel as a path in a box of `width` x 100, on the scale that it has for all samples. */
function path(sample, channel, width, most = Infinity) {
  const [, channels, length] = columns.series.shape;
  const start = (sample * channels + channel) * length;
  const points = Math.min(length, most);
  let drawn = "";
  let broken = true;
  for (let point = 0; point < points; point++) {
    // Of more points than there is room for, every n-th.
    const k = points === length ? point : Math.floor((point * length) / points);
    const step = columns.series[start + k];
    if (step === NO_VALUE) {
      broken = true;
      continue;
    }
    const x = (width * (point + 0.5)) / points;
    drawn += `${broken ? "M" : "L"}${x.toFixed(1)} ${(97 - (94 * step) / (NO_VALUE - 1)).toFixed(1)}`;
    if (broken) drawn += "h.01"; // a point between gaps is seen, too
    broken = false;
  }
  return drawn;
}

function plot(paths, width) {
  const drawn = svg("svg", { viewBox: `0 0 ${width} 100`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const d of paths) drawn.append(svg("path", { class: "value", d }));
  return drawn;
}

function curves(sample) {
  const host = h("div", { class: "picture series-view", "data-sample": String(sample) });
  const scroll = h("div", { class: "scroll", role: "group", "aria-label": "Series" });
  scroll.tabIndex = 0;
  const length = columns.series.shape[2];
  meta.channels.forEach(({ low, high }, channel) => {
    const values = ownRange(sample, channel);
    const own = values ? `${readNumber(values[0], 3)} … ${readNumber(values[1], 3)}` : "no values";
    const title = `channel ${channel}: here ${own}; of all samples ${readNumber(low)} … ${readNumber(high)}`;
    scroll.append(
      h(
        "div",
        { class: "channel", title },
        h("span", {}, meta.channels.length > 1 ? `${channel}` : ""),
        plot([path(sample, channel, Math.max(100, length))], Math.max(100, length)),
        h("span", { class: "here" }, own),
      ),
    );
  });
  host.append(scroll, h("p", { class: "foot" }, "each channel on one scale for all samples · right: range here"));
  return host;
}

/** Lowest and highest value of a sample's channel; null if it has none. */
function ownRange(sample, channel) {
  const [, channels, length] = columns.series.shape;
  const start = (sample * channels + channel) * length;
  let [low, high] = [NO_VALUE, -1];
  for (let k = start; k < start + length; k++) {
    const step = columns.series[k];
    if (step === NO_VALUE) continue;
    if (step < low) low = step;
    if (step > high) high = step;
  }
  if (high < 0) return null;
  const range = meta.channels[channel];
  return [low, high].map((step) => range.low + ((range.high - range.low) * step) / (NO_VALUE - 1));
}

function sparkline(sample) {
  const channels = Math.min(TILE_CHANNELS, meta.channels.length);
  const drawn = plot(
    Array.from({ length: channels }, (_, channel) => path(sample, channel, 100, 64)),
    100,
  );
  drawn.setAttribute("class", "picture spark");
  drawn.dataset.sample = String(sample);
  return drawn;
}
