// Paints what lies over the points: the rings, and the classes' names. Bokeh would build an index and copies of every
// ring for each move of the pointer, in each figure.

import { noBounds, placesOf, takeOver, withoutBox } from "./painters.js";

const isRing = (renderer) => renderer.name === "ring";
const isOfNames = (renderer) => renderer.name === "class-names";

/** Let the overlays of all figures made from now on be painted here. */
export function takeOverOverlays() {
  takeOver(isRing, {
    async set_data() {},
    async set_visuals() {},
    bounds: noBounds,
    hit_test: () => null,
    _paint: paintRings,
  });
  withoutBox(isRing);
  takeOver(isOfNames, { set_data: setNames, set_visuals: setLooks, hit_test: () => null, _paint: paintNames });
}

function paintRings(context) {
  const { x, size, width } = this.model.data_source.data;
  const places = placesOf(this, 1);
  context.save();
  context.strokeStyle = this.model.glyph.line_color.value;
  for (let row = 0; row < x.length; row++) {
    context.beginPath();
    context.arc(places.x(row), places.y(row), size[row] / 2, 0, 2 * Math.PI, false);
    context.lineWidth = width[row];
    context.stroke();
  }
  context.restore();
}

/** Names are never selected: of their glyphs one is needed. */
async function setNames() {
  this.all_indices = this.model.view.indices;
  await this.glyph.set_data(this.model.data_source, this.all_indices);
  await setLooks.call(this);
}

async function setLooks() {
  this.glyph.set_visuals(this.model.data_source, this.all_indices);
  this.glyph.after_visuals();
  await this.glyph.after_lazy_visuals();
}

const PADDING = 1; // as in the figures
const RADIUS = 4;
/** How far names reach from the baseline, and their widths, by font and text. @type {Map<string, {width: number, above: number, below: number}>} */
const sizes = new Map();

function sizeOf(context, font, text) {
  const key = `${font} ${text}`;
  let size = sizes.get(key);
  if (!size) {
    const { width, actualBoundingBoxAscent: above, actualBoundingBoxDescent: below } = context.measureText(text);
    sizes.set(key, (size = { width, above, below }));
  }
  return size;
}

function paintNames(context) {
  if (context instanceof CanvasRenderingContext2D) paintPixels(this, context);
  else paintVectors.call(this, context);
}

/** Bokeh would measure every name again each time. */
function paintPixels(view, context) {
  const { glyph, data_source: source, view: shown } = view.model;
  const { x, text } = source.data;
  const places = placesOf(view, 1);
  const font = `bold ${glyph.text_font_size.value} helvetica`;
  context.save();
  Object.assign(context, { font, textAlign: "center", textBaseline: "alphabetic" });
  for (const row of shown.filter.indices) {
    if (Number.isNaN(x[row])) continue;
    const { width, above, below } = sizeOf(context, font, text[row]);
    const [middle, baseline] = [places.x(row), places.y(row) + (above - below) / 2];
    context.beginPath();
    context.roundRect(
      middle - width / 2 - PADDING,
      baseline - above - PADDING,
      width + 2 * PADDING,
      above + below + 2 * PADDING,
      RADIUS,
    );
    context.globalAlpha = glyph.background_fill_alpha.value;
    context.fillStyle = glyph.background_fill_color.value;
    context.fill();
    context.globalAlpha = 1;
    context.fillStyle = glyph.text_color.value;
    context.fillText(text[row], middle, baseline);
  }
  context.restore();
}

function paintVectors(context) {
  this.glyph.map_data();
  this.glyph.paint(context, Array.from(this.all_indices.ones(), (_, place) => place));
}
