// The controls of the reader's own columns: the panel with their filters, the filters set, and their values on the card.

import { columns, on } from "./state.js";
import { choicesOf, describeFilter, fields, filterBy, filters, readEnd, readValue, valueOf } from "./fields.js";
import { buildFacets, countChoices, histogram } from "./facets.js";
import { hasPictures } from "./thumbnails.js";
import { marked } from "./views.js";
import { rovingTabindex } from "./roving_tabindex.js";
import { $, grouped, h } from "./dom.js";

const OPEN_AT_FIRST = 3;
const STEPS = 1000; // of a handle, over a range that is not of few whole numbers
const PATIENCE = 120; // milliseconds that a handle rests before the figures are drawn again

/** Sections that show their column's filter once they are open: each shows the filter that is set. */
const refreshers = new Map();

export function buildColumns() {
  if (!fields.length) {
    $("filters").remove();
    return $("tokens").remove();
  }
  fields.forEach((_, j) => $("filter-panel").append(section(j)));
  addEventListener("click", (event) => {
    // The path also has a token that its click has removed.
    const path = event.composedPath();
    if (!path.includes($("filters")) && !path.includes($("tokens"))) $("filters").open = false;
  });
  $("filters").addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !$("filters").open) return;
    event.stopPropagation(); // the selection stays
    $("filters").open = false;
    $("filters").querySelector("summary").focus();
  });
  on("filter", showFilters);
  showFilters();
  buildFacets();
}

/** A column's part of the panel; its chips or its range are built when it is opened. */
function section(j) {
  const { name, kind, missing } = fields[j];
  const detail = missing ? `${grouped(missing)} missing` : "";
  const part = h(
    "details",
    {},
    h("summary", { title: name }, h("span", { class: "column-name" }, name), h("span", { class: "quiet" }, detail)),
  );
  const build = () => {
    if (part.children.length === 1) part.append(kind === "category" || kind === "text" ? chips(j) : range(j));
  };
  part.addEventListener("toggle", () => part.open && build());
  if (j < OPEN_AT_FIRST) {
    part.open = true;
    build();
  }
  return part;
}

function chips(j) {
  const choices = choicesOf(j);
  const all = new Set(choices.map(({ code }) => code));
  const host = h("div", { class: "chips", role: "toolbar", "aria-label": fields[j].name });
  const set = (off) => filterBy(j, off.size ? { off } : null);
  const off = () => new Set(filters.get(j)?.off);
  const toggle = (code, alone) => {
    const now = off();
    if (!alone) {
      if (!now.delete(code)) now.add(code);
      return set(now);
    }
    // Alone already: all of them again.
    const others = [...all].filter((each) => each !== code);
    set(new Set(now.size === others.length && !now.has(code) ? [] : others));
  };
  for (const { name, code } of choices) {
    const chip = h("button", {
      class: "chip",
      onclick: (event) => toggle(code, event.shiftKey),
    });
    chip.append(h("span", { class: "name" }, name), h("b"));
    chip.code = code;
    host.append(chip);
  }
  refreshers.set(j, () => {
    const now = off();
    for (const chip of host.children) chip.setAttribute("aria-pressed", String(!now.has(chip.code)));
  });
  rovingTabindex(host, () => [[...host.children]]);
  countChoices(j, host);
  refreshers.get(j)();
  return host;
}

/**
 * The part of a column's range that its histogram and handles show: few extreme values do not squeeze all others. At its ends a
 * handle means the whole range.
 */
function axisOf(j) {
  const { low, high, scale } = fields[j];
  return high - low > 3 * (scale[1] - scale[0]) && scale[0] < scale[1] ? scale : [low, high];
}

