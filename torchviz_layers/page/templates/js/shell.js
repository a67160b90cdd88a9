// The shell around the live page: it sends settings to the server and receives pages, marks and neighbours.
// All of it passes through one Bokeh model, the channel, whose properties contain JSON.

import { $, grouped, h } from "./dom.js";

/** @type {any} */
let channel;
let requests = 0;
/** The iframe of the page that is shown, or is loading. @type {any} */
let frame = null;
let ready = false;
/** Rows in the store of the samples that are selected on the page. @type {number[]} */
let selection = [];
/** @type {{trail: {label: string}[], at: number, least: number}} */
let view = { trail: [], at: 0, least: 1 };
let busy = true;
let lost = false;

/** @param {{channel: any}} args what the server passes when the document is ready */
export function connect(args) {
  ({ channel } = args);
  document.documentElement.dataset.connected = "true";
  const follow = (name, show) => {
    channel.properties[name].change.connect(show);
    if (channel[name]) show();
  };
  follow("settings", showSettings);
  follow("page", showPage);
  follow("view", showView);
  follow("status", showStatus);
  follow("marks", sendMarks);
  follow("near", () => send({ kind: "neighbors", ...JSON.parse(channel.near) }));
  channel.document.on_event("connection_lost", () => {
    lost = true;
    say("The connection to the server is lost: restart the server if it has ended, then reload this page.", true);
    showControls();
  });
  channel.document.on_event("client_reconnected", () => {
    lost = false;
    showStatus();
  });
  $("settings").addEventListener("submit", (event) => {
    event.preventDefault();
    ask({ do: "embed", of: "shown", ...settings() });
  });
  $("lasso").addEventListener("click", () => {
    if ($("settings").reportValidity()) ask({ do: "embed", of: "rows", rows: selection, ...settings() });
  });
  $("stop").addEventListener("click", () => ask({ do: "stop" }));
  $("reducer").addEventListener("change", showOptions);
  $("layers").addEventListener("change", showLayers);
  $("every-layer").addEventListener("click", () => checkLayers(() => true));
  $("no-layer").addEventListener("click", () => checkLayers(() => false));
  addEventListener("message", receive);
  addEventListener("click", (event) => {
    if (!$("layers").contains(event.target)) $("layers").open = false;
  });
  addEventListener("blur", () => ($("layers").open = false)); // a click on the page below
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !$("layers").open) return;
    $("layers").open = false;
    $("layers").querySelector("summary").focus();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", ({ matches }) => {
    document.documentElement.dataset.theme = matches ? "dark" : "light";
  });
  ask({ do: "begin" });
}

function ask(what) {
  channel.ask = JSON.stringify({ n: ++requests, ...what });
}

// Settings

const boxes = () => [.../** @type {any} */ (document.getElementsByName("layer"))];

function settings() {
  const options = {};
  for (const label of optionsOf($("reducer").value)) {
    const { name, value, type } = label.querySelector("[name]");
    options[name] = type === "number" ? Number(value) : value;
  }
  const layers = boxes()
    .filter((box) => box.checked)
    .map((box) => box.value);
  return { layers, reducer: $("reducer").value, options };
}

/** @returns {any[]} labels of the parameters that a reducer takes */
const optionsOf = (reducer) =>
  [.../** @type {any} */ (document.querySelectorAll("[data-for]"))].filter((label) =>
    label.dataset.for.split(" ").includes(reducer),
  );

/** Show the settings that the page was made with. */
function showSettings() {
  const { layers, reducer, options } = JSON.parse(channel.settings);
  $("reducer").value = reducer;
  checkLayers((name) => layers.includes(name));
  showOptions();
  for (const label of optionsOf(reducer)) {
    const field = label.querySelector("[name]");
    if (options[field.name] !== undefined) field.value = options[field.name];
  }
}

function checkLayers(chosen) {
  for (const box of boxes()) box.checked = chosen(box.value);
  showLayers();
}

function showLayers() {
  const all = boxes();
  $("layer-count").textContent = `${all.filter((box) => box.checked).length} of ${all.length}`;
}

function showOptions() {
  const taken = optionsOf($("reducer").value);
  for (const label of document.querySelectorAll("[data-for]")) {
    const used = taken.includes(label);
    /** @type {any} */ (label).hidden = !used;
    /** @type {any} */ (label.querySelector("[name]")).disabled = !used;
  }
}

// The page in its iframe

/** Load the new page behind the old one; its message `ready` brings it to the front. */
function showPage() {
  selection = [];
  ready = false;
  if (frame?.classList.contains("coming")) frame.remove();
  const source = URL.createObjectURL(new Blob([channel.page], { type: "text/html" }));
  frame = h("iframe", { class: "coming", title: "The samples, layer by layer" });
  frame.src = source;
  frame.addEventListener("load", () => URL.revokeObjectURL(source), { once: true });
  $("frames").append(frame);
  showControls();
}

function reveal() {
  ready = true;
  for (const old of [...$("frames").children]) if (old !== frame) old.remove(); // the previous page, or the text that there is none yet
  frame.classList.remove("coming");
  sendMarks();
  showControls();
}

function receive(event) {
  if (event.source !== frame?.contentWindow || event.origin !== origin) return;
  const message = event.data;
  if (message.kind === "ready") reveal();
  if (message.kind === "ask") ask(message.ask);
  if (message.kind === "theme") document.documentElement.dataset.theme = message.theme;
  if (message.kind !== "selection") return;
  selection = message.rows;
  showControls();
}

function send(message) {
  if (ready) frame.contentWindow.postMessage(message, origin);
}

const sendMarks = () => channel.marks && send({ kind: "marks", marks: JSON.parse(channel.marks) });

// The trail of views, and the status

function showView() {
  view = JSON.parse(channel.view);
  $("trail").replaceChildren();
  view.trail.forEach(({ label }, at) => {
    if (at) $("trail").append(h("span", { class: "then", "aria-hidden": "true" }, "›"));
    const current = at === view.at;
    $("trail").append(
      h(
        "button",
        { type: "button", "aria-current": String(current), onclick: () => current || ask({ do: "show", at }) },
        label,
      ),
    );
  });
  showControls();
}

function showStatus() {
  const status = JSON.parse(channel.status);
  busy = status.busy;
  say(status.error ?? status.text, status.error !== null);
  $("share").hidden = !busy;
  if (status.share === null) $("share").removeAttribute("value");
  else $("share").value = status.share;
  document.documentElement.dataset.busy = String(busy);
  showControls();
}

function say(text, isError) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

function showControls() {
  const { length } = selection;
  $("stop").hidden = !busy || lost;
  $("again").disabled = busy || lost;
  $("lasso").disabled = busy || lost || length < view.least;
  $("lasso").textContent = length ? `Embed the ${grouped(length)} selected` : "Embed the selection";
  for (const button of $("trail").querySelectorAll("button")) button.disabled = busy || lost;
}
