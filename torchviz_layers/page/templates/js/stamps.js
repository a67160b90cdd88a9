// Dots and crosses as stamps of pixels, laid into an image. A canvas's own paths take ten times as long, most of it
// after the script, when the browser paints what it has recorded: six figures of 10,000 points kept a reader waiting
// for half a second.

const PHASES = 4; // places within a pixel, in each direction, at which a stamp is drawn

/** The pixels of one stamp, relative to the pixel that its middle is in. @typedef {{dx: Int16Array, dy: Int16Array, cover: Uint8Array}} Stamp */
/** A mark at all places within a pixel. @typedef {{reach: number, phases: Stamp[]}} Mark */

/** @type {Map<string, Mark>} */
const made = new Map();

/** A disc. @param {number} radius in pixels of the screen @param {number} alpha @returns {Mark} */
export function disc(radius, alpha) {
  const covered = (x, y) => radius - Math.hypot(x, y) + 0.5;
  return mark(`disc ${radius} ${alpha}`, Math.ceil(radius + 0.5), covered, alpha);
}

/** A cross of two strokes. @param {number} radius @param {number} width of a stroke @param {number} alpha @returns {Mark} */
export function cross(radius, width, alpha) {
  const covered = (x, y) => {
    const [along, aside] = [Math.abs(x + y) * Math.SQRT1_2, Math.abs(x - y) * Math.SQRT1_2];
    const half = radius * Math.SQRT2;
    const stroke = (a, b) => Math.min(width / 2 - b, half - a) + 0.5;
    return Math.max(stroke(along, aside), stroke(aside, along));
  };
  return mark(`cross ${radius} ${width} ${alpha}`, Math.ceil(radius + width / 2 + 0.5), covered, alpha);
}

function mark(name, reach, covered, alpha) {
  let found = made.get(name);
  if (!found) {
    const phases = [];
    for (let phase = 0; phase < PHASES * PHASES; phase++) {
      const left = ((phase % PHASES) + 0.5) / PHASES;
      const top = (Math.floor(phase / PHASES) + 0.5) / PHASES;
      phases.push(stampOf(reach, (dx, dy) => 255 * alpha * Math.min(1, covered(dx + 0.5 - left, dy + 0.5 - top))));
    }
    made.set(name, (found = { reach, phases }));
  }
  return found;
}

/** @param {number} reach @param {(dx: number, dy: number) => number} cover from 0 to 255 @returns {Stamp} */
function stampOf(reach, cover) {
  const [across, down, covers] = [[], [], []];
  for (let dy = -reach; dy <= reach; dy++)
    for (let dx = -reach; dx <= reach; dx++) {
      const value = Math.round(cover(dx, dy));
      if (value <= 0) continue;
      across.push(dx);
      down.push(dy);
      covers.push(value);
    }
  return { dx: Int16Array.from(across), dy: Int16Array.from(down), cover: Uint8Array.from(covers) };
}

/**
 * Lay a mark over what an image shows, in a colour.
 * @param {ImageData} image @param {number} x @param {number} y @param {Mark} mark @param {number} r @param {number} g @param {number} b
 */
export function lay(image, x, y, mark, r, g, b) {
  const { data, width, height } = image;
  const [column, row] = [Math.floor(x), Math.floor(y)];
  const { reach } = mark;
  if (!(column >= -reach && row >= -reach && column < width + reach && row < height + reach)) return;
  const phase = Math.floor((x - column) * PHASES) + PHASES * Math.floor((y - row) * PHASES);
  const { dx, dy, cover } = mark.phases[phase];
  const inside = column >= reach && row >= reach && column < width - reach && row < height - reach;
  const middle = row * width + column;
  for (let k = 0; k < cover.length; k++) {
    if (!inside) {
      const left = column + dx[k];
      const top = row + dy[k];
      if (left < 0 || top < 0 || left >= width || top >= height) continue;
    }
    const at = 4 * (middle + dy[k] * width + dx[k]);
    const over = cover[k];
    const under = data[at + 3];
    if (under === 0) {
      data[at] = r;
      data[at + 1] = g;
      data[at + 2] = b;
      data[at + 3] = over;
      continue;
    }
    // Colours are not multiplied by their opacity: "over" of Porter and Duff, times 255.
    const rest = (under * (255 - over)) / 255;
    const both = over + rest;
    const share = over / both;
    data[at] += (r - data[at]) * share;
    data[at + 1] += (g - data[at + 1]) * share;
    data[at + 2] += (b - data[at + 2]) * share;
    data[at + 3] = both;
  }
}
