// Decisions about suspect labels: keep, change or unsure, by button or key, and their table as a file.

import { choose, meta, nameOf, on, state, truth } from "./state.js";
import { SUSPECT, counts, decidable, decide, decisions, decisionsText, doubted, readDecisions, suspicion } from "./decisions.js";
import { registerAnswer, showAnswers } from "./answers.js";
import { csv, save } from "./export.js";
import { currentCase, listed, showKind, step } from "./queue.js";
import { keep, keepControl, writeSoon } from "./link.js";
import { $, grouped, h, percent } from "./dom.js";

const KEYS = { k: "keep", c: "change", u: "unsure" };
const buttons = {};
let to;

export function buildRelabel() {
  keepControl("suspicion", "least-suspicion", "input");
  on("suspicion", writeSoon);
  if (!decidable || !doubted.size || !$("queue-section")) return;
  registerAnswer({
    text: () => suspectAnswer()?.text ?? null,
    title: "Samples whose label all networks contradict, with neighbours that have the proposed label. Click to step through them.",
    act: () => suspectAnswer()?.act(),
  });
  on("suspicion", showAnswers);
  for (const [letter, decision] of Object.entries(KEYS)) {
    const name = `${decision[0].toUpperCase()}${decision.slice(1)}`;
    buttons[decision] = h(
      "button",
      { class: "small", title: `${name} (${letter.toUpperCase()})`, onclick: () => decideHere(decision), "aria-pressed": "false" },
      name,
    );
  }
  to = h("select", { id: "new-label", "aria-label": "New label", onchange: () => decideHere("change") });
  for (const [code, name] of meta.classes.entries()) to.append(h("option", { value: String(code) }, name));
  const progress = h("p", { id: "decided", class: "quiet", role: "status" });
  const file = (name, title, write) => h("button", { class: "small", title, onclick: write }, name);
  const section = h(
    "div",
    { id: "relabel", role: "group", "aria-label": "Decision about the label" },
    h("div", { class: "row" }, buttons.keep, buttons.change, to, buttons.unsure),
    h(
      "div",
      { class: "row" },
      progress,
      h("span", { class: "spacer" }),
      h("span", { class: "quiet" }, "Decisions"),
      file("CSV", "Save the decisions as CSV, which Samples.relabelled reads", () =>
        save("decisions.csv", "text/csv", csv(table())),
      ),
      file("JSON", "Save the decisions as JSON, which Samples.relabelled reads", () =>
        save("decisions.json", "application/json", JSON.stringify(table().map(Object.fromEntries), null, 1)),
      ),
    ),
  );
  section.querySelectorAll(".row")[1].querySelectorAll("button").forEach((button) =>
    button.setAttribute("aria-label", `${button.textContent}: save the decisions`),
  );
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

function onKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest?.("input, select, textarea")) return;
  const decision = KEYS[event.key.toLowerCase()];
  if (!decision || !here()) return;
  event.preventDefault();
  decideHere(decision);
}

function decideHere(decision) {
  const item = here();
  if (!item) return;
  decide(item.sample, decision, decision === "change" ? Number(to.value) : null);
  step(1);
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
function suspectAnswer() {
  const suspects = [...doubted.values()].filter(counts);
  if (!suspects.length) return null;
  const one = suspects.length === 1;
  const text = `${grouped(suspects.length)} ${one ? "label is" : "labels are"} probably wrong (≥ ${percent(suspicion.least, 0)})`;
  return {
    text,
    act: () => {
      showKind(SUSPECT);
      choose(
        suspects.map(({ sample }) => sample),
        `Label suspects, ≥ ${percent(suspicion.least, 0)}`,
        true,
      );
      if (state.pinned === null || !doubted.has(state.pinned)) step(1);
    },
  };
}
