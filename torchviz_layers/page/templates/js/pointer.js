// What the pointer and the wheel do on a figure.

import { hover, pin } from "./state.js";
import { hideTip, pointAt } from "./tooltip.js";
import { nearestRow } from "./grid.js";
import { maps } from "./maps.js";
import { $ } from "./dom.js";

const REACH = 14; // pixels within which the pointer finds a point
const CLICK = 4; // pixels that the pointer may move from press to release
const HINT = 1500; // milliseconds

/** @param {() => any} points x and y of the points now @param {() => void} [open] what a click does besides */
export function listen(host, points, figure, open) {
  const find = (event) => nearest(host, points(), figure, event);
  host.addEventListener("pointermove", (event) => {
    if (event.buttons) return hideTip();
    const sample = find(event);
    pointAt(sample, event);
    hover(sample);
  });
  const leave = () => (hideTip(), hover(null));
  host.addEventListener("pointerleave", leave);
  host.addEventListener("pointerdown", hideTip);
  host.addEventListener("wheel", leave, { passive: true }); // it moves the points away under the pointer
  let pressed = [0, 0];
  host.addEventListener("pointerdown", (event) => (pressed = [event.clientX, event.clientY]));
  host.addEventListener("click", (event) => {
    // The end of a drag is a click, too.
    if (Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) > CLICK) return;
    const sample = find(event);
    if (sample !== null) pin(sample);
    open?.();
  });
}

/**
 * Let the wheel scroll the page, which otherwise would stop when the stage comes under the pointer. It zooms with Ctrl
 * (which a pinch on a touchpad sends, too), and alone from a click on the stage until the pointer leaves it.
 */
export function leaveWheel(host) {
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
function nearest(host, points, figure, event) {
  const { sampleOf, visibleRows } = maps;
  const box = host.getBoundingClientRect();
  const across = (figure.x_range.end - figure.x_range.start) / box.width;
  const up = (figure.y_range.end - figure.y_range.start) / box.height;
  const x = figure.x_range.start + (event.clientX - box.left) * across;
  const y = figure.y_range.end - (event.clientY - box.top) * up;
  const found = nearestRow(figure, points, visibleRows, x, y, across, up, REACH);
  return found === null ? null : sampleOf[found];
}
