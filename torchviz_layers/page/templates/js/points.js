// Paints the points of the figures in place of Bokeh, whose models stay what they are: the sources, their selection, and
// the views that divide rows into dots and crosses. Selected points keep their colour, are larger, have an outline and
// lie over all others, so that they are seen whatever their class; the others fade.

import { state } from "./state.js";
import { noBounds, placesOf, takeOver, withoutBox } from "./painters.js";
import { cross, disc, lay } from "./stamps.js";

const FADED = { dot: 0.1, cross: 0.14 }; // share of the opacity that points keep that are not selected
const GROWTH = 1.25; // of a selected point, and one pixel
const OUTLINE = 1; // pixels around a selected point
const CROWD = 1500; // selected points above which outlines would hide colours
const STROKE = 1.2; // of a cross, in pixels
const CROSS = 2.5; // pixels by which a cross is larger than a dot

/** Let the points of all figures made from now on be painted here. */
export function takeOverPoints() {
  takeOver(isOfPoints, { set_data, set_visuals, hit_test: hitTest, bounds: noBounds, _paint: paint });
  withoutBox(isOfPoints);
}

/** Rings are markers, too, but few. @param {any} renderer */
const isOfPoints = (renderer) => renderer.glyph.type === "Scatter" && renderer.name !== "ring";

const isOfCrosses = (renderer) => renderer.glyph.marker.value === "x";

/** Bokeh copies columns, maps colours and builds an index for each of six glyphs; none is needed here. */
async function set_data() {}
async function set_visuals() {}

/** Which rows are selected, by their list: it is looked up for every figure. @type {WeakMap<any, Uint8Array>} */
const flagged = new WeakMap();

/** @returns {Uint8Array | null} 1 for each selected row; null without a selection */
function selectedRows(source) {
  const { indices } = source.selected;
  if (!indices.length) return null;
  let flags = flagged.get(indices);
  if (!flags) {
    flags = new Uint8Array(source.data.code.length);
    for (const row of indices) flags[row] = 1;
    flagged.set(indices, flags);
  }
  return flags;
}

/** The colours of a mapper as bytes, the last that of NaN. @type {WeakMap<any, {nan: any, bytes: Uint8ClampedArray}>} */
const palettes = new WeakMap();

/** @returns {Uint8ClampedArray} red, green, blue and opacity of each colour, in order */
function bytesOf({ palette, nan_color: nan }) {
  const known = palettes.get(palette);
  if (known && String(known.nan) === String(nan)) return known.bytes;
  const canvas = new OffscreenCanvas(palette.length + 1, 1);
  const context = /** @type {any} */ (canvas.getContext("2d", { willReadFrequently: true }));
  [...palette, nan].forEach((color, k) => {
    context.fillStyle = color;
    context.fillRect(k, 0, 1, 1);
  });
  const bytes = context.getImageData(0, 0, palette.length + 1, 1).data;
  palettes.set(palette, { nan, bytes });
  return bytes;
}

/** The place of a row's colour in the bytes. */
function colorsOf(view) {
  const { field, transform } = view.model.glyph.fill_color.field ? view.model.glyph.fill_color : view.model.glyph.line_color;
  const codes = view.model.data_source.data[field];
  const count = transform.palette.length;
  const share = count / (transform.high - transform.low);
  const bytes = bytesOf(transform);
  const at = (row) => {
    const step = Math.floor((codes[row] - transform.low) * share);
    return 4 * (Number.isNaN(step) ? count : Math.max(0, Math.min(count - 1, step)));
  };
  return { bytes, at };
}

/** The figure's dots and crosses, visible rows only, in the order in which they are laid. */
function layersOf(view) {
  const renderers = view.plot_view.model.renderers.filter(isOfPoints);
  const selected = selectedRows(view.model.data_source);
  const parts = renderers.map((renderer) => ({
    rows: renderer.view.filter.indices,
    crossed: isOfCrosses(renderer),
    size: renderer.glyph.size.value,
    alpha: isOfCrosses(renderer) ? renderer.glyph.line_alpha.value : renderer.glyph.fill_alpha.value,
  }));
  if (!selected) return parts.map((part) => ({ ...part, chosen: 0, selected }));
  return [...parts.map((part) => ({ ...part, chosen: 0, selected })), ...parts.map((part) => ({ ...part, chosen: 1, selected }))];
}

/** How a layer's points look. */
function lookOf({ crossed, size, alpha, chosen, selected }) {
  const dot = crossed ? size - CROSS : size;
  // Of a pair of classes that are compared all points keep their strength, and the errors are enlarged.
  const faded = selected && !chosen && !state.why;
  const growth = state.why ? GROWTH * 1.5 : GROWTH;
  return {
    radius: (chosen ? dot * growth + 1 + (crossed ? CROSS : 0) : size) / 2,
    stroke: chosen ? STROKE + 0.5 : STROKE,
    alpha: chosen ? 1 : faded ? alpha * (crossed ? FADED.cross : FADED.dot) : alpha,
  };
}

/** Ink of the figure's theme, for outlines. */
const inkOf = (view) => view.plot_view.model.renderers.find(({ name }) => name === "ring").glyph.line_color.value;

