// The layers' measures by depth: one line per network, from the shared input to its output. A point opens its layer.

import { meta, on, stage, state } from "./state.js";
import { many } from "./pair.js";
import { separable, separation } from "./why.js";
import { aboutSelection, explained, measurable, ofSelection } from "./selection_curve.js";
import { rovingTabindex } from "./roving_tabindex.js";
import { $, h, percent, svg } from "./dom.js";

const MEASURES = [
  ["neighborR2", "R² of the neighbours", "R² of the mean value of a sample’s neighbours in activation space"],
  ["probeR2", "R² of a linear probe", "R² of a linear regression on the layer’s activations"],
  ["purity", "Purity of neighbourhoods", "mean share of a sample’s neighbours in activation space that have its label"],
  ["probe", "Linear probe", "accuracy of a linear classifier on the layer’s activations"],
  ["trust", "Trustworthiness of the plane", "how far neighbours in the plane are neighbours in activation space"],
  ["cka", "Similarity of the networks", "linear CKA with the other network’s layer of the nearest relative depth"],
];
if (meta.task === "multilabel") {
  const [overlap, probe] = ["purity", "probe"].map((key) => MEASURES.find(([name]) => name === key));
  overlap.splice(1, 2, "Overlap of neighbours’ labels", "mean Jaccard index of a sample’s label set and its neighbours’");
  probe.splice(2, 1, "accuracy of a linear classifier on the layer’s activations, averaged over the labels");
}
if (many) {
  // More than two networks are not compared with one another, but each with the first.
  const first = meta.networks[0].name;
  const cka = MEASURES.find(([name]) => name === "cka");
  cka.splice(1, 2, "Similarity to the first network", `linear CKA with the layer of ${first} of the nearest relative depth`);
}
const LEAST_R2 = -1; // where the axis ends: one layer far below would flatten all others

/** The measure of the two classes that the reader compares; it is listed while there are two. */
const PAIR = "pair";

const isR2 = (key) => key.endsWith("R2");
/** R² may be negative, the other measures are shares. */
const written = (key, value, digits) => (isR2(key) ? value.toFixed(2).replace("-", "−") : percent(value, digits));

/** @type {(element?: any) => void} */
let stopAt;
/** The measure that is shown without a pair of classes. */
let usual = "";
const [LEFT, RIGHT, TOP, BOTTOM] = [44, 12, 12, 24];

export function buildCurves() {
  const known = MEASURES.filter(([key]) => meta.panels.some((panel) => panel[key] !== null));
  if (!known.length) return $("curves-section").remove();
  usual = known[0][0];
  for (const [key, name] of known) $("measure").append(h("option", { value: key }, name));
  $("measure").addEventListener("change", showCurves);
  stopAt = rovingTabindex($("curves"), () => [[...$("curves").querySelectorAll(".point")]]);
  on("stage", showCurves);
  on("why", showPair);
  $("measure").after(h("span", { id: "curves-scope", class: "quiet", role: "status", hidden: true }));
  on("selection", showSelection);
  new ResizeObserver(showCurves).observe($("curves"));
}

/** Whether a selection is shown, or waits to be. */
let followed = false;
let waiting = 0;

/** Draw once a frame, since a plot is measured, and not at all without a selection before or now. */
function showSelection() {
  if (waiting || (!followed && !state.chosen.length)) return;
  waiting = requestAnimationFrame(() => {
    waiting = 0;
    followed = state.chosen.length > 0;
    showCurves();
  });
}

/** List and show the separation of the two classes that the reader compares; without any, the measure before. */
function showPair() {
  const { value } = $("measure");
  if (value !== PAIR) usual = value;
  $("measure").querySelector(`[value="${PAIR}"]`)?.remove();
  if (separable()) {
    const { given, predicted } = state.why;
    const name = `Separation of ${meta.classes[given]} and ${meta.classes[predicted]}`;
    $("measure").prepend(h("option", { value: PAIR }, name));
  }
  $("measure").value = separable() ? PAIR : usual;
  showCurves();
}

const meaningOf = (key) =>
  key === PAIR
    ? "share of a sample’s neighbours of these two classes that have its own class; 50% is chance where both are as frequent"
    : MEASURES.find(([name]) => name === key)[2];

