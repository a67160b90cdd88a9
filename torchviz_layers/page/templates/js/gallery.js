// The chosen samples as pictures, least certain first; without a choice, those that a filter leaves, or else those
// that defeat every network, or else all.

import {
  choose,
  columns,
  isWrong,
  label,
  leastCertainFirst,
  meta,
  nameOf,
  on,
  pin,
  selected,
  state,
  visible,
} from "./state.js";
import { picture } from "./thumbnails.js";
import { $, grouped, h } from "./dom.js";

const PAGE = 240;
let limit = PAGE;
const suspects = new Set(meta.cases.filter(({ kind }) => kind === "label suspect").map(({ sample }) => sample));

export function buildGallery() {
  $("clear").addEventListener("click", () => choose([], ""));
  $("gallery").addEventListener("keydown", step);
  on("selection", () => {
    limit = PAGE;
    showGallery();
  });
  on("sample", showCurrent);
  showGallery();
}

/** What the gallery holds, in its order, and what it is called. @returns {{samples: number[], title: string}} */
export function gallery() {
  if (state.chosen.length) return { samples: selected(), title: state.chosenAs };
  const names = state.show === "all" ? ["both-wrong", "wrong-0", "differ"] : [state.show];
  for (const name of names) {
    const samples = Array.from(columns[`subset-${name}`] ?? []).filter((sample) => visible[sample]);
    if (samples.length || name === state.show)
      return { samples: leastCertainFirst(samples), title: meta.subsets.find((subset) => subset.name === name).label };
  }
  const samples = Array.from(visible.keys()).filter((sample) => visible[sample]);
  return { samples: leastCertainFirst(samples), title: "All samples" };
}

const ranked = meta.networks.some(({ classifies }) => classifies);

function showGallery() {
  const { samples, title } = gallery();
  $("gallery-title").textContent = title;
  $("gallery-title").title = title;
  const signs = samples.slice(0, limit).some((sample) => suspects.has(sample)) ? "?: label suspect" : "";
  const parts = [grouped(samples.length), ranked ? "least certain first" : "", signs];
  $("gallery-count").textContent = samples.length ? parts.filter(Boolean).join(" · ") : "";
  $("gallery-count").title = $("gallery-count").textContent;
  $("clear").hidden = !state.chosen.length;
  $("gallery").replaceChildren(...samples.slice(0, limit).map(tile));
  if (samples.length > limit) {
    const more = h(
      "button",
      { class: "more", onclick: () => ((limit += PAGE), showGallery()) },
      `${grouped(samples.length - limit)} more`,
    );
    $("gallery").append(more);
  }
  if (!samples.length) {
    const hidden = state.chosen.length ? "The filters hide all of the selection." : "The filters leave no sample.";
    $("gallery").append(h("p", { class: "hint" }, hidden));
  }
  showCurrent();
}

function tile(sample, place) {
  const suspect = suspects.has(sample);
  const wrong = meta.networks.filter((_, k) => isWrong(k, sample)).length;
  const text = `#${nameOf(sample)}${meta.classes.length ? ` ${meta.classes[label(sample)] ?? ""}` : ""}${suspect ? ", label suspect" : ""}`;
  const button = h(
    "button",
    {
      class: `tile wrong-${wrong}${suspect ? " suspect" : ""}`,
      title: text,
      "aria-label": text,
      tabIndex: place ? -1 : 0,
      onclick: () => pin(sample),
    },
    picture(sample),
  );
  button.dataset.sample = String(sample);
  return button;
}

function showCurrent() {
  for (const button of $("gallery").querySelectorAll(".tile")) {
    button.classList.toggle("current", Number(button.dataset.sample) === state.sample);
  }
}

/** Arrow keys walk through the tiles; the one with the focus is the sample shown. */
function step(event) {
  const tiles = [...$("gallery").querySelectorAll(".tile")];
  const at = tiles.indexOf(event.target.closest(".tile"));
  if (at < 0) return;
  const across = Math.max(
    1,
    tiles.findIndex((tile) => tile.offsetTop > tiles[0].offsetTop),
  );
  const move = {
    ArrowLeft: -1,
    ArrowRight: 1,
    ArrowUp: -across,
    ArrowDown: across,
    Home: -at,
    End: tiles.length - 1 - at,
  }[event.key];
  if (move === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  const next = tiles[Math.min(tiles.length - 1, Math.max(0, at + move))];
  tiles[at].tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
  pin(Number(next.dataset.sample));
}
