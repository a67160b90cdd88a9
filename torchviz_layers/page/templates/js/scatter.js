// The Bokeh figures. Rows of their sources are points in drawing order; `sampleOf` maps them to samples, `rowOf` back.

import {
  choose,
  columns,
  confidence,
  emit,
  hover,
  isWrong,
  label,
  meta,
  on,
  pin,
  prediction,
  state,
  task,
  truth,
  unlabelled,
  visible,
} from "./state.js";
import { fieldColoring } from "./fields.js";
import { fitting } from "./map_names.js";
import { copyOf, decoded } from "./pattern.js";
import { hideTip, pointAt } from "./tooltip.js";
import { clearWhole, takeOverPoints } from "./points.js";
import { readJson, run } from "./store.js";
import { letFingersScroll } from "./touch.js";
import { $ } from "./dom.js";

const RING = { own: 15, near: 6 }; // diameters in pixels
const REACH = 14; // pixels within which the pointer finds a point
const CLICK = 4; // pixels that the pointer may move from press to release
const HINT = 1500; // milliseconds
// Visible on light and dark: early to late, or confident to not confident.
const RAMP = ["#a9b8c9", "#6fa3b8", "#3f9a82", "#b5a42c", "#e58a1f", "#d9541e"];
const NEVER = "#c2186b";
const DIMMED = 0.14; // share of ink in the colour of samples beside a pair of classes

const models = {};
/** @type {any} */
let views;
/** @type {Uint32Array} */
let sampleOf;
/** @type {Uint32Array} */
let rowOf;
/** 1 for rows whose sample passes the filters. */
let visibleRows = new Uint8Array(0);
/** Set while the script itself changes the sources' selection. */
let echo = false;
/** Lowest and highest x and y that the stage shows. @type {[[number, number], [number, number]]} */
let stageExtent = [
  [-1, 1],
  [-1, 1],
];

/** The JSON that a panel's figure is made from, and the ids of its own models. @type {{pattern: any, own: Set<string>}} */
let panelJson;
/** Panels that are drawn. @type {Set<number>} */
const drawn = new Set();
let drawing = Promise.resolve();
/** What a drag does. @type {"lasso" | "box" | "pan"} */
let brush = "lasso";

/** Draw the figures that are in view, and the others when they come into it; the promise resolves when the first are drawn. */
export async function drawFigures() {
  await run("bokeh");
  takeOverPoints();
  const { document: json, pattern, own } = readJson("figures", inTheme);
  panelJson = { pattern, own: new Set(own) };
  const ids = json.roots.map((root) => root.id);
  const roots = Object.fromEntries(ids.map((id) => [id, $("figure-stage")]));
  [views] = await Bokeh.embed.embed_items({ page: json }, [{ docid: "page", root_ids: ids, roots }]);
  for (const model of Bokeh.documents.at(-1)._all_models.values()) if (model.name) models[model.name] = model;
  const { data } = models.samples;
  sampleOf = Uint32Array.from(data.sample);
  rowOf = new Uint32Array(sampleOf.length);
  sampleOf.forEach((sample, row) => (rowOf[sample] = row));
  meta.panels.forEach((_, k) => ([data[`x${k}`], data[`y${k}`]] = decoded(columns[`place-${k}`], k, sampleOf)));
  const [x, y] = coordinates(state.stage);
  models.stage.data = { x, y, code: data.code };
  showVisible();
  if (unlabelled) showTheme();
  skipWithTab(models["stage-figure"]);
  listen($("figure-stage"), stageCoordinates, models["stage-figure"]);
  leaveWheel($("figure-stage"));
  models.samples.selected.properties.indices.change.connect(() => brushed(models.samples));
  models.stage.selected.properties.indices.change.connect(() => brushed(models.stage));
  for (const range of [models["stage-figure"].x_range, models["stage-figure"].y_range])
    range.change.connect(() => emit("range"));
  on("filter", showVisible);
  on("filter", placeAllNames);
  on("range", stageChanged);
  on("filter", showRings);
  on("stage", showVisible);
  on("selection", showSelection);
  on("sample", showRings);
  on("stage", showRings);
  on("color", showColors);
  on("why", showColors);
  on("theme", showTheme);
  const panels = meta.panels.map((_, k) => k);
  drawPanels(panels.filter(inView));
  const observer = new IntersectionObserver((entries) => {
    const seen = entries.filter((entry) => entry.isIntersecting).map(({ target }) => target);
    if (seen.length) drawPanels(panels.filter((k) => seen.includes(hostOf(k))));
  });
  for (const k of panels) observer.observe(hostOf(k));
  await drawing;
}

