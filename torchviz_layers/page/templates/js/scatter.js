// The Bokeh figures: the stage at once, the panels when they come into view.

import { columns, emit, meta, on, stage, state, unlabelled } from "./state.js";
import { copyOf, decoded } from "./pattern.js";
import { clearWhole, takeOverPoints } from "./points.js";
import { takeOverOverlays } from "./overlays.js";
import { readJson, run } from "./store.js";
import { letFingersScroll } from "./touch.js";
import { soon } from "./frames.js";
import { repaintPanel, sight, STAGE } from "./panel_sight.js";
import { coordinates, drawn, hostOf, maps, models, stageCoordinates } from "./maps.js";
import { inTheme, inThemeOf, showColors, showTheme } from "./coloring.js";
import { fit, fitStage, fitStageTo } from "./ranges.js";
import { nameStage, placeAllNames, placeNames, placeStageNames } from "./place_names.js";
import { brushed, showSelection, showVisible } from "./map_rows.js";
import { ring, showRings } from "./rings.js";
import { leaveWheel, listen } from "./pointer.js";
import { $ } from "./dom.js";

/** The JSON that a panel's figure is made from, and the ids of its own models. @type {{pattern: any, own: Set<string>}} */
let panelJson;
let drawing = Promise.resolve();
/** What a drag does. @type {"lasso" | "box" | "pan"} */
let brush = "lasso";

/** Draw the figures that are in view, and the others when they come into it; the promise resolves when the first are drawn. */
export async function drawFigures() {
  await run("bokeh");
  takeOverPoints();
  takeOverOverlays();
  const { document: json, pattern, own } = readJson("figures", inTheme);
  panelJson = { pattern, own: new Set(own) };
  const ids = json.roots.map((root) => root.id);
  const roots = Object.fromEntries(ids.map((id) => [id, $("figure-stage")]));
  [maps.views] = await Bokeh.embed.embed_items({ page: json }, [{ docid: "page", root_ids: ids, roots }]);
  for (const model of Bokeh.documents.at(-1)._all_models.values()) if (model.name) models[model.name] = model;
  const { data } = models.samples;
  const sampleOf = Uint32Array.from(data.sample);
  const rowOf = new Uint32Array(sampleOf.length);
  sampleOf.forEach((sample, row) => (rowOf[sample] = row));
  Object.assign(maps, { sampleOf, rowOf });
  meta.panels.forEach((_, k) => ([data[`x${k}`], data[`y${k}`]] = decoded(columns[`place-${k}`], k, sampleOf)));
  const [x, y] = coordinates(state.stage);
  models.stage.data = { x, y, code: data.code };
  showVisible();
  if (unlabelled) showTheme();
  skipWithTab(models["stage-figure"]);
  paintBy(maps.views.get(models["stage-figure"]), (paint) => soon("stage", STAGE, paint));
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
  const first = panels.filter(inView);
  for (const k of first) sight(k, true);
  drawPanels(first);
  const observer = new IntersectionObserver((entries) => {
    const now = new Map(entries.map(({ target, isIntersecting }) => [target, isIntersecting]));
    const changed = panels.filter((k) => now.has(hostOf(k)));
    for (const k of changed) sight(k, now.get(hostOf(k)));
    drawPanels(changed.filter((k) => now.get(hostOf(k))));
  });
  for (const k of panels) observer.observe(hostOf(k));
  await drawing;
}

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
  const view = await maps.views.build_view(figure);
  paintBy(view, (paint) => repaintPanel(k, paint));
  view.build(hostOf(k));
  skipWithTab(figure);
  if (brush !== "lasso") activate(figure);
  listen(hostOf(k), () => coordinates(k), figure, () => stage(k));
  new ResizeObserver(() => fitPanel(k)).observe(hostOf(k));
}

/** Ids of the views of a panel's owner, by those in the pattern. */
function viewsOf(network) {
  const owner = network ?? "both";
  return new Map(["plain", "wrong"].map((what) => [models[`view-${what}-both`].id, models[`view-${what}-${owner}`].id]));
}

/** Let a figure be painted when `ask` says, and not in any case in the next frame. @param {any} view of the figure */
function paintBy(view, ask) {
  const paint = () => view.is_destroyed || view.repaint();
  view.throttled_paint = Object.assign(async () => ask(paint), { stop() {} });
}

/** The canvases react to the pointer alone, so the Tab key skips them. Panels have buttons for the keyboard. */
function skipWithTab(figure) {
  const { canvas_view: canvases } = maps.views.get(figure);
  canvases.events_el.removeAttribute("tabindex");
  letFingersScroll(canvases.events_el);
  clearWhole(canvases);
}

/**
 * Move the stage's points and names.
 * @param {Float32Array} x @param {Float32Array} y @param {[number, number]} xs @param {[number, number]} ys @param {any} names
 */
export function moveStage(x, y, xs, ys, names) {
  models.stage.data = { ...models.stage.data, x, y };
  fitStageTo(xs, ys);
  nameStage(names);
  for (const listener of watchers) listener();
  showRings();
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

/** @type {(() => void)[]} */
const watchers = [];

/** Listen to what the stage shows: its range and its points. @param {() => void} listener */
export const onStageChange = (listener) => void watchers.push(listener);

function stageChanged() {
  placeStageNames();
  for (const listener of watchers) listener();
}

/** The stage's points by row, and the ranges that it shows. */
export function stagePoints() {
  const { x_range: xs, y_range: ys } = models["stage-figure"];
  const [x, y] = stageCoordinates();
  return { x, y, sampleOf: maps.sampleOf, visibleRows: maps.visibleRows, xs, ys };
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
export const panelLayer = (type) => maps.views.get(models["stage-figure"]).export(type);
