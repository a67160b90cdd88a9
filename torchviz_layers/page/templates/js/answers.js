// The answer cards under the headline: one line each; a click shows what the line says.

import { choose, colorBy, meta, on, stage, state } from "./state.js";
import { isNarrow } from "./touch.js";
import { explain } from "./why.js";
import { $, h } from "./dom.js";

/** @typedef {{text: () => string | null, title: string, act: () => void, where: string}} Card `where`: the element that shows what it says */

/** Cards of other modules, behind those of the page. @type {Card[]} */
const further = [];

/**
 * Add a card. Its text is asked for whenever cards are listed; null hides it.
 * @param {Card} card
 */
export function registerAnswer(card) {
  further.push(card);
  if ($("answers")) showAnswers();
}

export function buildAnswers() {
  on("task", showAnswers);
  showAnswers();
}

/** List the cards again, after the text of one has changed. */
export function showAnswers() {
  // A label that the reader chooses is a question of its own; the cards answer that of all.
  const own = meta.answers.map(({ text, title, ...what }) => button(text, title, () => show(what), "stage-section"));
  const others = further.map((card) => ({ ...card, text: card.text() }));
  const theirs = others.filter(({ text }) => text !== null).map(({ text, title, act, where }) => button(text, title, act, where));
  const cards = [...own, ...theirs];
  $("answers").replaceChildren(...cards.map((card) => h("li", {}, card)));
  $("answers").hidden = $("answer-row").hidden = !cards.length;
  $("toolbar").classList.toggle("answered", cards.length > 0);
}

function button(text, title, act, where) {
  // On a phone what a card shows is below the fold.
  const onclick = () => {
    act();
    if (isNarrow()) $(state.why ? "gallery-section" : where)?.scrollIntoView({ block: "start" });
  };
  return h("button", { class: "answer", title: `${text}. ${title}`, onclick }, h("span", {}, text));
}

function show({ stage: panel, why }) {
  if (panel !== state.stage) stage(panel);
  if (why) return explain(why.network, why.given, why.predicted);
  const color = $("color")?.options[0]?.value;
  if (color !== undefined && color !== state.color) {
    $("color").value = color;
    colorBy(color);
  }
  choose([], "");
}
