// The card of the sample under the pointer, or of the pinned one: its picture, true class, and predictions.

import {
  columns,
  confidence,
  filter,
  isWrong,
  meta,
  nameOf,
  on,
  prediction,
  state,
  task,
  truth,
  unhide,
  visible,
} from "./state.js";
import { counts } from "./decisions.js";
import { fieldList } from "./columns.js";
import { many } from "./pair.js";
import { onCard, wide } from "./views.js";
import { $, h, percent, shortened } from "./dom.js";

export function buildCard() {
  on("sample", showCard);
  on("suspicion", showCard);
  on("filter", showCard);
  showCard();
}

export const casesOf = (sample) => meta.cases.filter((item) => item.sample === sample && counts(item));

function showCard() {
  const { sample } = state;
  $("card").classList.toggle("pinned", sample !== null && sample === state.pinned);
  if (sample === null) {
    $("card").replaceChildren(
      h("p", { class: "hint" }, "Point at a sample to see it in every layer; click to keep it. Drag to select."),
    );
    return;
  }
  const facts = h("div", { class: many ? "facts close" : "facts" });
  facts.append(h("p", { class: "who" }, h("b", {}, `#${nameOf(sample)}`), trueClass(sample)));
  if (!visible[sample]) facts.append(filteredOut(sample));
  meta.networks.forEach((network, k) => {
    const line = task.predicted ? task.predicted(network, k, sample) : network.classifies && predicted(network, k, sample);
    if (line) facts.append(line);
  });
  const kinds = h("p", { class: "kinds" }, ...marks(sample));
  const portrait = h("div", { class: "portrait" }, onCard(sample));
  const parts = [...(wide ? [facts, kinds, portrait] : [portrait, facts, kinds]), fieldList(sample)];
  $("card").replaceChildren(...parts.filter((part) => part !== null));
}

/** Says why a sample has no ring on the maps, and brings it back. */
function filteredOut(sample) {
  const show = () => {
    if (unhide([sample])) filter({ cleared: true });
  };
  const title = "Remove the filters that hide this sample";
  return h("p", { class: "filtered-out" }, "hidden by the filters ", h("button", { class: "small", title, onclick: show }, "Show"));
}

function trueClass(sample) {
  if (task.truth) return task.truth(sample);
  if (!columns.target) return null;
  const code = truth(sample);
  return code === null ? h("span", { class: "unlabelled" }, " has no label") : h("span", {}, " is a ", className(code));
}

export function className(code) {
  const name = h(
    "span",
    { class: "class", title: meta.classes[code] },
    h("i", { class: "dot" }),
    inParts(meta.classes[code], ""),
  );
  name.style.setProperty("--c", meta.colors[code]);
  return name;
}

/** A name that is cut in its middle where there is no room. @param {string} name @param {string} title */
function inParts(name, title) {
  const parts = shortened(name);
  return h("span", { class: parts.length > 1 ? "name parts" : "name parts whole", title }, ...parts);
}

function marks(sample) {
  const kinds = [...new Set(casesOf(sample).map((item) => item.kind))];
  return kinds.map((kind) => h("span", { class: "mark", title: kind }, kind));
}

/** One network's prediction: its three most probable classes as bars, and from which layer on its neighbours are right. */
function predicted(network, k, sample) {
  const wrong = isWrong(k, sample);
  const line = h("div", { class: `prediction${wrong ? " wrong" : ""}${many ? " brief" : ""}` });
  line.append(
    h(
      "p",
      { class: "says" },
      inParts(`${network.name}:`, network.name),
      className(prediction(k, sample)),
      h("span", {}, percent(confidence(k, sample), 0)),
      wrong ? h("b", { class: "verdict", title: "wrong" }, "✕") : null,
    ),
  );
  if (many) return line; // one line a network: there may be twelve
  const top = columns[`top-${k}`];
  const width = top.shape[1];
  const bars = h("div", { class: "bars", "aria-hidden": "true" });
  for (let rank = 0; rank < width; rank++) {
    const part = columns[`share-${k}`][sample * width + rank] / 65535;
    const bar = h("i");
    bar.style.cssText = `width:${(100 * part).toFixed(2)}%;background:${meta.colors[top[sample * width + rank]]}`;
    bars.append(bar);
  }
  line.append(bars);
  const depths = columns[`settle-${k}`];
  if (depths && depths[sample] <= network.journey.length) line.append(rightFrom(network.journey[depths[sample]]));
  return line;
}

/** The layer from which the neighbours' vote stays the true class or, without targets, the network's prediction. */
function rightFrom(panel) {
  // They may have been right in between, but are not in the last layer.
  if (panel === undefined)
    return h("p", { class: "right-from" }, columns.target ? "neighbours not right at the end" : "neighbours disagree at the end");
  const { layer } = meta.panels[panel];
  const text = `neighbours ${columns.target ? "right" : "agree"} from `;
  return h("p", { class: "right-from layered", title: `${text}${layer} on` }, h("span", {}, text), ...shortened(layer));
}

/** The card as sentences, for screen readers. */
export function spoken(sample) {
  if (task.spoken) return `Sample ${nameOf(sample)}, ${task.tag ? task.tag(sample) : ""}. ${task.spoken(sample)}`;
  const code = truth(sample);
  const known = code === null ? (columns.target ? ", without a label" : "") : `, a ${meta.classes[code]}`;
  const predictions = meta.networks
    .map((network, k) =>
      network.classifies
        ? `${network.name} predicts ${meta.classes[prediction(k, sample)]}, ${percent(confidence(k, sample), 0)}${isWrong(k, sample) ? ", wrong" : ""}`
        : "",
    )
    .filter(Boolean);
  return `Sample ${nameOf(sample)}${known}. ${predictions.join(". ")}`;
}
