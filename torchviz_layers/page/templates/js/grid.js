// Finds the point nearest to the pointer without going through all of them: the points lie in the cells of a grid.

const CELLS = 64; // across and down

/** @typedef {{xs: Float32Array, ys: Float32Array, visible: Uint8Array, left: number, bottom: number, across: number, up: number, starts: Uint32Array, rows: Uint32Array}} Grid */

/** The grid of a map's points: that of the last time if they are the same. @type {Map<any, Grid>} */
const grids = new Map();

const cell = (value, start, size) => Math.min(CELLS - 1, Math.max(0, Math.floor((value - start) / size)));

/** @param {any} key of the map @param {Float32Array} xs @param {Float32Array} ys @param {Uint8Array} visible 1 for the rows that count @returns {Grid} */
function gridOf(key, xs, ys, visible) {
  const known = grids.get(key);
  // Filters make new flags, and moves new places: what is the same array holds the same.
  if (known && known.xs === xs && known.ys === ys && known.visible === visible) return known;
  let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let row = 0; row < xs.length; row++) {
    if (xs[row] < left) left = xs[row];
    if (xs[row] > right) right = xs[row];
    if (ys[row] < bottom) bottom = ys[row];
    if (ys[row] > top) top = ys[row];
  }
  const across = (right - left) / CELLS || 1;
  const up = (top - bottom) / CELLS || 1;
  const placed = (row) => visible[row] === 1 && xs[row] === xs[row]; // NaN: not embedded
  const at = (row) => CELLS * cell(ys[row], bottom, up) + cell(xs[row], left, across);
  const starts = new Uint32Array(CELLS * CELLS + 1);
  for (let row = 0; row < xs.length; row++) if (placed(row)) starts[at(row) + 1]++;
  for (let k = 0; k < CELLS * CELLS; k++) starts[k + 1] += starts[k];
  const rows = new Uint32Array(starts[CELLS * CELLS]);
  const next = starts.slice();
  for (let row = 0; row < xs.length; row++) if (placed(row)) rows[next[at(row)]++] = row;
  const grid = { xs, ys, visible, left, bottom, across, up, starts, rows };
  grids.set(key, grid);
  return grid;
}

/**
 * The visible row nearest to a place, closer than a reach; null without one. Of rows as near, the first.
 * @param {any} key of the map
 * @param {[Float32Array, Float32Array]} points @param {Uint8Array} visible
 * @param {number} x @param {number} y of the place
 * @param {number} across @param {number} up lengths of a pixel
 * @param {number} reach in pixels
 * @returns {number | null}
 */
export function nearestRow(key, [xs, ys], visible, x, y, across, up, reach) {
  const grid = gridOf(key, xs, ys, visible);
  const [first, last] = [x - reach * across, x + reach * across].map((value) => cell(value, grid.left, grid.across));
  const [lowest, highest] = [y - reach * up, y + reach * up].map((value) => cell(value, grid.bottom, grid.up));
  let found = null;
  let least = reach * reach;
  for (let line = lowest; line <= highest; line++) {
    const end = grid.starts[CELLS * line + last + 1];
    for (let place = grid.starts[CELLS * line + first]; place < end; place++) {
      const row = grid.rows[place];
      const distance = ((xs[row] - x) / across) ** 2 + ((ys[row] - y) / up) ** 2;
      if (distance < least || (distance === least && found !== null && row < found)) [found, least] = [row, distance];
    }
  }
  return found;
}