/** @param {number} k panel */
const hostOf = (k) => $(`figure-${k}`);

/**
 * Whether a panel can be seen, before any has been scrolled: at least a quarter of its height, as a strip that is cut at
 * the edge is drawn after the whole ones. An observer would tell it only after the next frame.
 */
function inView(k) {
  const box = hostOf(k).getBoundingClientRect();
  const reel = hostOf(k).closest(".reel")?.getBoundingClientRect() ?? { top: 0, bottom: innerHeight, left: 0, right: innerWidth };
  const [top, bottom] = [Math.max(0, reel.top), Math.min(innerHeight, reel.bottom)];
  const [left, right] = [Math.max(0, reel.left), Math.min(innerWidth, reel.right)];
  const height = Math.min(box.bottom, bottom) - Math.max(box.top, top);
  return box.width > 0 && height >= box.height / 4 && box.left < right && box.right > left;
}

/** Draw panels that are not drawn yet, after those that are being drawn. @param {number[]} ks */
function drawPanels(ks) {
  const missing = ks.filter((k) => !drawn.has(k));
  for (const k of missing) drawn.add(k);
  if (missing.length) drawing = drawing.then(() => draw(missing));
}

async function draw(ks) {
  const { parts } = models;
  const copies = ks.map((k) => copyOf(panelJson.pattern, panelJson.own, k, viewsOf(meta.panels[k].network)));
  const kept = parts.tags.map(({ id }) => ({ id }));
  // As a server sends models to a document: Bokeh makes them, and the tags keep them in it.
  const change = { kind: "ModelChanged", model: { id: parts.id }, attr: "tags", new: [...kept, ...copies] };
  Bokeh.documents.at(-1).apply_json_patch({ events: [change] });
  const figures = parts.tags.slice(kept.length);
  for (const [at, k] of ks.entries()) await drawPanel(figures[at], k);
}

async function drawPanel(figure, k) {
  figure.name = `panel-${k}`;
  const sources = Object.fromEntries(figure.renderers.map(({ name, data_source }) => [name, data_source]));
  sources["class-names"].setv({ name: `names-${k}` });
  sources.ring.name = `ring-${k}`;
  for (const model of [figure, sources["class-names"], sources.ring]) models[model.name] = model;
  fitPanel(k);
  inThemeOf(figure);
  ring(models[`ring-${k}`], coordinates(k), k);
  const view = await views.build_view(figure);
  view.build(hostOf(k));
  skipWithTab(figure);
  if (brush !== "lasso") activate(figure);
  listen(hostOf(k), () => coordinates(k), figure);
  new ResizeObserver(() => fitPanel(k)).observe(hostOf(k));
}

/** Ids of the views of a panel's owner, by those in the pattern. */
function viewsOf(network) {
  const owner = network ?? "both";
  return new Map(["plain", "wrong"].map((what) => [models[`view-${what}-both`].id, models[`view-${what}-${owner}`].id]));
}

/** The canvases react to the pointer alone, so the Tab key skips them. Panels have buttons for the keyboard. */
function skipWithTab(figure) {
  const { canvas_view: canvases } = views.get(figure);
  canvases.events_el.removeAttribute("tabindex");
  letFingersScroll(canvases.events_el);
  clearWhole(canvases);
}

