// What the modules of the maps share: Bokeh's models by name, and which sample each point is. Rows of the sources are points
// in drawing order; `sampleOf` maps them to samples, `rowOf` back.

import { $ } from "./dom.js";

/** Bokeh's models by name; figures.py lists the names. @type {Record<string, any>} */
export const models = {};

export const maps = {
  /** Bokeh's views of the figures. @type {any} */
  views: null,
  sampleOf: new Uint32Array(0),
  rowOf: new Uint32Array(0),
  /** 1 for rows whose sample passes the filters. */
  visibleRows: new Uint8Array(0),
};

/** Panels that are drawn. @type {Set<number>} */
export const drawn = new Set();

/** @param {number} k panel */
export const hostOf = (k) => $(`figure-${k}`);

/** @returns {[Float32Array, Float32Array]} x and y of a panel, in drawing order */
export function coordinates(k) {
  return [models.samples.data[`x${k}`], models.samples.data[`y${k}`]];
}

/** @type {() => [Float32Array, Float32Array]} */
export const stageCoordinates = () => [models.stage.data.x, models.stage.data.y];
