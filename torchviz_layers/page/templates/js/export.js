// Files from the page: the samples of the gallery as CSV or JSON, the stage as PNG or SVG.

import { columns, confidence, meta, nameOf, prediction, state, task, truth } from "./state.js";
import { decisions, doubted, isSuspect } from "./decisions.js";
import { fields, fileValue, valueOf } from "./fields.js";
import { stagePicture } from "./stage_picture.js";
import { gallery } from "./gallery.js";
import { $ } from "./dom.js";

/** Pixels of a saved picture per pixel of the screen: enough for print. */
const PNG_SCALE = 3;

const className = (code) => (code === null || code === undefined ? null : meta.classes[code]);

export function buildExport() {
  $("export-csv").addEventListener("click", () => save("selection.csv", "text/csv", csv(records())));
  $("export-json").addEventListener("click", () =>
    // fromEntries makes an entry even of a column that is named "__proto__".
    save("selection.json", "application/json", JSON.stringify(records().map(Object.fromEntries), null, 1)),
  );
  $("export-png").addEventListener("click", async () => saveBlob(`${panelName()}.png`, await png()));
  $("export-svg").addEventListener("click", async () => save(`${panelName()}.svg`, "image/svg+xml", await stagePicture()));
}

/** One record per sample of the gallery, in its order: pairs of name and value. @returns {[string, any][][]} */
function records() {
  return gallery().samples.map((sample) => {
    const record = { id: nameOf(sample), row: sample };
    if (columns.texts) record.text = columns.texts[sample];
    if (task.record) Object.assign(record, task.record(sample));
    else describe(record, sample);
    if (doubted.size) Object.assign(record, suspect(sample));
    const own = fields.map((field, j) => [field.export, fileValue(j, valueOf(j, sample))]);
    return [...Object.entries(record), ...own];
  });
}

/** What the page says against a sample's label, and what was decided about it. */
function suspect(sample) {
  const item = doubted.get(sample);
  return {
    suspect: isSuspect(sample),
    "suspect probability": item?.probability ?? null,
    "suspect score": item?.score ?? null,
    "proposed label": className(item?.proposed),
    reason: item?.reason ?? null,
    decision: decisions.get(sample)?.decision ?? null,
  };
}

/** Add the true class, and each network's prediction. */
function describe(record, sample) {
  if (columns.target) record.truth = className(truth(sample));
  meta.networks.forEach(({ name, classifies }, k) => {
    if (!classifies) return;
    record[`${name} prediction`] = className(prediction(k, sample));
    record[`${name} confidence`] = Number(confidence(k, sample).toFixed(4));
    const step = columns[`settle-${k}`]?.[sample];
    const { journey } = meta.networks[k];
    // One step behind the last layer: not in that layer; one more: a sample without a label.
    const from = `${name} neighbours ${columns.target ? "right" : "agree"} from`;
    if (step !== undefined) record[from] = step > journey.length ? null : (meta.panels[journey[step]]?.layer ?? "not at the end");
  });
}

/** Lines of pairs of name and value as CSV. @param {[string, any][][]} items */
export function csv(items) {
  if (!items.length) return "";
  const field = (value) => {
    const text = String(value ?? "");
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return (
    [items[0].map(([name]) => name), ...items.map((item) => item.map(([, value]) => value))]
      .map((line) => line.map(field).join(","))
      .join("\r\n") + "\r\n"
  );
}

function panelName() {
  const { layer, network } = meta.panels[state.stage];
  const name = network === null ? layer : `${meta.networks[network].name}-${layer}`;
  return name.replace(/[^\p{L}\p{N}._-]+/gu, "_").slice(0, 80);
}

async function png() {
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([await stagePicture()], { type: "image/svg+xml" }));
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [PNG_SCALE * image.width, PNG_SCALE * image.height];
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

/** Offer a text as a file. @param {string} name @param {string} type @param {string} text */
export const save = (name, type, text) => saveBlob(name, new Blob([text], { type }));

function saveBlob(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
