"use strict";
// Every text of a model reaches the page through textContent; nothing here builds markup from data.
const PAGE = 100, LONG = 20000;
const $ = (name) => document.getElementById(name);
const parse = (name) => JSON.parse($(name).textContent);
const run = parse("run"), index = parse("index");
// Decisions are kept by the browser, for as long as the run's own edits.jsonl stays the same.
const store = "drp-inspect:" + run.key, base = JSON.stringify(run.edits);
let saved = null;
try { saved = JSON.parse(localStorage.getItem(store)); } catch { /* no storage: until the page is closed */ }
const decisions = new Map((saved && saved.base === base ? saved.edits : run.edits).map((edit) => [edit.id, edit]));
let order = [], page = 0, current = 0;

// Characters that change the direction of text are shown by their number instead.
const TURNS = /([\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069])/;
const number = (turn) => "U+" + turn.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");

function make(tag, css, text, parent) {
  const node = document.createElement(tag);
  if (css) node.className = css;
  if (text !== undefined && text !== null) {
    node.textContent = text.split(TURNS).map((piece) => (TURNS.test(piece) ? number(piece) : piece)).join("");
  }
  if (parent) parent.append(node);
  return node;
}

function prose(text, parent) {
  const node = make("div", "text", null, parent);
  node.dir = "auto";
  const full = text || "";
  const fill = (part) => {
    node.replaceChildren();
    for (const piece of part.split(TURNS)) {
      if (TURNS.test(piece)) make("span", "mark", number(piece), node);
      else node.append(piece);
    }
  };
  fill(full.slice(0, LONG));
  if (full.length > LONG) {
    const more = make("button", "", `show all ${full.length.toLocaleString()} characters`, parent);
    more.onclick = () => { fill(full); more.remove(); };
  }
  return node;
}

function arrange() {
  const wanted = $("search").value.toLowerCase(), show = $("show").value;
  order = index.map((_, i) => i).filter((i) => {
    const [kind, id] = index[i];
    if (wanted && !id.toLowerCase().includes(wanted)) return false;
    if (show === "open") return kind === "p" && !decisions.has(id);
    if (show === "decided") return decisions.has(id);
    return show === "all" || show === kind;
  });
  const kept = (i) => (index[i][0] === "p" ? index[i][3] / Math.max(1, index[i][2]) : 2);
  const by = { most: (a, b) => kept(a) - kept(b), least: (a, b) => kept(b) - kept(a),
    long: (a, b) => (index[b][0] === "p" ? index[b][2] : 0) - (index[a][0] === "p" ? index[a][2] : 0) }[$("order").value];
  if (by) order.sort(by);
  page = 0;
  list();
}

function list() {
  const pages = Math.max(1, Math.ceil(order.length / PAGE));
  page = Math.min(Math.max(0, page), pages - 1);
  $("page").textContent = `${page + 1} of ${pages} · ${order.length.toLocaleString()} rows`;
  $("list").replaceChildren(...order.slice(page * PAGE, page * PAGE + PAGE).map((i) => {
    const [kind, id, ...rest] = index[i];
    const item = make("li", i === current ? "current" : "");
    const decision = decisions.get(id);
    const name = make("b", decision ? decision.action : "", id, item);
    name.title = id;
    make("span", "meta", kind === "p" ? `−${Math.round(100 - 100 * rest[1] / Math.max(1, rest[0]))} %` : rest[1], item);
    item.onclick = () => open(i);
    return item;
  }));
}

function open(i) {
  current = i;
  list();
  const view = $("view");
  view.replaceChildren();
  if (!index.length) { make("p", "note", "The run has no rows.", view); return; }
  const row = parse("row-" + i);
  if (index[i][0] === "p") pruned(row, view); else rejected(row, view);
  window.scrollTo(0, Math.min(window.scrollY, view.offsetTop));
}

