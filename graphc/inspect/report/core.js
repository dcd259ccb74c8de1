"use strict";
// Unpacks the data, keeps what is chosen, and shows one tab at a time.

const $ = (selector, inside = document) => inside.querySelector(selector);
const escapes = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"};
const escaped = (text) => String(text).replace(/[&<>"]/g, (c) => escapes[c]);

// HTML from a template whose values are escaped, except where they are HTML already.
class Markup { constructor(text) { this.text = text; } }
const asText = (value) => value instanceof Markup ? value.text
  : Array.isArray(value) ? value.map(asText).join("") : escaped(value ?? "");
const html = (strings, ...values) =>
  new Markup(strings.reduce((text, part, k) => text + asText(values[k - 1]) + part));

function element(markup) {
  const holder = document.createElement("template");
  holder.innerHTML = markup.text.trim();
  return holder.content.firstElementChild;
}

const scaled = (number, unit = "") => {
  let power = 0;
  while (Math.abs(number) >= 999.5 && power < 5) { number /= 1000; power += 1; }
  return `${Number(number.toPrecision(3))} ${["", "k", "M", "G", "T", "P"][power]}${unit}`.trim();
};
const seconds = (s) => s >= 1 ? `${s.toFixed(2)} s`
  : s >= 1e-3 ? `${(s * 1e3).toPrecision(3)} ms` : `${(s * 1e6).toPrecision(3)} \u00b5s`;
const percent = (share) => `${Math.round(share * 100)} %`;

const state = {tab: "passes", run: 0, pass: null, kernel: 0, form: null, query: ""};
const tabs = {};  // name -> {title, shows(run), draw(view, run), search(query)}
let data = null;
let found = null;  // what the open tab does with a search

const matches = (...texts) =>
  !state.query || texts.some((t) => String(t ?? "").toLowerCase().includes(state.query));

function tip(event, text) {
  const box = $("#tip");
  box.hidden = !text;
  if (!text) return;
  box.textContent = text;
  const {width, height} = box.getBoundingClientRect();
  box.style.left = `${Math.min(event.clientX + 14, innerWidth - width - 6)}px`;
  box.style.top = `${Math.min(event.clientY + 14, innerHeight - height - 6)}px`;
}

function show(name = state.tab, changes = {}) {
  Object.assign(state, changes, {tab: name});
  const run = data.runs[state.run];
  const shown = Object.entries(tabs).filter(([, tab]) => tab.shows(run));
  if (!shown.some(([key]) => key === state.tab)) state.tab = shown[0][0];
  $("#tabs").replaceChildren(...shown.map(([key, tab]) => {
    const button = element(html`<button role="tab">${tab.title}</button>`);
    button.setAttribute("aria-selected", key === state.tab);
    button.onclick = () => show(key);
    return button;
  }));
  const view = $("#view");
  view.replaceChildren();
  tip(null, "");
  found = tabs[state.tab].draw(view, run);
  search();
  history.replaceState(null, "", `#${state.tab}`);
}

function search(next = false) {
  document.body.classList.toggle("searching", Boolean(state.query));
  const count = found ? found(next) : 0;
  $("#found").textContent = state.query ? `${count} found` : "";
}

function themed(theme) {
  document.documentElement.dataset.theme = theme;
}

async function unpacked() {
  const bytes = Uint8Array.from(atob($("#data").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

async function begin() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  themed(dark.matches ? "dark" : "light");
  dark.onchange = () => themed(dark.matches ? "dark" : "light");
  $("#theme").onclick = () =>
    themed(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  data = await unpacked();
  $("#facts").textContent = Object.entries(data.facts).map(([k, v]) => `${k}: ${v}`).join("  \u00b7  ");
  const runs = $("#run");
  runs.replaceChildren(...data.runs.map((run, k) => new Option(`${k + 1}: ${run.name}`, k)));
  runs.hidden = data.runs.length < 2;
  runs.onchange = () => show(state.tab, {run: Number(runs.value), pass: null, kernel: 0});
  $("#search").oninput = (event) => {
    state.query = event.target.value.trim().toLowerCase();
    search();
  };
  $("#search").onkeydown = (event) => { if (event.key === "Enter") search(true); };
  document.onkeydown = (event) => {
    if (event.key !== "/" || event.target === $("#search")) return;
    event.preventDefault();
    $("#search").focus();
  };
  // "#kernels&theme=dark&search=conv" opens a tab so: for links into a report.
  const wanted = new URLSearchParams(`tab=${location.hash.slice(1)}`);
  if (wanted.get("theme")) themed(wanted.get("theme"));
  state.query = (wanted.get("search") ?? "").toLowerCase();
  $("#search").value = state.query;
  const chosen = ["pass", "kernel"].filter((key) => wanted.has(key));
  for (const key of chosen) state[key] = Number(wanted.get(key));
  show(wanted.get("tab") in tabs ? wanted.get("tab") : "passes");
}

addEventListener("DOMContentLoaded", () => begin().catch((error) => {
  $("#view").replaceChildren(element(html`<p class="empty">This page cannot be shown: ${error}</p>`));
}));
