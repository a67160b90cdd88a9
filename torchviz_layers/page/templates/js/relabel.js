// Decisions about suspect labels: keep, change or unsure, by button or key, and their table as a file.

import { choose, meta, nameOf, on, pin, state, truth } from "./state.js";
import {
  SUSPECT,
  adverb,
  canUndo,
  counts,
  decidable,
  decide,
  decisions,
  decisionsText,
  doubted,
  readDecisions,
  suspicion,
  undo,
  withdraw,
} from "./decisions.js";
import { registerAnswer, showAnswers } from "./answers.js";
import { csv, save } from "./export.js";
import { currentCase, listed, showKind, step } from "./queue.js";
import { keep, keepControl, writeSoon } from "./link.js";
import { $, grouped, h, percent } from "./dom.js";

const KEYS = { k: "keep", c: "change", u: "unsure" };
const buttons = {};
const files = {}; // the buttons that save the decisions
let to, back;
/** Whether the list of classes is used by keys: its arrow keys choose each class on their way. */
let byKeys = false;

export function buildRelabel() {
  keepControl("suspicion", "least-suspicion", "input");
  on("suspicion", writeSoon);
  if (!decidable || !doubted.size || !$("queue-section")) return;
  registerAnswer({
    text: () => suspectAnswer()?.text ?? null,
    title: "Samples whose label all networks contradict, with neighbours that have the proposed label. Click to step through them.",
    act: () => suspectAnswer()?.act(),
    where: "queue-section",
  });
  on("suspicion", () => {
    showAnswers();
    // The selection that the card made follows the threshold that its title names.
    if (state.chosen.length && state.chosen === chosenByCard) chooseSuspects();
  });
  for (const [letter, decision] of Object.entries(KEYS)) {
    const name = `${decision[0].toUpperCase()}${decision.slice(1)}`;
    buttons[decision] = h(
      "button",
      {
        class: "small",
        title: `${name} (${letter.toUpperCase()}); pressed again, the decision is withdrawn`,
        onclick: once(() => decideHere(decision)),
        "aria-pressed": "false",
        "aria-keyshortcuts": letter.toUpperCase(),
      },
      `${name} `,
      h("kbd", {}, letter.toUpperCase()),
    );
  }
  to = h("select", {
    id: "new-label",
    "aria-label": "New label",
    onkeydown: () => (byKeys = true),
    onpointerdown: () => (byKeys = false),
    onchange: () => byKeys || decideHere("change"),
  });
  for (const [code, name] of meta.classes.entries()) to.append(h("option", { value: String(code) }, name));
  const progress = h("p", { id: "decided", class: "quiet", role: "status" });
  back = h(
    "button",
    { id: "undo", class: "small", onclick: once(takeBack), "aria-keyshortcuts": "Z Control+Z" },
    "Undo ",
    h("kbd", {}, "Z"),
  );
  const file = (name, write) => (files[name] = h("button", { class: "small", onclick: write }, name));
  const section = h(
    "div",
    { id: "relabel", role: "group", "aria-label": "Decision about the label" },
    h("div", { class: "row" }, buttons.keep, buttons.change, to, buttons.unsure),
    h(
      "div",
      { class: "row" },
      progress,
      back,
      h("span", { class: "spacer" }),
      h(
        "div",
        { class: "files" },
        h("span", { class: "quiet" }, "Save"),
        file("CSV", () => save("decisions.csv", "text/csv", csv(table()))),
        file("JSON", () =>
          save("decisions.json", "application/json", JSON.stringify(table().map(Object.fromEntries), null, 1)),
        ),
      ),
    ),
  );
  for (const [name, button] of Object.entries(files)) button.setAttribute("aria-label", `${name}: save the decisions`);
  // Enter that is held on a button clicks it again and again.
  section.addEventListener("keydown", (event) => event.repeat && event.target.closest("button") && event.preventDefault());
  $("queue-section").append(section);
  document.addEventListener("keydown", onKey);
  keep({ name: "decisions", write: () => decisionsText() || null, read: readDecisions });
  on("decision", writeSoon);
  for (const event of ["sample", "decision", "suspicion"]) on(event, show);
  $("kind").addEventListener("change", show);
  show();
}

