// Which of the classes' names fit on a map: the larger classes first, none over another. Zooming in parts them, so that
// more appear.

const PADDING = 2; // pixels around a name
const FAMILY = "helvetica"; // of Bokeh's texts

const pen = /** @type {any} */ (new OffscreenCanvas(1, 1).getContext("2d"));
/** Widths of names by font and text. @type {Map<string, number>} */
const widths = new Map();

function widthOf(text, font) {
  const key = `${font} ${text}`;
  let width = widths.get(key);
  if (width === undefined) {
    pen.font = font;
    widths.set(key, (width = pen.measureText(text).width));
  }
  return width;
}

/**
 * The names that fit, and where they are on the map.
 * @param {{x: ArrayLike<number>, y: ArrayLike<number>, text: string[]}} names centres in the plane
 * @param {any} figure whose ranges are shown
 * @param {{width: number, height: number}} size of the map in pixels
 * @param {number} letters height of letters in pixels
 * @param {Iterable<number>} order classes, the most important first
 * @returns {Map<number, [number, number, number, number]>} left, top, right and bottom by class
 */
export function fitting(names, figure, { width, height }, letters, order) {
  const font = `bold ${letters}px ${FAMILY}`;
  const { x_range: xs, y_range: ys } = figure;
  const found = new Map();
  for (const code of order) {
    const x = ((names.x[code] - xs.start) / (xs.end - xs.start)) * width;
    const y = ((ys.end - names.y[code]) / (ys.end - ys.start)) * height;
    if (!(x >= 0 && x <= width && y >= 0 && y <= height)) continue; // out of view, or too few samples
    const across = widthOf(names.text[code], font) / 2 + PADDING;
    const down = letters / 2 + PADDING;
    const box = [x - across, y - down, x + across, y + down];
    if (names.text[code].length > 2 && (box[0] < 0 || box[2] > width)) continue; // it would be cut
    const free = [...found.values()].every(
      (other) => box[2] <= other[0] || other[2] <= box[0] || box[3] <= other[1] || other[3] <= box[1],
    );
    if (free) found.set(code, box);
  }
  return found;
}