/** A histogram with two handles, the two ends as text fields, and whether samples without a value stay. */
function range(j) {
  const { name, low, high, whole, missing } = fields[j];
  const [first, last] = axisOf(j);
  const steps = whole && last - first <= STEPS ? Math.max(1, Math.ceil(last - first)) : STEPS;
  const at = (step) => (step <= 0 ? low : step >= steps ? high : first + ((last - first) * step) / steps);
  const share = (value) => Math.min(1, Math.max(0, (value - first) / (last - first || 1)));
  const rounded = (value) => (whole ? Math.round(value) : value);
  let keeps = null; // whether missing values stay; null: as long as the range is whole
  let waiting = 0;
  const now = () => filters.get(j) ?? { low, high, missing: true };
  const set = (ends) => {
    const next = { ...now(), ...ends };
    next.missing = keeps ?? (next.low <= low && next.high >= high);
    const nothing = next.low <= low && next.high >= high && (next.missing || !missing);
    filterBy(j, nothing ? null : next);
  };

  const handle = (end) => {
    const slider = h("input", {
      type: "range",
      min: "0",
      max: String(steps),
      step: "1",
      "aria-label": `${name}: ${end === "low" ? "from" : "to"}`,
    });
    slider.addEventListener("input", () => {
      // The two handles push each other rather than pass.
      if (Number(handles[0].value) > Number(handles[1].value)) (end === "low" ? handles[1] : handles[0]).value = slider.value;
      const ends = handles.map((each) => rounded(at(Number(each.value))));
      showEnds(ends);
      clearTimeout(waiting);
      waiting = setTimeout(set, PATIENCE, { low: ends[0], high: ends[1] });
    });
    return slider;
  };
  const handles = [handle("low"), handle("high")];

  const exact = ["low", "high"].map((end) => {
    const label = `${name}: ${end === "low" ? "from" : "to"}, exactly`;
    const field = h("input", { type: "text", class: "end", "aria-label": label });
    field.addEventListener("change", () => {
      const value = parsed(j, field.value);
      const ends = { low: now().low, high: now().high, [end]: value ?? { low, high }[end] };
      if (ends.low > ends.high) [ends.low, ends.high] = [ends.high, ends.low];
      set(ends);
      refreshers.get(j)();
    });
    return field;
  });

  const showEnds = (ends) =>
    ends.forEach((value, k) => {
      exact[k].value = readEnd(j, value);
      handles[k].setAttribute("aria-valuetext", readEnd(j, value));
      bars.style.setProperty(k ? "--to" : "--from", String(high > low ? share(value) : k));
    });
  const bars = h("div", { class: "range" }, histogram(j, axisOf(j)), h("div", { class: "handles" }, ...handles));
  const box = h("input", { type: "checkbox" });
  box.addEventListener("change", () => {
    keeps = box.checked;
    set({});
  });
  refreshers.set(j, () => {
    if (!filters.has(j)) keeps = null;
    const { low: from, high: to, missing: kept } = now();
    [from, to].forEach((value, k) => {
      handles[k].value = String(high > low ? Math.round(share(value) * steps) : k * steps);
    });
    showEnds([from, to]);
    box.checked = kept;
  });
  refreshers.get(j)();
  return h(
    "div",
    { class: "range-filter" },
    bars,
    h("div", { class: "ends" }, exact[0], "–", exact[1]),
    missing ? h("label", { class: "missing" }, box, ` missing (${grouped(missing)})`) : null,
  );
}

/** A number or date that a reader typed, in the column's unit; null if it is neither. */
function parsed(j, text) {
  const clean = text.trim().replace("−", "-").replace(/(\d),(?=\d{3}\b)/g, "$1");
  if (!clean) return null;
  // A date without a zone is meant as the page shows it, which is UTC.
  const zoned = /\d:\d/.test(clean) && !/(z|[+-]\d\d:?\d\d)$/i.test(clean) ? `${clean.replace(" ", "T")}Z` : clean;
  const value = fields[j].kind === "date" ? Date.parse(zoned) / fields[j].unit : Number(clean);
  return Number.isFinite(value) ? value : null;
}

/** The filters that are set: in the panel, and each as a token that removes it. */
function showFilters() {
  refreshers.forEach((refresh) => refresh());
  const tokens = [...filters.keys()].sort((a, b) => a - b).map(token);
  if (tokens.length > 1) tokens.push(h("button", { class: "small", onclick: clearAll }, "Clear filters"));
  $("tokens").replaceChildren(...tokens);
  $("tokens").hidden = !tokens.length;
  $("filter-count").textContent = filters.size ? String(filters.size) : "";
}

function token(j) {
  const text = describeFilter(j);
  const remove = () => {
    filterBy(j, null);
    ($("tokens").querySelector("button") ?? $("filters").querySelector("summary")).focus();
  };
  return h(
    "button",
    { class: "token", title: text, "aria-label": `Remove the filter ${text}`, onclick: remove },
    h("span", { class: "name" }, text),
    h("span", { "aria-hidden": "true" }, "✕"),
  );
}

function clearAll() {
  for (const j of [...filters.keys()]) filterBy(j, null);
  $("filters").querySelector("summary").focus();
}

/** The sample's values in all columns, in the reader's order; null without columns. @param {number} sample */
export function fieldList(sample) {
  const beside = columns.texts && hasPictures ? [["text", columns.texts[sample]]] : [];
  if (!fields.length && !beside.length) return null;
  const list = h("dl");
  const scroll = h("div", { class: "fields scroll", role: "group", "aria-label": "Columns" }, list);
  scroll.tabIndex = 0;
  const entries = fields.map(({ name, kind }, j) => [name, readValue(j, valueOf(j, sample)), kind]);
  for (const [name, value, kind] of [...beside, ...entries]) {
    const shown = kind === "number" || kind === "date" ? [value] : marked(value);
    list.append(
      h(
        "div",
        {},
        h("dt", { title: name }, name),
        h("dd", { title: value, dir: "auto" }, ...shown),
      ),
    );
  }
  return scroll;
}
