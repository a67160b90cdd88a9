// Reads the page's data: JSON records, and columns of numbers or texts, deflated and in base64.

const TYPES = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array, float64: Float64Array };

/** @param {string} text @returns {Uint8Array<ArrayBuffer>} */
export function bytesOf(text) {
  /** @type {any} */
  const native = Uint8Array;
  if (native.fromBase64) return native.fromBase64(text);
  const signs = atob(text);
  const bytes = new Uint8Array(signs.length);
  for (let k = 0; k < bytes.length; k++) bytes[k] = signs.charCodeAt(k);
  return bytes;
}

/** @param {string} text @returns {Promise<ArrayBuffer>} */
async function inflate(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

/**
 * Read a JSON script element.
 * @param {string} id @param {(text: string) => string} [prepare] changes its text first
 */
export function readJson(id, prepare = (text) => text) {
  const element = document.getElementById(id);
  const value = JSON.parse(prepare(element.textContent));
  element.remove();
  return value;
}

/** The numbers of a column, whose bytes are in planes: all first ones, then all second ones. @param {ArrayBuffer} planes */
function numbers(planes, Type) {
  const size = Type.BYTES_PER_ELEMENT;
  if (size === 1) return new Type(planes);
  const from = new Uint8Array(planes);
  const to = new Uint8Array(from.length);
  const count = from.length / size;
  for (let plane = 0; plane < size; plane++)
    for (let k = 0, at = plane; k < count; k++, at += size) to[at] = from[plane * count + k];
  return new Type(to.buffer);
}

/** Run a packed script and remove its text from the document. @param {string} id @returns {Promise<void>} */
export async function run(id) {
  const element = document.getElementById(id);
  const script = document.createElement("script");
  script.textContent = new TextDecoder().decode(await inflate(element.textContent));
  element.replaceWith(script);
}

/** Decode all columns and remove their text from the document. @returns {Promise<Record<string, any>>} */
export async function readColumns() {
  /** @type {HTMLScriptElement[]} */
  const elements = [...document.querySelectorAll("script")].filter((element) => element.dataset.column);
  const decoded = await Promise.all(elements.map((element) => inflate(element.textContent)));
  const columns = {};
  elements.forEach((element, k) => {
    const { column, dtype, shape } = element.dataset;
    columns[column] = dtype === "json" ? JSON.parse(new TextDecoder().decode(decoded[k])) : numbers(decoded[k], TYPES[dtype]);
    columns[column].shape = shape.split(",").map(Number);
    element.remove();
  });
  return columns;
}
