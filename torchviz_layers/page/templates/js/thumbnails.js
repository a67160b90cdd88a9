// The picture of a sample, found by the sample's row, never by its position in a list: pixels of the page itself, or a
// part of a sheet of many pictures, which the browser decodes when one of them is needed first.

import { bytesOf } from "./store.js";
import { columns, meta, nameOf } from "./state.js";
import { h } from "./dom.js";

const MOST_DECODED = 48; // sheets, of at most 4 MB each
const SMALL = 64; // pixels of a side up to which a picture that is enlarged keeps its pixels' edges

/** Width and height of every picture, and, of sheets, how many there are across and down; null without pictures.
 * @type {{ width: number, height: number, across?: number, down?: number } | null} */
const size = meta.pictures;

/** Whether the samples have pictures. */
export const hasPictures = Boolean(size);

/** Whether the pictures are enlarged smoothly, as photographs are. */
export const smooth = hasPictures && Math.max(size.width, size.height) > SMALL;
if (hasPictures) document.documentElement.dataset.pictures = smooth ? "photographs" : "drawings";

/** The sheets, encoded. @type {{ type: string, text: string }[]} */
const sheets = [...document.querySelectorAll("script")]
  .filter((element) => element.dataset.sheet)
  .map((element) => {
    element.remove();
    return { type: element.dataset.sheet, text: element.textContent };
  });

/** Decoded sheets by number, the one used last at the end. @type {Map<number, ImageBitmap>} */
const decoded = new Map();
/** Sheets that are being decoded. @type {Map<number, Promise<void>>} */
const decoding = new Map();
/** @type {(() => void)[]} */
const listeners = [];

/** Call a function whenever pictures become available that `drawPicture` could not draw. @param {() => void} listener */
export function onDecoded(listener) {
  listeners.push(listener);
}

/** @param {number} number @returns {Promise<void>} */
async function decode(number) {
  const { type, text } = sheets[number];
  const bitmap = await createImageBitmap(new Blob([bytesOf(text)], { type }));
  decoded.set(number, bitmap);
  // Freed by the garbage collector, not closed: a caller may be about to draw it.
  if (decoded.size > MOST_DECODED) decoded.delete(decoded.keys().next().value);
  for (const listener of listeners) listener();
}

/** Begin to decode a sheet, once. @param {number} number @returns {Promise<void>} */
function request(number) {
  if (!decoding.has(number)) decoding.set(number, decode(number).finally(() => decoding.delete(number)));
  return decoding.get(number);
}

const sheetOf = (sample) => Math.floor(sample / (size.across * size.down));

/** The sheet of a sample if it is decoded; it is then the last to be dropped. @param {number} sample */
function sheetAtHand(sample) {
  const number = sheetOf(sample);
  const bitmap = decoded.get(number);
  if (bitmap) {
    decoded.delete(number);
    decoded.set(number, bitmap);
  }
  return bitmap;
}

const BLOCK = 16; // pictures on a sheet begin at multiples of it
const pitch = (extent) => Math.ceil(extent / BLOCK) * BLOCK;

/** Draw a sample's part of a sheet. @param {CanvasRenderingContext2D} context @param {ImageBitmap} sheet @param {number} sample */
function drawPart(context, sheet, sample, x, y, width, height) {
  const place = sample % (size.across * size.down);
  const left = (place % size.across) * pitch(size.width);
  const top = Math.floor(place / size.across) * pitch(size.height);
  context.drawImage(sheet, left, top, size.width, size.height, x, y, width, height);
}

/** The pixels of a sample as the canvas takes them. @param {CanvasRenderingContext2D} context @param {number} sample */
function pixelsOf(context, sample) {
  const [, height, width, channels] = columns.pixels.shape;
  const image = context.createImageData(width, height);
  const start = sample * height * width * channels;
  for (let k = 0; k < height * width; k++) {
    for (let c = 0; c < 3; c++) image.data[4 * k + c] = columns.pixels[start + k * channels + (channels === 3 ? c : 0)];
    image.data[4 * k + 3] = 255;
  }
  return image;
}

/**
 * Paint a sample one to one: at once, or, if its sheet is not decoded yet, when it is; until then the canvas is empty.
 * @param {HTMLCanvasElement} canvas @param {number} sample
 */
export function paint(canvas, sample) {
  canvas.width = size.width; // also clears it
  canvas.height = size.height;
  canvas.dataset.sample = String(sample);
  // As a part of the page: a picture of its own for the graphics card would be composed again in every frame.
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (columns.pixels) {
    context.putImageData(pixelsOf(context, sample), 0, 0);
    return;
  }
  const sheet = sheetAtHand(sample);
  if (sheet) drawPart(context, sheet, sample, 0, 0, size.width, size.height);
  else request(sheetOf(sample)).then(() => paintLate(canvas, sample));
}

/** Paint a sample whose sheet has been decoded, unless the canvas shows another by now. */
function paintLate(canvas, sample) {
  if (canvas.dataset.sample === String(sample)) paint(canvas, sample);
}

/** @type {HTMLCanvasElement} */
let scratch;

/**
 * Draw a sample's picture in the middle of a square of another canvas, as large as fits. Returns false, and draws
 * nothing, where the picture is not decoded yet; the listeners of `onDecoded` hear when it is.
 * @param {CanvasRenderingContext2D} context @param {number} sample
 * @param {number} x left of the square @param {number} y its top @param {number} side @returns {boolean}
 */
export function drawPicture(context, sample, x, y, side) {
  if (!hasPictures) return false;
  const scale = side / Math.max(size.width, size.height);
  const [width, height] = [size.width * scale, size.height * scale];
  const [left, top] = [x + (side - width) / 2, y + (side - height) / 2];
  context.imageSmoothingEnabled = smooth || scale < 1;
  if (columns.pixels) {
    scratch ??= h("canvas", { width: size.width, height: size.height });
    const own = scratch.getContext("2d");
    own.putImageData(pixelsOf(own, sample), 0, 0);
    context.drawImage(scratch, left, top, width, height);
    return true;
  }
  const sheet = sheetAtHand(sample);
  if (sheet) drawPart(context, sheet, sample, left, top, width, height);
  else request(sheetOf(sample));
  return Boolean(sheet);
}

/** Return the picture of a sample or, without pictures, its id. @param {number} sample @returns {HTMLElement} */
export function picture(sample) {
  if (hasPictures) {
    const canvas = h("canvas", { class: "picture", "aria-hidden": "true" });
    paint(canvas, sample);
    return canvas;
  }
  return h("span", { class: "picture words", "data-sample": String(sample) }, nameOf(sample));
}