/** @returns {[Float32Array, Float32Array]} x and y of a panel, in drawing order */
export function coordinates(k) {
  return [models.samples.data[`x${k}`], models.samples.data[`y${k}`]];
}

/** @type {() => [Float32Array, Float32Array]} */
export const stageCoordinates = () => [models.stage.data.x, models.stage.data.y];

/**
 * Move the stage's points and names.
 * @param {Float32Array} x @param {Float32Array} y @param {[number, number]} xs @param {[number, number]} ys @param {any} names
 */
export function moveStage(x, y, xs, ys, names) {
  models.stage.data = { ...models.stage.data, x, y };
  stageNames = names;
  stageExtent = [xs, ys];
  fitStage();
  placeNames("stage");
  for (const listener of watchers) listener();
  showRings();
}

/** Show all points of the stage. */
export const fitStage = () => fit(models["stage-figure"], $("figure-stage"), ...stageExtent);

/** Show at least these ranges, with the same scale in both directions. */
function fit(figure, host, xs, ys) {
  const { clientWidth, clientHeight } = host;
  const side = Math.max(1, Math.min(clientWidth, clientHeight));
  const range = ([low, high], pixels) => {
    const more = ((high - low) / 2) * (pixels / side - 1);
    return { start: low - more, end: high + more };
  };
  figure.x_range.setv(range(xs, clientWidth));
  figure.y_range.setv(range(ys, clientHeight));
}

/** Lowest and highest x and y of the stage, if the reader has zoomed; null if it shows all points. @returns {number[] | null} */
export function stageRange() {
  const { x_range, y_range } = models["stage-figure"];
  const now = [x_range.start, x_range.end, y_range.start, y_range.end];
  const { clientWidth, clientHeight } = $("figure-stage");
  const side = Math.max(1, Math.min(clientWidth, clientHeight));
  const whole = [clientWidth, clientHeight].flatMap((pixels, k) => {
    const [low, high] = stageExtent[k];
    const more = ((high - low) / 2) * (pixels / side - 1);
    return [low - more, high + more];
  });
  const tolerance = 1e-3 * (whole[1] - whole[0]);
  return now.every((value, k) => Math.abs(value - whole[k]) < tolerance) ? null : now;
}

/** Show at least a range on the stage, with the same scale in both directions. @param {number[]} range as `stageRange` gives it */
export function showRange([left, right, bottom, top]) {
  const { clientWidth, clientHeight } = $("figure-stage");
  const scale = Math.max((right - left) / Math.max(1, clientWidth), (top - bottom) / Math.max(1, clientHeight));
  const around = (low, high, pixels) => {
    const [middle, half] = [(low + high) / 2, (scale * pixels) / 2];
    return { start: middle - half, end: middle + half };
  };
  models["stage-figure"].x_range.setv(around(left, right, clientWidth));
  models["stage-figure"].y_range.setv(around(bottom, top, clientHeight));
}

function fitPanel(k) {
  fit(models[`panel-${k}`], hostOf(k), meta.panels[k].x, meta.panels[k].y);
  placeNames(k);
}

/** Show all points again, in every panel. */
export function fitAll() {
  for (const k of drawn) if (models[`panel-${k}`]) fitPanel(k);
  fitStage();
}

/** Places and texts of the classes' names in a panel; a name without a place is not drawn. */
export function namesOf(k) {
  const { x, y } = meta.panels[k].names;
  const numbers = (values) => values.map((value) => value ?? NaN);
  return { x: numbers(x), y: numbers(y), text: models["names-stage"].data.text };
}

const LETTERS = { stage: 15, panel: 10 }; // their height in pixels, as in the figures
/** All names of the stage, whether they fit or not. @type {any} */
let stageNames = { x: [], y: [], text: [] };
let placing = 0;
/** Classes by the number of their visible samples, the largest first. @type {number[] | null} */
let bySize = null;

