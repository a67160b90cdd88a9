// The part of the plane that a figure shows, with the same scale in both directions.

import { models } from "./maps.js";
import { $ } from "./dom.js";

/** Lowest and highest x and y that the stage shows. @type {[[number, number], [number, number]]} */
let stageExtent = [
  [-1, 1],
  [-1, 1],
];

/** Remember what the stage's points span, and show all of them. @param {[number, number]} xs @param {[number, number]} ys */
export function fitStageTo(xs, ys) {
  stageExtent = [xs, ys];
  fitStage();
}

/** Show all points of the stage. */
export const fitStage = () => fit(models["stage-figure"], $("figure-stage"), ...stageExtent);

/** Width and height of a figure's element when it was last fitted, which every change of its size does. @type {WeakMap<any, {width: number, height: number}>} */
const sizes = new WeakMap();

/** Size of a figure in pixels. Asking its element would lay out the page between two changes of it. */
export const sizeOf = (figure, host) => sizes.get(figure) ?? { width: host.clientWidth, height: host.clientHeight };

/** Show at least these ranges, with the same scale in both directions. */
export function fit(figure, host, xs, ys) {
  const { clientWidth, clientHeight } = host;
  sizes.set(figure, { width: clientWidth, height: clientHeight });
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
