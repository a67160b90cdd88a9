// The stage as one SVG that can be read without the page: a title, the map, and what its colours and signs mean.

import { meta, state, task, visible } from "./state.js";
import { coloring } from "./coloring.js";
import { panelLayer } from "./scatter.js";
import { cut } from "./chips.js";
import { $, grouped, svg } from "./dom.js";

const MARGIN = 12;
const TITLE = 48; // pixels of height above the map
const LINE = 20; // and of a line of the legend
const ENTRY = 65; // least pixels of width of an entry
const MANY = 24; // entries
const LETTERS = 7; // pixels of a letter, at most
const LONGEST = 40; // letters of a name; a longer one would leave no room for others

const cssColor = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** @returns {Promise<string>} */
export async function stagePicture() {
  const drawn = await (await panelLayer("svg").to_blob()).text();
  const map = new DOMParser().parseFromString(drawn, "image/svg+xml").documentElement;
  const [width, height] = ["width", "height"].map((side) => parseFloat(map.getAttribute(side) ?? "0"));
  map.setAttribute("x", String(MARGIN));
  map.setAttribute("y", String(TITLE));
  const legend = svg("g", { transform: `translate(${MARGIN} ${TITLE + height + 8})` });
  const lines = [...legendOf(legend, width), signs()];
  lines.forEach((line, at) => {
    line.setAttribute("transform", `translate(0 ${at * LINE})`);
    legend.append(line);
  });
  const size = { width: width + 2 * MARGIN, height: TITLE + height + 8 + lines.length * LINE + MARGIN };
  const picture = svg("svg", {
    ...size,
    viewBox: `0 0 ${size.width} ${size.height}`,
    "font-family": "system-ui, sans-serif",
    "font-size": 12,
    fill: cssColor("--ink"),
  });
  const { title, detail } = words();
  picture.append(
    svg("title", {}, `${title}; ${detail}`),
    svg("rect", { width: "100%", height: "100%", fill: cssColor("--card") }),
    text(MARGIN, 20, cut(title, Math.floor(width / 9)), { "font-size": 15, "font-weight": 650 }),
    text(MARGIN, 38, cut(detail, Math.floor(width / 6)), { fill: cssColor("--quiet") }),
    map,
    legend,
  );
  return new XMLSerializer().serializeToString(picture);
}

/** Texts are text nodes, which the serializer escapes; a sign that XML does not allow is left out. */
const text = (x, y, content, attributes = {}) => svg("text", { x, y, ...attributes }, allowed(content));

const allowed = (content) => content.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "");

/** What is shown: network and layer; data, samples and the measure that the panel has. */
function words() {
  const { layer, network } = meta.panels[state.stage];
  const shown = visible.reduce((sum, each) => sum + each, 0);
  const samples = shown === meta.n ? `${grouped(meta.n)} samples` : `${grouped(shown)} of ${grouped(meta.n)} samples`;
  const purity = document.querySelector(`#panel-${state.stage} .purity`)?.textContent.trim();
  const measured = purity && !/[a-z]/i.test(purity) ? `purity ${purity}` : purity;
  const title = network === null ? layer : `${meta.networks[network].name} · ${layer}`;
  return { title, detail: [document.title, samples, measured].filter(Boolean).join(" · ") };
}

/** Lines of what the colours mean: names, as many as fit in a line, or a scale from low to high. */
function legendOf(legend, width) {
  const named = $("color").selectedOptions[0]?.textContent.trim();
  const entries = names();
  if (entries.length) {
    const longest = Math.max(...entries.map(({ name }) => Math.min(LONGEST, name.length)));
    // Many names are in two columns at least: one would be higher than many maps.
    const most = entries.length > MANY ? width / 2 : width;
    const each = Math.min(most, Math.max(ENTRY, 22 + longest * LETTERS));
    const across = Math.max(1, Math.floor(width / each));
    const lines = [];
    for (let at = 0; at < entries.length; at += across)
      lines.push(svg("g", {}, ...entries.slice(at, at + across).flatMap((entry, k) => nameOf(entry, k * each, each))));
    return named ? [svg("g", {}, text(0, 12, `Colour: ${named}`, { fill: cssColor("--quiet") })), ...lines] : lines;
  }
  const { palette, low, high } = coloring(state.color);
  const stops = palette.map((color, k) =>
    svg("stop", { offset: (k / Math.max(1, palette.length - 1)).toFixed(3), "stop-color": color }),
  );
  legend.append(svg("defs", {}, svg("linearGradient", { id: "scale" }, ...stops)));
  const ends = [low, high].map((value) => (typeof value === "number" ? Number(value.toPrecision(3)) : value));
  const label = `${ends[0]} to ${ends[1]}${named ? `: ${named}` : ""}`;
  return [svg("g", {}, svg("rect", { y: 3, width: 120, height: 10, fill: "url(#scale)" }), text(128, 12, label))];
}

/** Names and colours: those of the page's legend, or of the classes that are shown. */
function names() {
  const listed = [...document.querySelectorAll("#legend .entry")].map((entry) => {
    const dot = entry.querySelector(".dot, i");
    return { name: (entry.textContent ?? "").trim(), color: dot ? getComputedStyle(dot).backgroundColor : cssColor("--ink") };
  });
  if (listed.length || task.coloring?.(state.color)) return listed;
  if (!/^(truth|label|prediction)/.test(state.color) && state.color) return [];
  return meta.classes
    .map((name, code) => ({ name, color: meta.colors[code], code }))
    .filter(({ code }) => !state.hidden.has(code));
}

function nameOf({ name, color }, x, width) {
  const letters = Math.min(LONGEST, Math.floor((width - 16) / (LETTERS - 0.5)));
  const shown = text(x + 14, 12, cut(name, letters));
  if (name.length > letters) shown.append(svg("title", {}, allowed(name)));
  return [svg("circle", { cx: x + 5, cy: 8, r: 4.5, fill: color }), shown];
}

/** What the marks of the points mean: as above the map. */
function signs() {
  const marked = $("sign") ? `✕ ${$("sign").textContent}   ` : "";
  return svg("g", {}, text(0, 12, `${marked}◯ shown   ∘ its neighbours`, { fill: cssColor("--quiet") }));
}