/** Show as many names on a map as fit. @param {number | "stage"} key a panel's number or the stage */
function placeNames(key) {
  const stage = key === "stage";
  const names = stage ? stageNames : namesOf(key);
  if (!names.text.length) return;
  bySize ??= classesBySize();
  const host = stage ? $("figure-stage") : hostOf(key);
  const figure = models[stage ? "stage-figure" : `panel-${key}`];
  const size = { width: host.clientWidth, height: host.clientHeight };
  const found = fitting(names, figure, size, LETTERS[stage ? "stage" : "panel"], bySize);
  const shown = (values) => Array.from(values, (value, code) => (found.has(code) ? value : NaN));
  const [x, y] = [shown(names.x), shown(names.y)];
  const source = models[`names-${key}`];
  // The names are painted with the points: not again for the same ones.
  const same = (a, b) => a.length === b.length && a.every((value, code) => Object.is(value, b[code]));
  if (!same(x, Array.from(source.data.x)) || !same(y, Array.from(source.data.y)))
    source.data = { x, y, text: names.text };
}

/** @type {(() => void)[]} */
const watchers = [];

/** Listen to what the stage shows: its range and its points. @param {() => void} listener */
export const onStageChange = (listener) => void watchers.push(listener);

function stageChanged() {
  placing ||= requestAnimationFrame(placeStageNames);
  for (const listener of watchers) listener();
}

/** The stage's points by row, and the ranges that it shows. */
export function stagePoints() {
  const { x_range: xs, y_range: ys } = models["stage-figure"];
  const [x, y] = stageCoordinates();
  return { x, y, sampleOf, visibleRows, xs, ys };
}

/** Colour of a sample's point. @param {number} sample @returns {string} */
export function colorOf(sample) {
  const { code, low, high, palette, missing } = coloring(state.color);
  const step = Math.floor(((code(sample) - low) / (high - low)) * palette.length);
  return Number.isNaN(step) ? (missing ?? theme().ink) : palette[Math.max(0, Math.min(palette.length - 1, step))];
}

function placeStageNames() {
  placing = 0;
  placeNames("stage");
}

function placeAllNames() {
  bySize = null;
  for (const k of drawn) if (models[`panel-${k}`]) placeNames(k);
  placeNames("stage");
}

function classesBySize() {
  const counts = new Uint32Array(meta.classes.length + 1);
  for (let sample = 0; sample < meta.n; sample++) if (visible[sample]) counts[label(sample)]++;
  const codes = meta.classes.map((_, code) => code).filter((code) => !state.hidden.has(code));
  return codes.sort((a, b) => counts[b] - counts[a] || a - b);
}

/** @param {() => any} points x and y of the points now */
function listen(host, points, figure) {
  const find = (event) => nearest(host, points(), figure, event);
  host.addEventListener("pointermove", (event) => {
    if (event.buttons) return hideTip();
    const sample = find(event);
    pointAt(sample, event);
    hover(sample);
  });
  host.addEventListener("pointerleave", () => (hideTip(), hover(null)));
  host.addEventListener("pointerdown", hideTip);
  host.addEventListener("wheel", hideTip, { passive: true });
  let pressed = [0, 0];
  host.addEventListener("pointerdown", (event) => (pressed = [event.clientX, event.clientY]));
  host.addEventListener("click", (event) => {
    // The end of a drag is a click, too.
    if (Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) > CLICK) return;
    const sample = find(event);
    if (sample !== null) pin(sample);
  });
}

/**
 * Let the wheel scroll the page, which otherwise would stop when the stage comes under the pointer. It zooms with Ctrl
 * (which a pinch on a touchpad sends, too), and alone from a click on the stage until the pointer leaves it.
 */
function leaveWheel(host) {
  let entered = false;
  let forgotten = 0;
  const hint = (shown) => {
    clearTimeout(forgotten);
    $("wheel-hint").hidden = !shown;
    if (shown) forgotten = setTimeout(hint, HINT, false);
  };
  const enter = (now) => {
    entered = now;
    hint(false);
  };
  host.addEventListener("pointerdown", () => enter(true));
  host.addEventListener("pointerleave", () => enter(false));
  const wheel = (event) => {
    const zooms = entered || event.ctrlKey || event.metaKey;
    hint(!zooms);
    if (!zooms) event.stopPropagation(); // before Bokeh, which listens on an inner element
  };
  host.addEventListener("wheel", wheel, { capture: true, passive: true });
}

