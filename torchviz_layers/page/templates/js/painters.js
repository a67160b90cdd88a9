// Renderers of Bokeh that are painted by the page: Bokeh prepares six glyphs for each, of which the page needs one or none.

/**
 * Let methods of the page take the place of Bokeh's, in the figures that are made from now on.
 * @param {(renderer: any) => boolean} isOurs @param {Record<string, (...given: any[]) => any>} methods of the renderer's view
 */
export function takeOver(isOurs, methods) {
  const { prototype } = Bokeh.Models.get("GlyphRenderer").prototype.default_view;
  for (const [name, ours] of Object.entries(methods)) {
    const usual = prototype[name];
    prototype[name] = function (...given) {
      return (isOurs(this.model) ? ours : usual).apply(this, given);
    };
  }
}

/** The box of an element over the canvas: ours have none, and Bokeh would take it from its index. @param {(renderer: any) => boolean} isOurs */
export function withoutBox(isOurs) {
  const { prototype } = Bokeh.Models.get("GlyphRenderer").prototype.default_view;
  const usual = Object.getOwnPropertyDescriptor(prototype, "bbox").get;
  const get = function () {
    return isOurs(this.model) ? null : usual.call(this);
  };
  Object.defineProperty(prototype, "bbox", { get, configurable: true });
}

/** Nothing has to be known of what lies within ranges that are set. */
export const noBounds = () => ({ x0: NaN, y0: NaN, x1: NaN, y1: NaN });

/** Where a renderer's rows are, in pixels of a canvas with this ratio to those of the page. */
export function placesOf(view, ratio) {
  const { frame, model } = view.plot_view;
  const { x_range: xs, y_range: ys } = model;
  const { left, top, width, height } = frame.bbox;
  const [across, up] = [width / (xs.end - xs.start), height / (ys.end - ys.start)];
  const { data } = view.model.data_source;
  const { glyph } = view.model;
  const [x, y] = [data[glyph.x.field], data[glyph.y.field]];
  return {
    x: (row) => ratio * (left + (x[row] - xs.start) * across),
    y: (row) => ratio * (top + (ys.end - y[row]) * up),
  };
}
