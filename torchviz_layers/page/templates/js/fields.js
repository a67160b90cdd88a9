// The reader's own columns: their values as text, their colours, and which samples they let through.

import { columns, conditions, filter, meta, on } from "./state.js";
import { h } from "./dom.js";

/** The columns in the reader's order. @type {any[]} */
export const fields = meta.fields;

// Not grey, which means "not selected".
const OTHER = "#6b5a4a";
const MISSING = "#c9b39c";

/** What the reader filters by, by number of the column. @type {Map<number, any>} */
export const filters = new Map();
// A selection may have removed conditions.
on("filter", () => filters.forEach((_, j) => conditions.has(`field-${j}`) || filters.delete(j)));

/** A column's value of a sample: number, milliseconds of a date, name or text; null where it is missing. */
export function valueOf(j, sample) {
  const { kind, names, unit } = fields[j];
  const value = columns[`field-${j}`][sample];
  if (kind === "text") return value;
  if (kind === "category") return names[value] ?? null;
  if (Number.isNaN(value)) return null;
  return kind === "date" ? value * unit : value;
}

/** A value as it is read. @param {any} value as `valueOf` returns it */
export function readValue(j, value) {
  if (value === null) return "–";
  if (fields[j].kind === "date") return isoDate(j, value);
  return fields[j].kind === "number" ? String(rounded(j, value)).replace("-", "−") : value;
}

/** A value as files have it: numbers as they are, dates in ISO 8601. */
export function fileValue(j, value) {
  if (value === null) return null;
  if (fields[j].kind === "date") return isoDate(j, value).replace(" ", "T");
  if (fields[j].kind !== "number") return value;
  return Number.isFinite(value) ? rounded(j, value) : String(value);
}

/** A number without the digits that float32 invents. */
function rounded(j, value) {
  const single = columns[`field-${j}`] instanceof Float32Array && !Number.isInteger(value);
  return single ? Number(value.toPrecision(7)) : value;
}

function isoDate(j, milliseconds) {
  const iso = new Date(milliseconds).toISOString();
  const length = { 86400000: -14, 1000: -5, 1: -1 }[fields[j].unit];
  return iso.slice(0, length).replace("T", " ");
}

/** An end of a range as it is read: few digits, or a date. @param {number} value in the column's own unit */
export function readEnd(j, value) {
  const { kind, whole, unit } = fields[j];
  if (kind === "date") return isoDate(j, value * unit);
  return String(whole ? value : Number(value.toPrecision(4))).replace("-", "−");
}

/** The code of each sample and the colours, as the figures take them; palette null: a ramp. @param {number} j */
export function fieldColoring(j) {
  const { kind, names, scale } = fields[j];
  const values = columns[`field-${j}`];
  if (kind !== "category") {
    const [low, high] = scale[0] < scale[1] ? scale : [scale[0] - 0.5, scale[0] + 0.5];
    return { code: (sample) => values[sample], low, high, palette: null, missing: MISSING };
  }
  const shown = fields[j].colors.length;
  const palette = [...fields[j].colors, OTHER, MISSING];
  const code = (sample) => {
    const value = values[sample];
    return value < shown ? value : value === names.length ? shown + 1 : shown;
  };
  return { code, low: -0.5, high: shown + 1.5, palette, missing: MISSING };
}

/** The meaning of the colours. @param {number} j @param {string[]} palette of the ramp @returns {(Node | string)[]} */
export function fieldLegend(j, palette) {
  const field = fields[j];
  const missing = field.missing ? [entry(MISSING, "missing")] : [];
  if (field.kind === "category") {
    const shown = choicesOf(j).filter(({ code }) => code !== null);
    const colors = fieldColoring(j).palette;
    return [...shown.map(({ name }, k) => entry(colors[k], name)), ...missing];
  }
  const bar = h("span", { class: "ramp" });
  bar.style.background = `linear-gradient(90deg, ${palette.join(",")})`;
  const [low, high] = field.scale;
  // The ends of the scale may be inside the range, so that few extreme values do not take all colours.
  const ends = [`${low > field.low ? "≤ " : ""}${readEnd(j, low)}`, `${high < field.high ? "≥ " : ""}${readEnd(j, high)}`];
  return [`${field.name} `, ends[0], bar, ends[1], ...missing];
}