function pruned(row, view) {
  make("h2", "", row.id, view);
  buttons(row, view);
  make("p", "meta", `${row.before.toLocaleString()} → ${row.after.toLocaleString()} tokens · ${row.steps.length} steps · ` +
    `coverage ${row.coverage === null ? "–" : (100 * row.coverage).toFixed(1) + " %"} · ${row.model || "unknown student"} · ${row.teacher}`, view);
  prose(row.question, view);
  if (row.gold !== null) prose("Gold: " + row.gold, view);
  make("h2", "", "Step by step", view);
  head(view, "the student's own", "pruned");
  if (row.thinking !== null) pair(view, [[null, null, row.thinking]], null, row.newThinking);
  const steps = new Map(row.steps.map((step) => [step[0], step]));
  const seen = new Set();
  for (const [action, numbers, text] of row.revisions) {
    numbers.forEach((at) => seen.add(at));
    const covered = numbers.map((at) => steps.get(at)).filter(Boolean);
    pair(view, covered, action, text !== null ? text : action === "KEEP" ? covered.map((step) => step[2]).join("\n") : "");
  }
  row.steps.filter((step) => !seen.has(step[0])).forEach((step) => pair(view, [step], null, ""));
  make("h2", "", "The whole reasoning", view);
  prose(row.newThinking, view);
  make("h2", "", "Answer part", view);
  head(view, "the student's own", row.answer === row.newAnswer ? "unchanged" : "revised");
  pair(view, [[null, null, row.answer]], null, row.newAnswer);
  make("h2", "", "Checks", view);
  for (const [name, found] of Object.entries(row.verdict)) prose(`${name}: ${JSON.stringify(found)}`, view);
}

function head(view, left, right) {
  const node = make("div", "pair head", null, view);
  make("div", "", left, node);
  make("div", "", right, node);
}

function pair(view, steps, action, result) {
  const node = make("div", "pair" + (action === "DELETE" ? " gone" : ""), null, view);
  const left = make("div", "", null, node), right = make("div", "", null, node);
  for (const [at, skill, text] of steps) {
    if (at !== null) make("span", "tag " + (action || ""), String(at), left);
    if (skill) make("span", "tag", skill, left);
    prose(text, left);
  }
  if (action) make("span", "tag " + action, action, right);
  if (result) prose(result, right);
}

function rejected(row, view) {
  make("h2", "", row.id, view);
  prose(`Rejected in ${row.stage}: ${row.reason}. ${row.detail}`, view);
  if (row.reply) { make("h2", "", "What the teacher said last", view); prose(row.reply, view); }
  for (const [name, value] of Object.entries(row.row || {})) {
    make("h2", "", name, view);
    prose(typeof value === "string" ? value : JSON.stringify(value), view);
  }
}

function buttons(row, view) {
  const bar = make("div", "decide", null, view);
  const now = decisions.get(row.id);
  const add = (name, action) => {
    const button = make("button", now && now.action === action ? "on" : "", name, bar);
    button.id = "do-" + action;
    button.onclick = () => (action === "edit" ? edit(row, bar) : decide(row.id, action === "undo" ? null : { id: row.id, action }));
    bar.append(" ");
  };
  add("Accept", "accept"); add("Reject", "reject"); add("Edit", "edit"); add("Take back", "undo");
  if (now && now.response) { make("p", "note", "Edited by hand:", bar); prose(now.response, bar); }
}

function edit(row, bar) {
  if (bar.querySelector("textarea")) return;
  const now = decisions.get(row.id);
  const area = make("textarea", "", null, bar);
  area.value = (now && now.response) || `<think>\n${row.newThinking}\n</think>\n\n${row.newAnswer}`;
  const save = make("button", "", "Save", bar), warning = make("span", "note", "", bar);
  save.onclick = () => {
    const cut = area.value.lastIndexOf("</think>");
    if (cut < 0 || !area.value.slice(0, cut).replace("<think>", "").trim() || !area.value.slice(cut + 8).trim()) {
      warning.textContent = " It must be <think> reasoning </think> and an answer.";
      return;
    }
    decide(row.id, { id: row.id, action: "edit", response: area.value });
  };
  area.focus();
}

function decide(id, decision) {
  if (decision) decisions.set(id, decision); else decisions.delete(id);
  try { localStorage.setItem(store, JSON.stringify({ base, edits: [...decisions.values()] })); } catch { /* see above */ }
  open(current);
}

function step(by) {
  const at = order.indexOf(current) + by;
  if (at < 0 || at >= order.length) return;
  page = Math.floor(at / PAGE);
  open(order[at]);
}

$("search").oninput = arrange;
$("show").onchange = arrange;
$("order").onchange = arrange;
$("back").onclick = () => { page -= 1; list(); };
$("on").onclick = () => { page += 1; list(); };
$("export").onclick = () => {
  const lines = [...decisions.values()].map((decision) => JSON.stringify(decision) + "\n");
  const link = make("a");
  link.href = URL.createObjectURL(new Blob(lines, { type: "application/jsonl" }));
  link.download = "edits.jsonl";
  link.click();
};
document.onkeydown = (event) => {
  if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey) return;
  const button = { a: "do-accept", r: "do-reject", e: "do-edit", u: "do-undo" }[event.key];
  if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (button && $(button)) { $(button).click(); event.preventDefault(); }
};
arrange();
open(order.length ? order[0] : 0);
