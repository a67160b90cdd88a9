// The toolbar: classes, which samples are shown, what they are coloured by, and what dragging does.

import { choose, colorBy, columns, emit, filter, meta, on, state, task, unhide, unlabelled } from "./state.js";
import { fieldLegend, fields } from "./fields.js";
import { many } from "./pair.js";
import { coloring } from "./coloring.js";
import { setBrush } from "./scatter.js";
import { buildChips, subsetCount } from "./chips.js";
import { $, grouped, h } from "./dom.js";

export function buildToolbar() {
  if (task.colors) document.documentElement.dataset.task = meta.task;
  buildHeadline();
  task.buildTools?.();
  buildChips();
  buildShow();
  buildColors();
  buildBrushes();
  $("theme").addEventListener("click", switchTheme);
}

/** The headline; its numbers select the samples that they count. */
function buildHeadline() {
  showHeadline();
  on("task", showHeadline);
}

function showHeadline() {
  if ($("sign")) $("sign").textContent = task.sign?.() ?? "wrong"; // what a cross means
  $("headline").replaceChildren();
  for (const [text, subset] of task.headline?.() ?? meta.headline) {
    if (subset === null) $("headline").append(text);
    else
      $("headline").append(
        h("button", { class: "number", title: "Show these samples", onclick: () => chooseSubset(subset) }, text),
      );
  }
}

export function chooseSubset(name) {
  if (task.act?.(name)) return;
  const { label } = meta.subsets.find((subset) => subset.name === name);
  choose(columns[`subset-${name}`], label);
}

/** What can be shown: all samples, or a subset of them. */
function choicesOfShow() {
  const choices = [{ name: "all", label: "All", count: meta.n }];
  for (const { name, label } of meta.subsets)
    if (many || !name.startsWith("only-")) choices.push({ name, label, count: columns[`subset-${name}`].length });
  return choices;
}

/** A select, where there are too many networks for a button each. */
function buildShowSelect() {
  const select = h("select", { id: "show-choice", "aria-label": "Which samples are shown" });
  const list = () => {
    const options = choicesOfShow().map(({ name, label, count }) =>
      h("option", { value: name, disabled: !count && name !== state.show }, `${label} (${ofAll(name, count)})`),
    );
    select.replaceChildren(...options);
    select.value = state.show;
  };
  select.addEventListener("change", () => show(select.value));
  $("show").append(select);
  on("filter", list);
  on("pair", list);
  on("task", list);
  list();
}

function buildShow() {
  const choices = choicesOfShow();
  if (choices.length === 1) return;
  if (many) return buildShowSelect();
  for (const { name, label, count } of choices) {
    const button = h("button", {
      class: "pill",
      "aria-pressed": String(name === state.show),
      disabled: !count,
      onclick: () => show(name),
    });
    button.append(h("span", { class: "name" }, label), h("b", {}, grouped(count)));
    button.dataset.show = name;
    $("show").append(button);
  }
  on("task", () => {
    for (const button of $("show").children) showCount(button);
  });
  on("filter", () => {
    for (const button of $("show").children) {
      button.setAttribute("aria-pressed", String(button.dataset.show === state.show));
      showCount(button);
    }
  });
}

/** Show a subset; other filters that hide all of it are removed. A second click on "All" brings all classes back. */
function show(name) {
  const again = name === "all" && state.show === "all";
  filter({ show: name, ...(again ? { hidden: new Set() } : {}) });
  if (name !== "all" && unhide(Array.from(columns[`subset-${name}`]))) filter({ show: name, cleared: true });
}

/** "12 of 63": samples of a subset that the other filters leave. */
function ofAll(name, count) {
  const left = subsetCount(name);
  return left === count ? grouped(count) : `${grouped(left)} of ${grouped(count)}`;
}

