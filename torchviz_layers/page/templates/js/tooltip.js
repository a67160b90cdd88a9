// The tooltip at the pointer: a sample's picture, its true class, and what each network predicts.

import { columns, confidence, isWrong, meta, nameOf, prediction, task, truth } from "./state.js";
import { onCard, onThumb } from "./views.js";
import { hasPictures, picture } from "./thumbnails.js";
import { h, percent } from "./dom.js";

const MOST_LETTERS = 160;
const MOST_NETWORKS = 4; // of many networks, those that are wrong come first
const AWAY = 14; // pixels between the pointer and the tooltip
const EDGE = 6; // pixels between the tooltip and the window's edge

const tip = h("div", { class: "map-tip", "aria-hidden": "true" });
tip.hidden = true;
document.body.append(tip);
/** @type {number | null} */
let shown = null;
let [width, height] = [0, 0];

/** Show a sample beside the pointer; null hides it. @param {number | null} sample @param {PointerEvent | MouseEvent} event */
export function pointAt(sample, event) {
  const touched = /** @type {any} */ (event).pointerType === "touch"; // a finger would cover it
  if (sample === null || touched) return hideTip();
  if (sample !== shown) {
    tip.replaceChildren(...contentOf(sample));
    tip.hidden = false;
    shown = sample;
    [width, height] = [tip.offsetWidth, tip.offsetHeight];
  }
  // On the other side of the pointer where there is no room.
  const beyond = event.clientX + AWAY + width + EDGE > innerWidth;
  const x = beyond ? event.clientX - AWAY - width : event.clientX + AWAY;
  const y = Math.min(event.clientY + AWAY, innerHeight - height - EDGE);
  tip.style.transform = `translate(${Math.round(Math.max(EDGE, x))}px, ${Math.round(Math.max(EDGE, y))}px)`;
}

export function hideTip() {
  shown = null;
  tip.hidden = true;
}

function contentOf(sample) {
  const lines = h("div", { class: "facts" }, h("p", {}, h("b", {}, `#${nameOf(sample)}`), truthOf(sample)));
  const told = meta.networks.map((network, k) => ({ wrong: isWrong(k, sample), line: () => lineOf(network, k, sample) }));
  const many = told.length > MOST_NETWORKS;
  const order = many ? [...told].sort((a, b) => Number(b.wrong) - Number(a.wrong)) : told;
  for (const { line } of order.slice(0, MOST_NETWORKS)) {
    const made = line();
    if (made) lines.append(made);
  }
  if (many) {
    const wrong = told.filter((each) => each.wrong).length;
    lines.append(h("p", { class: "quiet" }, `${wrong} of ${told.length} networks wrong`));
  }
  const looks = sightOf(sample);
  return looks ? [looks, lines] : [lines];
}

/** Its picture, the beginning of its text, or its values as a small drawing; null where only its id is known. */
function sightOf(sample) {
  if (columns.texts) {
    const text = columns.texts[sample];
    return h("p", { class: "text", dir: "auto" }, text.length > MOST_LETTERS ? `${text.slice(0, MOST_LETTERS - 1)}…` : text);
  }
  if (hasPictures) return picture(sample);
  return onThumb(sample) ?? (columns.rows || columns.series ? onCard(sample) : null);
}

function className(code) {
  const dot = h("i", { class: "dot" });
  dot.style.background = meta.colors[code];
  return h("span", { class: "class" }, dot, meta.classes[code]);
}

function truthOf(sample) {
  if (task.truth) return task.truth(sample);
  if (!columns.target) return null;
  const code = truth(sample);
  return h("span", {}, code === null ? " no label" : " is ", code === null ? null : className(code));
}

function lineOf(network, k, sample) {
  if (task.predicted) return task.predicted(network, k, sample);
  if (!network.classifies) return null;
  const wrong = isWrong(k, sample);
  return h(
    "p",
    { class: wrong ? "wrong" : "" },
    h("span", { class: "name" }, `${network.name}: `),
    className(prediction(k, sample)),
    ` ${percent(confidence(k, sample), 0)}`,
    wrong ? h("b", {}, " ✕") : null,
  );
}
