// The stage shows one layer large; the theatre moves its points from layer to layer of a network.

import { meta, on, stage, state } from "./state.js";
import { many } from "./pair.js";
import { coordinates } from "./maps.js";
import { namesOf } from "./place_names.js";
import { fitStage } from "./ranges.js";
import { fitAll, moveStage } from "./scatter.js";
import { $, h } from "./dom.js";

const SECONDS_A_STEP = 1.1;
const PAUSE = 0.35;
let network = 0;
let playing = 0;
/** Set while the theatre changes the stage's layer: its points are there already. */
let arriving = false;
/** Position of the points in the journey: an integer at a layer, a fraction between two of them. */
let at = 0;

const journey = () => meta.networks[network].journey;

export function buildTheatre() {
  meta.panels.forEach((panel, k) => {
    // The layer first: where the end is cut off, it is the network's, which the strips name, too.
    const owner = panel.network === null ? "" : ` · ${meta.networks[panel.network].name}`;
    $("stage-layer").append(h("option", { value: String(k) }, `${panel.layer}${owner}`));
    $(`open-${k}`)?.addEventListener("click", () => stage(k));
  });
  $("stage-layer").addEventListener("change", () => stage(Number($("stage-layer").value)));
  // Of many networks, one button plays the one whose layer is enlarged.
  if (many) $("play").append(playButton(network));
  else meta.networks.forEach((_, k) => $("play").append(playButton(k)));
  $("progress").addEventListener("input", () => {
    stop();
    move(Number($("progress").value));
    arrive();
  });
  $("fit").addEventListener("click", fitAll);
  on("stage", showStage);
  showStage();
  new ResizeObserver(fitStage).observe($("figure-stage"));
}

function playButton(k) {
  const { name } = meta.networks[k];
  const button = h(
    "button",
    {
      class: `play net-${k}`,
      title: `Move the points through the layers of ${name}`,
      onclick: () => play(k),
      "aria-label": `Play the layers of ${name}`,
    },
    h("span", { class: "sign", "aria-hidden": "true" }, "▶"),
    h("span", { class: "name" }, name),
  );
  button.dataset.network = String(k);
  return button;
}

/** Bring the stage to the chosen layer. */
function showStage() {
  const { network: owner } = meta.panels[state.stage];
  if (owner !== null) network = owner;
  if (many && $("play").firstElementChild.dataset.network !== String(network))
    $("play").replaceChildren(playButton(network));
  $("stage-layer").value = String(state.stage);
  $("progress").max = String(journey().length - 1);
  if (!arriving) {
    stop();
    move(journey().indexOf(state.stage));
  }
  meta.panels.forEach((_, k) => $(`panel-${k}`).classList.toggle("current", k === state.stage));
  scrollTo($(`panel-${state.stage}`));
  showCaption();
}

/** Scroll the strips, and not the page, to a panel that is out of their view. */
function scrollTo(panel) {
  const reel = panel.closest(".reel");
  if (!reel) return;
  const [inner, outer] = [(panel.closest(".lane") ?? panel).getBoundingClientRect(), reel.getBoundingClientRect()];
  if (inner.top < outer.top) reel.scrollTop += inner.top - outer.top;
  else if (inner.bottom > outer.bottom) reel.scrollTop += inner.bottom - outer.bottom;
  const box = panel.getBoundingClientRect();
  if (box.left < outer.left) reel.scrollLeft += box.left - outer.left;
  else if (box.right > outer.right) reel.scrollLeft += box.right - outer.right;
}

function showCaption() {
  const { kind, shape, missing } = meta.panels[state.stage];
  const parts = [missing ? `${missing} not embedded` : "", kind, shape && !kind ? `shape ${shape}` : shape];
  $("stage-caption").textContent = parts.filter(Boolean).join(" · ");
  $("stage-caption").title = $("stage-caption").textContent;
}

/** Put the points between one layer and the next. */
function move(position) {
  at = position;
  const from = journey()[Math.floor(position)];
  const to = journey()[Math.min(journey().length - 1, Math.floor(position) + 1)];
  const part = smooth(position - Math.floor(position));
  const between = (a, b) => (part === 0 ? a : a.map((value, k) => value + (b[k] - value) * part));
  const [[x0, y0], [x1, y1]] = [coordinates(from), coordinates(to)];
  const [a, b] = [meta.panels[from], meta.panels[to]];
  const [start, end] = [namesOf(from), namesOf(to)];
  const names = { text: start.text, x: between(start.x, end.x), y: between(start.y, end.y) };
  moveStage(between(x0, x1), between(y0, y1), between(a.x, b.x), between(a.y, b.y), names);
  $("progress").value = String(position);
  $("progress").setAttribute("aria-valuetext", a.layer);
}

const smooth = (t) => t * t * (3 - 2 * t);

/** Make the layer that the points are nearest to the stage's layer. */
function arrive() {
  const nearest = journey()[Math.round(at)];
  if (nearest === state.stage) return;
  arriving = true;
  stage(nearest);
  arriving = false;
}

function play(k) {
  const again = playing && network === k;
  stop();
  if (again) return;
  network = k;
  $("progress").max = String(journey().length - 1);
  // A reader who prefers no movement sees one layer after the other.
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let started = 0;
  const frame = (now) => {
    started ||= now; // a frame's time may be before the click that requested it
    const seconds = (now - started) / 1000;
    const step = Math.floor(seconds / (SECONDS_A_STEP + PAUSE));
    const part = still ? 0 : Math.min(1, (seconds - step * (SECONDS_A_STEP + PAUSE)) / SECONDS_A_STEP);
    const position = Math.min(journey().length - 1, step + part);
    if (position !== at) move(position);
    arrive();
    if (position === journey().length - 1) return stop();
    playing = requestAnimationFrame(frame);
  };
  playing = requestAnimationFrame(frame);
  showPlaying();
}

function stop() {
  cancelAnimationFrame(playing);
  playing = 0;
  showPlaying();
}

function showPlaying() {
  for (const button of $("play").children) {
    const active = playing !== 0 && Number(button.dataset.network) === network;
    button.setAttribute("aria-pressed", String(active));
    button.querySelector(".sign").textContent = active ? "■" : "▶";
  }
}