/** Both kinds of points are painted with the crosses, which come last. */
function paint(context) {
  if (!isOfCrosses(this.model)) return;
  if (context instanceof CanvasRenderingContext2D) paintPixels(this, context);
  else paintVectors(this, context);
}

const MOST_IMAGES = 6;
/** Images of the canvases' sizes, used again. @type {Map<string, ImageData>} */
const images = new Map();

/** An empty image. @returns {ImageData} */
function emptyImage(context, width, height) {
  const key = `${width} ${height}`;
  let image = images.get(key);
  if (image) image.data.fill(0);
  else {
    if (images.size === MOST_IMAGES) images.clear();
    images.set(key, (image = context.createImageData(width, height)));
  }
  return image;
}

function paintPixels(view, context) {
  const { width, height } = context.canvas;
  if (!width || !height) return;
  const image = emptyImage(context, width, height);
  const ratio = context.getTransform().a;
  const places = placesOf(view, ratio);
  const { bytes, at } = colorsOf(view);
  const ink = bytesOf({ palette: [inkOf(view)], nan_color: "#000" });
  const chosen = view.model.data_source.selected.indices.length;
  for (const layer of layersOf(view)) {
    const { radius, stroke, alpha } = lookOf(layer);
    const { crossed, selected } = layer;
    const mark = crossed ? cross(ratio * radius, ratio * stroke, alpha) : disc(ratio * radius, alpha);
    const rim = chosen > CROWD ? OUTLINE / 2 : OUTLINE;
    const outline = crossed ? cross(ratio * radius, ratio * (stroke + 2 * rim), 0.9) : disc(ratio * (radius + rim), 0.9);
    const { rows } = layer;
    for (let place = 0; place < rows.length; place++) {
      const row = rows[place];
      if (selected && selected[row] !== layer.chosen) continue;
      const x = places.x(row);
      const y = places.y(row);
      if (x !== x) continue; // not embedded
      if (layer.chosen) lay(image, x, y, outline, ink[0], ink[1], ink[2]);
      const k = at(row);
      lay(image, x, y, mark, bytes[k], bytes[k + 1], bytes[k + 2]);
    }
  }
  context.putImageData(image, 0, 0); // the points come first: nothing lies under them
}

/** Paint into a file of vectors. */
function paintVectors(view, context) {
  const places = placesOf(view, 1);
  const { bytes, at } = colorsOf(view);
  const ink = inkOf(view);
  context.save();
  for (const layer of layersOf(view)) {
    const { radius, stroke, alpha } = lookOf(layer);
    for (const row of layer.rows) {
      if (layer.selected && layer.selected[row] !== layer.chosen) continue;
      const [x, y] = [places.x(row), places.y(row)];
      if (x !== x) continue;
      const k = at(row);
      const color = `rgba(${bytes[k]}, ${bytes[k + 1]}, ${bytes[k + 2]}, ${alpha})`;
      context.beginPath();
      if (layer.crossed) {
        context.moveTo(x - radius, y - radius);
        context.lineTo(x + radius, y + radius);
        context.moveTo(x - radius, y + radius);
        context.lineTo(x + radius, y - radius);
        [context.strokeStyle, context.lineWidth] = [color, stroke];
        context.stroke();
        continue;
      }
      context.arc(x, y, radius, 0, 2 * Math.PI, false);
      context.fillStyle = color;
      context.fill();
      if (!layer.chosen) continue;
      [context.strokeStyle, context.lineWidth] = [ink, OUTLINE];
      context.stroke();
    }
  }
  context.restore();
}

/** The rows of a renderer within a brush, as a selection of Bokeh. */
function hitTest(geometry) {
  const inside = insideOf(geometry);
  if (!inside) return null;
  const places = placesOf(this, 1);
  const indices = [];
  for (const row of this.model.view.filter.indices) if (inside(places.x(row), places.y(row))) indices.push(row);
  const Selection = this.model.data_source.selected.constructor;
  return new Selection({ indices });
}

/** @returns {((x: number, y: number) => boolean) | null} */
function insideOf({ type, sx, sy, sx0, sx1, sy0, sy1 }) {
  if (type === "rect") {
    const [left, right] = [Math.min(sx0, sx1), Math.max(sx0, sx1)];
    const [top, bottom] = [Math.min(sy0, sy1), Math.max(sy0, sy1)];
    return (x, y) => x >= left && x <= right && y >= top && y <= bottom;
  }
  if (type !== "poly") return null;
  const [xs, ys] = [Float64Array.from(sx), Float64Array.from(sy)];
  // NaN, where a sample was not embedded, is on no side of an edge.
  return (x, y) => {
    let within = false;
    for (let k = 0, before = xs.length - 1; k < xs.length; before = k++)
      if (ys[k] > y !== ys[before] > y && x < ((xs[before] - xs[k]) * (y - ys[k])) / (ys[before] - ys[k]) + xs[k])
        within = !within;
    return within;
  };
}

/**
 * Clear whole canvases: Bokeh moves a canvas by half a pixel and then clears its size, so that at the left and upper edges
 * half of each old pixel stays, and more at ratios that are not whole.
 * @param {any} canvasView
 */
export function clearWhole({ primary, overlays }) {
  for (const layer of [primary, overlays])
    layer.clear = () =>
      layer.undo_transform((context) => context.clearRect(0, 0, layer.canvas.width, layer.canvas.height));
}