/** The visible sample nearest to the pointer, within reach; null without one. */
function nearest(host, [xs, ys], figure, event) {
  const box = host.getBoundingClientRect();
  const across = (figure.x_range.end - figure.x_range.start) / box.width;
  const up = (figure.y_range.end - figure.y_range.start) / box.height;
  const x = figure.x_range.start + (event.clientX - box.left) * across;
  const y = figure.y_range.end - (event.clientY - box.top) * up;
  let found = null;
  let least = REACH * REACH;
  for (let row = 0; row < xs.length; row++) {
    if (!visibleRows[row]) continue;
    const distance = ((xs[row] - x) / across) ** 2 + ((ys[row] - y) / up) ** 2;
    if (distance < least) [found, least] = [row, distance];
  }
  return found === null ? null : sampleOf[found];
}

function brushed(source) {
  if (echo) return;
  choose(
    Array.from(source.selected.indices, (row) => sampleOf[row]),
    "Selection",
  );
}

function showSelection() {
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

function showVisible() {
  visibleRows = new Uint8Array(sampleOf.length);
  for (let row = 0; row < sampleOf.length; row++) visibleRows[row] = visible[sampleOf[row]];
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
  const flags = new Uint8Array(sampleOf.length);
  for (let row = 0; row < flags.length; row++) if (visibleRows[row] && isWrong(k, sampleOf[row])) flags[row] = 1;
  return flags;
}

/** Divide the visible rows into dots and crosses. */
function split(who, wrong) {
  const plain = [];
  const crossed = [];
  for (let row = 0; row < sampleOf.length; row++) if (visibleRows[row]) (wrong[row] ? crossed : plain).push(row);
  replace(`plain-${who}`, plain);
  replace(`wrong-${who}`, crossed);
}

/** Set a view only if it differs: every assignment repaints its panels. */
function replace(name, rows) {
  const old = models[name].indices;
  if (old.length === rows.length && rows.every((row, k) => row === old[k])) return;
  models[name].indices = rows;
}

/** The ring on the stage at once; those in the panels together in the next frame, as each repaints a canvas. */
let ringsAsked = 0;

function showRings() {
  ring(models["ring-stage"], stageCoordinates(), state.stage);
  ringsAsked ||= requestAnimationFrame(showPanelRings);
}

function showPanelRings() {
  ringsAsked = 0;
  for (const k of drawn) if (models[`ring-${k}`]) ring(models[`ring-${k}`], coordinates(k), k);
}

/** Draw a ring around the sample shown and smaller ones around its visible neighbours in a layer. */
function ring(source, [xs, ys], layer) {
  const { sample } = state;
  const rows = sample === null || !visible[sample] ? [] : [rowOf[sample]];
  const near = columns[`near-${layer}`];
  if (near && rows.length) {
    const count = near.shape[1];
    for (let k = sample * count; k < (sample + 1) * count; k++) if (visible[near[k]]) rows.push(rowOf[near[k]]);
  }
  const embedded = rows.filter((row) => !Number.isNaN(xs[row]));
  const own = (row) => sampleOf[row] === sample;
  source.data = {
    x: embedded.map((row) => xs[row]),
    y: embedded.map((row) => ys[row]),
    size: embedded.map((row) => (own(row) ? RING.own : RING.near)),
    width: embedded.map((row) => (own(row) ? 1.8 : 0.9)),
  };
}

/** The number of each sample and the colours of the numbers, by what the reader colours by. */
export function coloring(by) {
  const special = task.coloring?.(by);
  if (special) return special;
  const [what, network] = by.split("-");
  if (what === "field") {
    const found = fieldColoring(Number(network));
    return { ...found, palette: found.palette ?? ramp(64) };
  }
  if (what === "confidence")
    return { code: (s) => confidence(network, s), low: 0, high: 1, palette: ramp(64).reverse() };
  if (what === "settle") {
    const steps = meta.networks[network].journey.length;
    return scale((s) => columns[by][s], [...ramp(steps), NEVER], unlabelled);
  }
  if (what === "prediction") return scale((s) => prediction(network, s), meta.colors, 0);
  return scale(label, meta.colors, unlabelled);
}

/** Whole numbers from 0 and their colours; the last is that of unlabelled samples, if there are any: the ink. */
function scale(code, colors, unlabelled) {
  const palette = unlabelled ? [...colors, theme().ink] : [...colors];
  return { code, low: -0.5, high: Math.max(1, palette.length) - 0.5, palette };
}

function ramp(count) {
  return Array.from({ length: count }, (_, k) => {
    const at = (k / Math.max(1, count - 1)) * (RAMP.length - 1);
    const from = Math.min(RAMP.length - 2, Math.floor(at));
    return mix(RAMP[from], RAMP[from + 1], at - from);
  });
}

function mix(a, b, share) {
  const part = (at) => {
    const [from, to] = [a, b].map((color) => parseInt(color.slice(at, at + 2), 16));
    return Math.round(from + (to - from) * share)
      .toString(16)
      .padStart(2, "0");
  };
  return `#${part(1)}${part(3)}${part(5)}`;
}

function showColors() {
  const { code, low, high, palette, missing } = coloring(state.color);
  const { ink, paper } = theme();
  models.colors.setv({ palette, low, high, nan_color: state.why ? mix(paper, ink, DIMMED) : (missing ?? ink) });
  const codes = Float32Array.from(sampleOf, (sample) => (isAside(sample) ? NaN : code(sample)));
  models.samples.data = { ...models.samples.data, code: codes };
  models.stage.data = { ...models.stage.data, code: codes };
}

/** Whether a sample is of neither of the two classes that the reader compares. */
function isAside(sample) {
  if (!state.why) return false;
  const code = truth(sample);
  return code !== state.why.given && code !== state.why.predicted;
}

function theme() {
  const style = getComputedStyle(document.documentElement);
  return { ink: style.getPropertyValue("--ink").trim(), paper: style.getPropertyValue("--card").trim() };
}

/**
 * The figures have the colours of the light theme; changing them before they are drawn saves drawing them twice.
 * No name in the data can look like what is replaced, because its quotes are escaped.
 * @param {string} json
 */
function inTheme(json) {
  const { ink, paper } = theme();
  const value = (color) => `_color":{"type":"value","value":"${color}"}`;
  return json.replaceAll(value("#1b1f24"), value(ink)).replaceAll(value("#ffffff"), value(paper));
}

function showTheme() {
  for (const model of Object.values(models)) if (model.type === "Figure") inThemeOf(model);
  if (state.why) return showColors();
  models.colors.nan_color = theme().ink; // of samples without a value
  const { low, high, palette } = coloring(state.color);
  if (unlabelled) models.colors.setv({ palette, low, high });
}

function inThemeOf(figure) {
  const { ink, paper } = theme();
  for (const { name, glyph } of figure.renderers) {
    if (name === "class-names") glyph.setv({ text_color: { value: ink }, background_fill_color: { value: paper } });
    if (name === "ring") glyph.line_color = { value: ink };
  }
}

/** @param {"lasso" | "box" | "pan"} kind what a drag does from now on */
export function setBrush(kind) {
  brush = kind;
  for (const model of Object.values(models)) if (model.type === "Figure") activate(model);
}

function activate(figure) {
  const type = { lasso: "LassoSelectTool", box: "BoxSelectTool", pan: "PanTool" }[brush];
  for (const tool of figure.toolbar.tools) if (tool.type === type) tool.active = true;
}

/** The stage as a layer of Bokeh, drawn again as pixels or as vectors. @param {"png" | "svg"} type */
export const panelLayer = (type) => views.get(models["stage-figure"]).export(type);