/** Give a pill the label and the count that its subset has now. */
function showCount(button) {
  const subset = meta.subsets.find(({ name }) => name === button.dataset.show);
  const length = subset ? columns[`subset-${subset.name}`].length : meta.n;
  if (subset) button.firstChild.textContent = subset.label;
  // The number that is left, as beside the classes: "197 of 200" in each button would push others out of the row.
  const left = subsetCount(subset?.name ?? "all");
  button.lastChild.textContent = grouped(left);
  button.lastChild.style.minWidth = `${grouped(length).length}ch`; // the pills keep their places
  button.title = left === length ? "" : `${grouped(left)} of ${grouped(length)}: other filters hide the rest`;
  if (!subset) return;
  button.disabled = !length && state.show !== subset.name;
}

/** What samples can be coloured by: values and names. @returns {[string, string][]} */
function colorChoices() {
  const choices = task.colors ? task.colors() : classColors();
  fields.forEach(({ name, kind }, j) => {
    if (kind !== "text") choices.push([`field-${j}`, name]);
  });
  return choices;
}

/** @returns {[string, string][]} */
function classColors() {
  const choices = [];
  if (columns.target) choices.push(["truth", "truth"]);
  meta.networks.forEach(({ name, classifies }, k) => {
    if (classifies) choices.push([`prediction-${k}`, `${name}’s prediction`]);
  });
  meta.networks.forEach(({ name, classifies }, k) => {
    if (classifies) choices.push([`confidence-${k}`, `${name}’s confidence`]);
  });
  meta.networks.forEach(({ name }, k) => {
    if (columns[`settle-${k}`]) choices.push([`settle-${k}`, `layer from which on ${name}’s neighbours ${columns.target ? "are right" : "agree"}`]);
  });
  return choices;
}

function buildColors() {
  const choices = colorChoices();
  if (!choices.length) return $("color-choice").remove();
  listColors(choices);
  state.color = choices[0][0];
  $("color").addEventListener("change", () => colorBy($("color").value));
  on("color", showLegend);
  on("task", () => {
    const now = colorChoices();
    listColors(now);
    if (now.some(([value]) => value === state.color)) $("color").value = state.color;
    else colorBy(now[0][0]);
  });
  showLegend();
}

function listColors(choices) {
  $("color").replaceChildren(...choices.map(([value, text]) => h("option", { value }, text)));
}

/** The meaning of the colours of a scale; for classes, the chips show it. */
function showLegend() {
  const [what, network] = state.color.split("-");
  $("legend").replaceChildren();
  const special = task.legend?.(state.color);
  if (special) return $("legend").append(special);
  if (what === "field") return $("legend").append(...fieldLegend(Number(network), coloring(state.color).palette));
  if (what !== "confidence" && what !== "settle") return;
  const { palette } = coloring(state.color);
  const bar = h("span", { class: "ramp" });
  if (what === "confidence") {
    bar.style.background = `linear-gradient(90deg, ${palette.join(",")})`;
    $("legend").append("unsure ", bar, " sure");
    return;
  }
  const layers = meta.networks[network].journey.map((k) => meta.panels[k].layer);
  [...layers, "not at the end", ...(unlabelled ? ["unlabelled"] : [])].forEach((layer, k) => {
    const dot = h("i", { class: "dot" });
    dot.style.setProperty("--c", palette[k]);
    $("legend").append(h("span", { class: "entry" }, dot, layer));
  });
}

function buildBrushes() {
  $("brush").addEventListener("change", (event) => setBrush(event.target.value));
}

const root = document.documentElement;

function switchTheme() {
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  try {
    sessionStorage.setItem("torchviz_layers theme", root.dataset.theme); // page.html reads it
  } catch {
    // A browser may forbid it, and an iframe in a notebook has none.
  }
  emit("theme");
}

/** Follow the system's choice of light or dark, as the head of the page did at first. */
export function followTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => {
    root.dataset.theme = dark.matches ? "dark" : "light";
    emit("theme");
  };
  dark.addEventListener("change", follow);
}