function entry(color, name) {
  const dot = h("i", { class: "dot" });
  dot.style.setProperty("--c", color);
  return h("span", { class: "entry", title: name }, dot, h("span", { class: "name" }, name));
}

/**
 * What a reader can choose in a column of categories or texts: the most frequent, "other", and "missing" (code null).
 * @returns {{name: string, code: number | null, count: number, has: (value: any) => boolean}[]}
 */
export function choicesOf(j) {
  const { kind, names, missing, colors } = fields[j];
  const values = columns[`field-${j}`];
  if (kind === "text")
    return [
      { name: "any text", code: 0, count: meta.n - missing, has: (value) => value !== null },
      { name: "missing", code: null, count: missing, has: (value) => value === null },
    ];
  const counts = new Uint32Array(names.length + 1);
  for (let sample = 0; sample < meta.n; sample++) counts[values[sample]]++;
  const choices = names
    .slice(0, colors.length)
    .map((name, code) => ({ name, code, count: counts[code], has: (value) => value === code }));
  if (names.length > colors.length) {
    const rest = names.length - colors.length;
    const count = counts.subarray(colors.length, names.length).reduce((sum, each) => sum + each, 0);
    const has = (value) => value >= colors.length && value < names.length;
    choices.push({ name: `other (${rest} more)`, code: colors.length, count, has });
  }
  if (missing) choices.push({ name: "missing", code: null, count: missing, has: (value) => value === names.length });
  return choices;
}

/**
 * Filter by a column. `off`: codes of the choices that are switched off. `low` and `high`: a range in the column's unit;
 * `missing`: whether samples without a value stay.
 * @param {number} j @param {any} wanted null for no filter
 */
export function filterBy(j, wanted) {
  if (wanted === null) {
    filters.delete(j);
    conditions.delete(`field-${j}`);
  } else {
    filters.set(j, wanted);
    conditions.set(`field-${j}`, conditionOf(j, wanted));
  }
  filter();
}

function conditionOf(j, wanted) {
  const values = columns[`field-${j}`];
  if (wanted.off) {
    const on = choicesOf(j).filter(({ code }) => !wanted.off.has(code));
    return (sample) => on.some(({ has }) => has(values[sample]));
  }
  // Values that are rounded to float32 are compared with ends that are rounded, too.
  const as = values instanceof Float32Array ? Math.fround : Number;
  const [low, high] = [as(wanted.low), as(wanted.high)];
  const { missing } = wanted;
  return (sample) => {
    const value = values[sample];
    return Number.isNaN(value) ? missing : value >= low && value <= high;
  };
}

/** A filter in words: "age 20–40", "site: ant, bee", "site without cat". */
export function describeFilter(j) {
  const field = fields[j];
  const wanted = filters.get(j);
  if (wanted.off) {
    const named = (on) => choicesOf(j).filter(({ code }) => wanted.off.has(code) !== on).map(({ name }) => name);
    const listed = (names) => (names.length > 2 ? `${names.slice(0, 2).join(", ")} +${names.length - 2}` : names.join(", "));
    const [kept, dropped] = [named(true), named(false)];
    if (!kept.length) return `${field.name}: none`;
    return kept.length <= dropped.length ? `${field.name}: ${listed(kept)}` : `${field.name} without ${listed(dropped)}`;
  }
  const { low, high, missing } = wanted;
  const whole = low <= field.low && high >= field.high;
  if (whole) return `${field.name} not missing`;
  const range = `${readEnd(j, low)} – ${readEnd(j, high)}`;
  return `${field.name} ${range}${missing && field.missing ? " or missing" : ""}`;
}