function showCurves() {
  const key = $("measure").value;
  showAbout(key);
  const { clientWidth: WIDTH, clientHeight: HEIGHT } = $("curves");
  $("measure").title = meaningOf(key);
  const lines = meta.networks.map(({ journey }) => points(journey, (panel) => valueOf(panel, key)));
  const own = measurable(key) ? meta.networks.map(({ journey }) => points(journey, ofSelection)) : [];
  const values = [...lines, ...own].flat().map(({ value }) => value);
  const low = Math.floor(20 * Math.max(isR2(key) ? LEAST_R2 : 0, Math.min(...values) - 0.005)) / 20;
  const high = Math.min(1, Math.ceil(20 * (Math.max(...values) + 0.002)) / 20);
  const height = (value) => Math.max(low, value);
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (height(value) - low) / Math.max(1e-9, high - low));
  const x = (depth) => LEFT + (WIDTH - LEFT - RIGHT) * depth;
  const plot = svg("svg", { width: WIDTH, height: HEIGHT, role: "group", "aria-label": `${$("measure").selectedOptions[0].text} by layer; move with the arrow keys` });
  for (const tick of ticks(low, high, Math.max(2, HEIGHT / 30))) {
    plot.append(
      svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }),
      svg("text", { class: "tick", x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, written(key, tick, 0)),
    );
  }
  plot.append(
    svg("text", { class: "tick", x: LEFT, y: HEIGHT - 6 }, "input"),
    svg("text", { class: "tick", x: WIDTH - RIGHT, y: HEIGHT - 6, "text-anchor": "end" }, "output"),
  );
  lines.forEach((line, k) => {
    plot.append(
      svg("path", {
        class: `line net-${k} dash-${k % 3}${meta.panels[state.stage].network === k ? " chosen" : ""}`,
        d: line.map(({ depth, value }, k) => `${k ? "L" : "M"}${x(depth)} ${y(value)}`).join(""),
      }),
    );
  });
  own.forEach((line, k) => plot.append(thin(line, k, x, y)));
  lines.forEach((line, k) => {
    const selection = new Map(own[k]?.map(({ panel, value }) => [panel, `; of the selection ${percent(value)}`]));
    for (const point of line) {
      const text = `${written(key, point.value)}${selection.get(point.panel) ?? ""}`;
      plot.append(mark(point, k, x(point.depth), y(point.value), text));
    }
  });
  const focused = $("curves").contains(document.activeElement);
  $("curves").replaceChildren(plot);
  const current = plot.querySelector(".current") ?? undefined;
  stopAt(current);
  if (focused) current?.focus();
}

const valueOf = (panel, key) => (key === PAIR ? separation(panel) : meta.panels[panel][key]);

function points(journey, value) {
  const last = Math.max(1, journey.length - 1);
  return journey
    .map((panel, step) => ({ panel, depth: step / last, value: value(panel) }))
    .filter(({ value }) => value !== null);
}

/** Say what the lines show of a selection. */
function showAbout(key) {
  const about = aboutSelection(key);
  const line = svg("svg", { width: 18, height: 4, "aria-hidden": "true" }, svg("path", { d: "M0 2H18" }));
  $("curves-scope").replaceChildren(...(measurable(key) ? [line, ` ${about}`] : [about]));
  $("curves-scope").title = explained(key);
  $("curves-scope").hidden = !about;
}

/** The line of the selection: its values are in the names of the points, which are those of all samples. */
function thin(line, network, x, y) {
  const path = line.map(({ depth, value }, k) => `${k ? "L" : "M"}${x(depth)} ${y(value)}`).join("");
  const dots = line.map(({ panel, depth, value }) =>
    svg("circle", { cx: x(depth), cy: y(value), r: 2.5 }, svg("title", {}, `${meta.panels[panel].layer}: ${percent(value)} of the selection`)),
  );
  return svg("g", { class: `of-selection net-${network}` }, svg("path", { d: path }), ...dots);
}

function ticks(low, high, most) {
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5].find((size) => (high - low) / size <= most) ?? 1;
  const found = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + 1e-9; tick += step) found.push(tick);
  return found;
}

function mark({ panel }, network, cx, cy, text) {
  const { layer } = meta.panels[panel];
  const owner = meta.panels[panel].network;
  const name = owner === null ? layer : `${meta.networks[network].name} ${layer}`;
  const open = () => stage(panel);
  const key = (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    open();
  };
  const kind = owner === null ? "both" : `net-${network}`;
  const current = panel === state.stage ? " current" : "";
  return svg(
    "g",
    {
      class: `point ${kind}${current}`,
      role: "button",
      "aria-label": `${name}: ${text}; enlarge`,
      onclick: open,
      onkeydown: key,
    },
    svg("circle", { cx, cy, r: 12, class: "reach" }),
    svg("circle", { cx, cy, r: many ? 3 : 4.5 }),
    svg("title", {}, `${name}: ${text}`),
  );
}