/** The suspect that the buttons are for; null where another kind is stepped through. */
function here() {
  const item = currentCase();
  return item?.kind === SUSPECT ? item : null;
}

/** Each decision moves on to the next sample, so the second click of a double click would decide that one. */
const once = (act) => (event) => event.detail > 1 || act();

function onKey(event) {
  if (event.altKey || event.shiftKey || event.target.closest?.("input, select, textarea")) return;
  const letter = event.key.toLowerCase();
  const withControl = event.ctrlKey || event.metaKey;
  const undoes = letter === "z" && $("kind").value === SUSPECT && canUndo();
  const decision = withControl || !here() ? undefined : KEYS[letter];
  if (!undoes && !decision) return;
  event.preventDefault();
  // A held key repeats: it would decide the samples that follow.
  if (event.repeat) return;
  if (undoes) takeBack();
  else decideHere(decision);
}

/** Decide on the sample on the card and step on; what is decided already is withdrawn. */
function decideHere(decision) {
  const item = here();
  if (!item) return;
  const label = decision === "change" ? Number(to.value) : null;
  const made = decisions.get(item.sample);
  if (made?.decision === decision && made.label === label) return withdraw(item.sample);
  decide(item.sample, decision, label);
  step(1);
}

function takeBack() {
  const sample = undo();
  if (sample !== null) pin(sample);
}

let shownFor = null;

function show() {
  const item = here();
  $("relabel").hidden = $("kind").value !== SUSPECT;
  const made = item ? decisions.get(item.sample) : undefined;
  for (const [decision, button] of Object.entries(buttons)) {
    button.disabled = !item;
    button.setAttribute("aria-pressed", String(made?.decision === decision));
  }
  to.disabled = !item;
  if (item && (item.sample !== shownFor || made)) to.value = String(made?.label ?? item.proposed ?? truth(item.sample));
  shownFor = item?.sample ?? null;
  const items = listed(SUSPECT);
  const done = items.filter(({ sample }) => decisions.has(sample)).length;
  $("decided").textContent = `${grouped(done)} of ${grouped(items.length)} decided`;
  back.disabled = !canUndo();
  back.title = canUndo() ? "Take back the last decision (Z)" : "No decision since the page was opened";
  for (const [name, button] of Object.entries(files)) {
    button.disabled = !decisions.size;
    const what = `Save the decisions as ${name}, which Samples.relabelled reads`;
    button.title = decisions.size ? what : `Nothing is decided yet. ${what}`;
  }
}

/** One line a decision, in the order of the queue; decisions about other samples follow. @returns {[string, any][][]} */
function table() {
  const rank = new Map([...doubted.keys()].map((sample, k) => [sample, k]));
  const place = (sample) => rank.get(sample) ?? doubted.size + sample;
  const samples = [...decisions.keys()].sort((a, b) => place(a) - place(b));
  const name = (code) => (code === null || code === undefined ? null : meta.classes[code]);
  return samples.map((sample) => {
    const { decision, label } = decisions.get(sample);
    const item = doubted.get(sample);
    return Object.entries({
      id: nameOf(sample),
      row: sample,
      given: name(truth(sample)),
      proposed: name(item?.proposed),
      decision,
      "new label": name(label ?? truth(sample)),
      probability: item?.probability ?? null,
      score: item?.score ?? null,
      reason: item?.reason ?? null,
    });
  });
}

/** For a card of answers: how many labels are probably wrong, and what selects them; null if none is. @returns {{text: string, act: () => void} | null} */
/** The selection that the card made last. @type {number[]} */
let chosenByCard = [];

function chooseSuspects() {
  const suspects = [...doubted.values()].filter(counts).map(({ sample }) => sample);
  choose(suspects, `Label suspects, ≥ ${percent(suspicion.least, 0)}`, true);
  chosenByCard = state.chosen;
}

function suspectAnswer() {
  const suspects = [...doubted.values()].filter(counts);
  if (!suspects.length) return null;
  const one = suspects.length === 1;
  const text = `${grouped(suspects.length)} ${one ? "label is" : "labels are"} ${adverb(suspicion.least)} wrong (≥ ${percent(suspicion.least, 0)})`;
  return {
    text,
    act: () => {
      showKind(SUSPECT);
      chooseSuspects();
      if (state.pinned === null || !doubted.has(state.pinned)) step(1);
    },
  };
}
