// The picture of a sample, painted from the page's block of bytes at the sample's row, never at its position in a list.

import { columns, nameOf } from "./state.js";
import { h } from "./dom.js";

/** Paint a sample's pixels, one to one. @param {HTMLCanvasElement} canvas @param {number} sample */
export function paint(canvas, sample) {
  const [, height, width, channels] = columns.pixels.shape;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const start = sample * height * width * channels;
  for (let k = 0; k < height * width; k++) {
    for (let c = 0; c < 3; c++) image.data[4 * k + c] = columns.pixels[start + k * channels + (channels === 3 ? c : 0)];
    image.data[4 * k + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  canvas.dataset.sample = String(sample);
}

/** Return the picture of a sample or, without pictures, its id. @param {number} sample @returns {HTMLElement} */
export function picture(sample) {
  if (columns.pixels) {
    const canvas = h("canvas", { class: "picture", "aria-hidden": "true" });
    paint(canvas, sample);
    return canvas;
  }
  return h("span", { class: "picture words", "data-sample": String(sample) }, nameOf(sample));
}
