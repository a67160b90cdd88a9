// The colours of the points: by class, prediction, confidence, column and others, in the theme of the page.

import { columns, confidence, label, meta, prediction, state, task, truth, unlabelled } from "./state.js";
import { fieldColoring } from "./fields.js";
import { maps, models } from "./maps.js";

// Visible on light and dark: early to late, or confident to not confident.
const RAMP = ["#a9b8c9", "#6fa3b8", "#3f9a82", "#b5a42c", "#e58a1f", "#d9541e"];
const NEVER = "#c2186b";
const DIMMED = 0.14; // share of ink in the colour of samples beside a pair of classes

/** Colour of a sample's point. @param {number} sample @returns {string} */
export function colorOf(sample) {
  const { code, low, high, palette, missing } = coloring(state.color);
  const step = Math.floor(((code(sample) - low) / (high - low)) * palette.length);
  return Number.isNaN(step) ? (missing ?? theme().ink) : palette[Math.max(0, Math.min(palette.length - 1, step))];
}

/** The number of each sample and the colours of the numbers, by what the reader colours by. */
export function coloring(by) {
  const special = task.coloring?.(by);
  if (special) return special;
  const [what, network] = by.split("-");
  if (what === "field") {
    const found = fieldColoring(Number(network));
    return { ...found, palette: found.palette ?? ramp(64) };
  }
  if (what === "confidence")
    return { code: (s) => confidence(network, s), low: 0, high: 1, palette: ramp(64).reverse() };
  if (what === "settle") {
    const steps = meta.networks[network].journey.length;
    return scale((s) => columns[by][s], [...ramp(steps), NEVER], unlabelled);
  }
  if (what === "prediction") return scale((s) => prediction(network, s), meta.colors, 0);
  return scale(label, meta.colors, unlabelled);
}

/** Whole numbers from 0 and their colours; the last is that of unlabelled samples, if there are any: the ink. */
function scale(code, colors, unlabelled) {
  const palette = unlabelled ? [...colors, theme().ink] : [...colors];
  return { code, low: -0.5, high: Math.max(1, palette.length) - 0.5, palette };
}

function ramp(count) {
  return Array.from({ length: count }, (_, k) => {
    const at = (k / Math.max(1, count - 1)) * (RAMP.length - 1);
    const from = Math.min(RAMP.length - 2, Math.floor(at));
    return mix(RAMP[from], RAMP[from + 1], at - from);
  });
}

function mix(a, b, share) {
  const part = (at) => {
    const [from, to] = [a, b].map((color) => parseInt(color.slice(at, at + 2), 16));
    return Math.round(from + (to - from) * share)
      .toString(16)
      .padStart(2, "0");
  };
  return `#${part(1)}${part(3)}${part(5)}`;
}

export function showColors() {
  const { code, low, high, palette, missing } = coloring(state.color);
  const { ink, paper } = theme();
  models.colors.setv({ palette, low, high, nan_color: state.why ? mix(paper, ink, DIMMED) : (missing ?? ink) });
  const codes = Float32Array.from(maps.sampleOf, (sample) => (isAside(sample) ? NaN : code(sample)));
  models.samples.data = { ...models.samples.data, code: codes };
  models.stage.data = { ...models.stage.data, code: codes };
}

/** Whether a sample is of neither of the two classes that the reader compares. */
function isAside(sample) {
  if (!state.why) return false;
  const code = truth(sample);
  return code !== state.why.given && code !== state.why.predicted;
}

function theme() {
  const style = getComputedStyle(document.documentElement);
  return { ink: style.getPropertyValue("--ink").trim(), paper: style.getPropertyValue("--card").trim() };
}

/**
 * The figures have the colours of the light theme; changing them before they are drawn saves drawing them twice.
 * No name in the data can look like what is replaced, because its quotes are escaped.
 * @param {string} json
 */
export function inTheme(json) {
  const { ink, paper } = theme();
  const value = (color) => `_color":{"type":"value","value":"${color}"}`;
  return json.replaceAll(value("#1b1f24"), value(ink)).replaceAll(value("#ffffff"), value(paper));
}

export function showTheme() {
  for (const model of Object.values(models)) if (model.type === "Figure") inThemeOf(model);
  if (state.why) return showColors();
  models.colors.nan_color = theme().ink; // of samples without a value
  const { low, high, palette } = coloring(state.color);
  if (unlabelled) models.colors.setv({ palette, low, high });
}

export function inThemeOf(figure) {
  const { ink, paper } = theme();
  for (const { name, glyph } of figure.renderers) {
    if (name === "class-names") glyph.setv({ text_color: { value: ink }, background_fill_color: { value: paper } });
    if (name === "ring") glyph.line_color = { value: ink };
  }
}
