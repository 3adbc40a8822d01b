"use strict";
// Every text of a model reaches the page through text nodes; MathML alone is markup, and is looked over.
const LONG = 20000, STRETCH = 150, KEPT_PARTS = 16, MOST_CELLS = 4e6;
const $ = (id) => document.getElementById(id);
const decisions = new Map(), drafts = new Map(), parts = new Map();
let run, formula, order = [], shown = 0, current = -1, row = null, tab = "steps", turn = 0, base = "", wanted = "";

async function unpack(id) {
  // a part may not have been read yet; one that is read is followed by something else
  while (!$(id)?.nextSibling && document.readyState === "loading") await new Promise((done) => setTimeout(done, 20));
  const bytes = Uint8Array.from(atob($(id).textContent.trim()), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

function part(number) {
  if (!parts.has(number)) {
    if (parts.size >= KEPT_PARTS) parts.delete(parts.keys().next().value);
    parts.set(number, unpack("part-" + number));
  }
  return parts.get(number);
}

// ---- making nodes

// Characters that turn, hide or break the text around them (UNSEEN) are shown by their number.
const PIECES = new RegExp(`(${UNSEEN.source})`, "u");
const coded = (c) => "U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
const visible = (text) => String(text).split(PIECES).map((piece) => (UNSEEN.test(piece) ? coded(piece) : piece)).join("");
const number = (n) => Number(n).toLocaleString("en");
const percent = (share) => (100 * share).toFixed(0) + " %";
const change = (gone) => (percent(Math.abs(gone)) === "0 %" ? "" : gone < 0 ? "+" : "−") + percent(Math.abs(gone));
const many = (n, what) => `${number(n)} ${what}${n === 1 ? "" : "s"}`;

function make(tag, css, ...children) {
  const node = document.createElement(tag);
  if (css) node.className = css;
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== "")
    .map((child) => (child instanceof Node ? child : visible(child))));
  return node;
}

function plain(text) {
  const node = document.createDocumentFragment();
  for (const piece of text.split(PIECES)) {
    if (UNSEEN.test(piece)) node.append(make("span", "mark", coded(piece)));
    else if (piece) node.append(piece);
  }
  return node;
}

function mathNode(source) {
  const held = document.createElement("template");
  held.innerHTML = row.math[source];
  const node = held.content.firstElementChild;
  const all = [...held.content.querySelectorAll("*")];
  const sound = node?.localName === "math" && held.content.childNodes.length === 1
    && all.every((n) => n.namespaceURI.endsWith("/MathML") && [...n.attributes].every((a) => !/^(on|href|src|xlink)/i.test(a.name)));
  if (!sound) return plain(source);
  node.setAttribute("title", visible(source));
  return node;
}

// A text in pieces: formulas that are known, and what is between them.
function* pieces(text) {
  let at = 0;
  for (const found of text.matchAll(formula)) {
    if (!Object.hasOwn(row.math, found[0])) continue;
    if (found.index > at) yield [text.slice(at, found.index), false];
    yield [found[0], true];
    at = found.index + found[0].length;
  }
  if (at < text.length) yield [text.slice(at), false];
}

function rich(text) {
  const node = document.createDocumentFragment();
  for (const [piece, isMath] of pieces(text)) node.append(isMath ? mathNode(piece) : plain(piece));
  return node;
}

function prose(text, css = "") {
  const node = make("div", "text " + css);
  node.dir = "auto";
  node.append(rich((text || "").slice(0, LONG)));
  if ((text || "").length <= LONG) return node;
  const more = make("button", "", `show all ${number(text.length)} characters`);
  more.onclick = () => node.replaceChildren(rich(text));
  node.append("… ", more);
  return node;
}

// ---- what differs, word by word

const words = (text) => [...pieces(text)].flatMap(([piece, isMath]) => (isMath ? [piece] : piece.match(/\s+|[\p{L}\p{N}_'’]+|./gsu) || []));

function differences(before, after) {
  const a = words(before), b = words(after), wide = b.length + 1;
  if ((a.length + 1) * wide > MOST_CELLS) return null;
  const best = new Uint16Array((a.length + 1) * wide);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      best[i * wide + j] = a[i] === b[j] ? best[(i + 1) * wide + j + 1] + 1
        : Math.max(best[(i + 1) * wide + j], best[i * wide + j + 1]);
    }
  }
  const found = [];
  const add = (kind, text) => (found.at(-1)?.[0] === kind ? found.at(-1)[1] += text : found.push([kind, text]));
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { add("", a[i]); i++; j++; }
    else if (j >= b.length || (i < a.length && best[(i + 1) * wide + j] >= best[i * wide + j + 1])) add("del", a[i++]);
    else add("ins", b[j++]);
  }
  return joined(found);
}

// A space or two that stay between changed words make no gap: runs are read as one change.
function joined(found) {
  const out = [];
  let gone = "", came = "";
  const flush = () => {
    if (gone) out.push(["del", gone]);
    if (came) out.push(["ins", came]);
    gone = came = "";
  };
  found.forEach(([kind, text], at) => {
    const bridge = kind === "" && !text.trim() && at > 0 && at < found.length - 1;
    if (kind === "del" || bridge) gone += text;
    if (kind === "ins" || bridge) came += text;
    if (kind === "" && !bridge) { flush(); out.push(["", text]); }
  });
  flush();
  return out;
}

function compared(before, after) {
  const found = differences(before, after);
  if (!found) return make("div", "", prose(before, "gone"), prose(after));
  const node = make("div", "text");
  node.dir = "auto";
  for (const [kind, text] of found) {
    if (!kind) node.append(rich(text));
    else node.append(make(kind, "", rich(text)));
  }
  return node;
}

// ---- the list of rows

const KIND = 0, ID = 1, START = 2, SET = 3, TEACHER = 4, BEFORE = 5, AFTER = 6, ACTIONS = 7, SKILLS = 8, DOUBT = 9, REASON = 10, PART = 11, PLACE = 12;
// The share of its tokens that a row lost; null for a reject, or where there was nothing to prune.
const removed = (line) => (line[KIND] === "p" && line[BEFORE] ? 1 - line[AFTER] / line[BEFORE] : null);
const saved = (line) => (removed(line) === null ? many(line[AFTER], "token") : change(removed(line)));

function fits(line) {
  const state = $("state").value, made = decisions.get(line[ID]);
  if (state === "p" || state === "r") { if (line[KIND] !== state) return false; }
  else if (state === "doubt") { if (!line[DOUBT]) return false; }
  else if (state === "open") { if (made || line[KIND] === "r") return false; }
  else if (state === "decided") { if (!made) return false; }
  else if (state === "edited" && made?.response === undefined) return false;
  for (const [id, at] of [["dataset", SET], ["teacher", TEACHER], ["reason", REASON]]) {
    if ($(id).value && run.names[line[at]] !== $(id).value) return false;
  }
  const action = $("action").value, skill = $("skill").value, [low, high] = $("reduction").value.split(" ").map(Number);
  if (action && !(line[ACTIONS] & (1 << run.actions.indexOf(action)))) return false;
  if (skill && !line[SKILLS].includes(run.names.indexOf(skill))) return false;
  return high === undefined || (removed(line) !== null && removed(line) >= low && removed(line) < high);
}

const texts = (held) => [held.id, held.question, held.gold, held.thinking, held.answer, held.newThinking, held.newAnswer,
  held.detail, held.reply, ...(held.revisions || []).map((r) => r[2]), ...(held.steps || []).map((s) => s[1])];

async function arrange() {
  const mine = ++turn;
  wanted = $("search").value.trim().toLowerCase();
  const set = [...document.querySelectorAll(".filters select")].filter((s) => s.value).length;
  $("active").textContent = set ? `· ${set} set` : "";
  let found = run.rows.map((_, i) => i).filter((i) => fits(run.rows[i]));
  const share = (i) => removed(run.rows[i]) ?? NaN;   // rows without one come last
  const first = (a, b, difference) => Number.isNaN(share(a)) - Number.isNaN(share(b)) || difference || 0;
  const by = { most: (a, b) => first(a, b, share(b) - share(a)), least: (a, b) => first(a, b, share(a) - share(b)),
    long: (a, b) => run.rows[b][BEFORE] - run.rows[a][BEFORE] }[$("order").value];
  if (by) found.sort(by);
  if (wanted) {
    const hits = new Set();
    let at = 0;
    for (const i of [...found].sort((a, b) => run.rows[a][PART] - run.rows[b][PART])) {
      const held = (await part(run.rows[i][PART]))[run.rows[i][PLACE]];
      if (mine !== turn) return;        // something else is asked for by now
      if (texts(held).some((text) => text && text.toLowerCase().includes(wanted))) hits.add(i);
      if (++at % 200 === 0) $("status").textContent = `Searching ${number(at)} of ${number(found.length)}, ${number(hits.size)} found`;
    }
    found = found.filter((i) => hits.has(i));
  }
  order = found;
  list();
  mark();
  document.body.dataset.turn = mine;
}

function list() {
  shown = 0;
  $("list").replaceChildren();
  $("list").scrollTop = 0;
  $("status").textContent = order.length === run.rows.length ? many(order.length, "row")
    : `${number(order.length)} of ${many(run.rows.length, "row")}`;
  if (!order.length) $("status").textContent = run.rows.length ? "No row matches." : "The run has no rows.";
  stretch(Math.max(STRETCH, order.indexOf(current) + 20));
}

function stretch(most) {
  for (; shown < Math.min(most, order.length); shown++) $("list").append(make("li", "", entry(order[shown])));
}

// Characters that all ids begin with, up to the end of a part of theirs.
function common() {
  const ids = run.rows.map((line) => line[ID]).sort(), [one, other] = [ids[0] || "", ids.at(-1) || ""];
  let same = 0;
  while (ids.length > 1 && same < one.length && one[same] === other[same]) same++;
  return Math.max(...[..."/:-_#. "].map((mark) => one.slice(0, same).lastIndexOf(mark) + 1));
}

// The end of an id tells rows apart, what all of them begin with does not.
function short(id) {
  const end = id.slice(run.common);
  return end.length > 27 ? end.slice(0, 7) + "…" + end.slice(-19) : end;
}

const SIGNS = { accept: "✓", reject: "✗", edit: "✎" };
function entry(i) {
  const line = run.rows[i], made = decisions.get(line[ID]), button = make("button");
  const name = make("b", "", short(line[ID]));
  name.title = visible(line[ID]);
  if (made) name.dataset.by = SIGNS[made.action];
  button.append(name, line[KIND] === "p" ? make("em", removed(line) < 0 ? "out" : "", saved(line)) : make("em", "out", run.names[line[REASON]]),
    make("small", "", line[START]));
  button.type = "button";
  button.dataset.row = i;
  if (i === current) button.setAttribute("aria-current", "true");
  return button;
}

function refresh(i) {
  const at = order.indexOf(i);
  if (at >= 0 && at < shown) $("list").children[at].replaceChildren(entry(i));
}

// ---- one row

function view(name) {
  const earlier = document.body.dataset.view;
  document.body.dataset.view = name;
  $("overview").hidden = name === "row";
  $("row").hidden = name !== "row";
  $("to-overview").setAttribute("aria-pressed", name === "overview");
  $("to-rows").setAttribute("aria-pressed", name !== "overview");
  // the address names what is shown: Back leads to the view before, and a reload to the same row
  const place = name === "row" ? "#row=" + encodeURIComponent(row.id) : "#" + name;
  if ((location.hash || "#overview") !== place) history[name === "row" && earlier === "row" ? "replaceState" : "pushState"](null, "", place);
}

function follow() {
  const [name, id] = location.hash.slice(1).split("=");
  let at = -1;
  try { at = run.rows.findIndex((line) => line[ID] === decodeURIComponent(id || "")); } catch { /* no id of ours */ }
  if (name === "row" && at >= 0) open(at);
  else view(name === "list" && innerWidth <= 800 ? "list" : "overview");
}

async function open(i, from) {
  const before = current, line = run.rows[i];
  current = i;
  refresh(before);
  refresh(i);
  const held = (await part(line[PART]))[line[PLACE]];
  if (current !== i) return;
  row = held;
  view("row");
  draw();
  $("detail").scrollTop = 0;
  const button = $("list").querySelector("[aria-current]");
  button?.scrollIntoView({ block: "nearest" });
  if (from === "list") button?.focus();
}

function step(by, from) {
  const at = order.indexOf(current) + by;
  if (at < 0 || at >= order.length) return;
  stretch(at + 20);
  open(order[at], from);
}

function draw() {
  const line = run.rows[current], pruned = line[KIND] === "p", at = order.indexOf(current);
  const back = make("button", "", "‹"), on = make("button", "", "›");
  back.title = "the row before (←)"; on.title = "the next row (→)";
  back.setAttribute("aria-label", back.title); on.setAttribute("aria-label", on.title);
  back.onclick = () => step(-1); on.onclick = () => step(1);
  back.disabled = at <= 0; on.disabled = at >= order.length - 1;
  const nav = make("nav", "", back, on);
  const question = prose(row.question || "", "question");
  $("row").replaceChildren(make("div", "head", make("span", "id", row.id), nav), question,
    ...(row.gold === null || row.gold === undefined ? [] : [make("p", "gold", "Gold answer", prose(row.gold))]),
    ...(pruned ? summary() : [make("p", "saving", make("strong", "bad", "Rejected"), make("span", "", `in ${row.stage}: ${row.reason.replaceAll("_", " ")}`)), prose(row.detail)]),
    meta(), decide(), make("div", ""));
  $("row").lastChild.id = "body";
  tabs(pruned);
  mark();
}

function summary() {
  const passed = checks(row.checks, many(row.checks.length, "check") + " passed");
  if (!row.before) return [make("p", "saving", many(row.after, "token")), passed];
  const track = make("span", "track", make("i"));
  track.firstChild.style.width = Math.min(100, 100 * row.after / row.before) + "%";
  return [make("p", "saving", make("span", "", `${number(row.before)} → ${number(row.after)} tokens`),
    make("strong", row.after > row.before ? "more" : "", change(1 - row.after / row.before)), track), passed];
}

function checks(found, passed) {
  const bad = found.filter(([ok]) => !ok).length;
  const items = make("ul", "checks", ...found.map(([ok, text]) => make("li", ok ? "good" : "bad", prose(text))));
  const fold = make("details", "fold", make("summary", bad ? "bad" : "good", " " + (bad ? `${bad} of ${found.length} checks in doubt` : passed)), items);
  fold.open = bad > 0;
  return fold;
}

function meta() {
  const [requests, prompt, completion, usd] = row.cost;
  const cost = requests ? `${many(requests, "request")}, ${number(prompt)} tokens in, ${number(completion)} out` + (usd === null ? "" : `, $${usd.toFixed(4)}`) : "";
  return make("p", "meta", [row.dataset, row.steps?.length && many(row.steps.length, "step"), typeof row.coverage === "number" && `coverage ${(100 * row.coverage).toFixed(1)} %`,
    row.model && `student ${row.model}`, row.teacher && `teacher ${row.teacher}`, cost].filter(Boolean).join(" · "));
}

function tabs(pruned) {
  const kinds = pruned ? [["steps", "Steps"], ["result", "Result"], ["original", "Original"], ["teacher", "Teacher"]]
    .filter(([name]) => row.original || name === "result" || name === "teacher")
    : [["original", "Student's response"], ["reply", "What came of it"], ["teacher", "Teacher"]].filter(([name]) => name !== "reply" || row.reply);
  if (!kinds.some(([name]) => name === tab)) tab = kinds[0][0];
  const bar = make("div", "tabs");
  bar.setAttribute("role", "tablist");
  for (const [name, text] of kinds) {
    const button = make("button", "", text);
    button.setAttribute("role", "tab");
    button.setAttribute("aria-selected", name === tab);
    button.onclick = () => { tab = name; tabs(pruned); bar.isConnected || $("body").querySelector('[aria-selected="true"]').focus(); };
    bar.append(button);
  }
  const draws = { steps, teacher, result: () => whole(row.newThinking, row.newAnswer), original: () => whole(row.thinking, row.answer), reply: () => [make("div", "block", prose(row.reply))] };
  $("body").replaceChildren(bar, ...draws[tab]());
  mark();
}

const whole = (thinking, answer) => [make("h3", "", "Reasoning"), make("div", "block", prose(thinking)), make("h3", "", "Answer"), make("div", "block answer", prose(answer))];

function steps() {
  const text = (at) => (at[2] === null ? at[3] : row.thinking.slice(at[2], at[3]));
  const byNumber = new Map(row.steps.map((at) => [at[0], at])), seen = new Set(), box = make("div", "");
  const card = (action, covered, body) => {
    const range = covered.map((at) => at[0]);
    const label = !range.length ? "" : range.length > 1 ? `${range[0]}–${range.at(-1)}` : String(range[0]);
    box.append(make("div", "step " + (action || ""), make("div", "what", make("b", "", [label, action].filter(Boolean).join(" ")), [...new Set(covered.map((at) => at[1]).filter(Boolean))].join(", ")), body));
  };
  for (const [action, numbers, made] of row.revisions) {
    numbers.forEach((at) => seen.add(at));
    const covered = numbers.map((at) => byNumber.get(at)).filter(Boolean), own = covered.map(text).join("\n");
    card(action, covered, made !== null && action !== "DELETE" ? compared(own, made) : prose(own));
  }
  row.steps.filter((at) => !seen.has(at[0])).forEach((at) => card("", [at], prose(text(at))));
  if (!row.steps.length) box.append(make("div", "block", compared(row.thinking, row.newThinking)));
  const tidy = make("button", "", "Hide what is deleted");
  tidy.type = "button";
  tidy.onclick = () => tidy.setAttribute("aria-pressed", box.classList.toggle("tidy"));
  const same = row.answer === row.newAnswer;
  return [make("p", "meta", tidy), make("h3", "", "Reasoning"), box, make("h3", "", "Answer" + (same ? ", unchanged" : "")),
    make("div", "block answer", same ? prose(row.answer) : compared(row.answer, row.newAnswer))];
}

function teacher() {
  if (!row.asked.length) return [make("p", "note", run.messages ? "The run's ledger holds no message for this row: no teacher was asked, or an earlier release asked it."
    : "The messages of so many rows are left out of the page. drp show RUN_DIR ID --messages prints those of one row; drp inspect --messages puts all in.")];
  return row.asked.map(([tag, messages, reply, finish, prompt, completion, usd], at) => make("div", "turn",
    make("h3", "", `${at + 1}. ${tag} · ${number(prompt)} tokens in, ${number(completion)} out` + (usd === null ? "" : ` · $${usd.toFixed(4)}`) + (finish === "stop" ? "" : ` · ${finish}`)),
    ...messages.map(([role, text]) => make("details", "", make("summary", "", `${role}, ${number(text.length)} characters`), make("pre", "", plain(text)))),
    make("pre", "", plain(reply))));
}

// ---- decisions

const SAID = { accept: "Accepted as it is.", reject: "Rejected by hand: it stays out of the set.", edit: "Edited by hand." };
const made = () => decisions.get(row.id);
const rejected = () => run.rows[current][KIND] === "r";

function decide() {
  const bar = make("div", "decide"), now = made();
  const add = (name, action, key, act) => {
    const button = make("button", "", name, make("kbd", "", key));
    button.id = "do-" + action;
    button.type = "button";
    if (action !== "undo") button.setAttribute("aria-pressed", now?.action === action);
    button.onclick = act;
    bar.append(button);
  };
  if (!rejected()) {
    add("Accept", "accept", "a", () => decided({ id: row.id, action: "accept" }, now));
    add("Reject", "reject", "r", () => decided({ id: row.id, action: "reject" }, now));
  }
  add(drafts.has(row.id) ? "Continue editing" : rejected() ? "Rescue by hand" : "Edit", "edit", "e", edit);
  if (now) add("Undo", "undo", "u", () => decided({ id: row.id, action: null }, now));
  const said = make("span", "said", now ? now.action === "accept" && now.response !== undefined ? "Edited by hand, accepted in spite of the checks." : SAID[now.action] : "");
  said.setAttribute("role", "status");
  said.id = "said";
  bar.append(said);
  if (now?.response === undefined) return bar;
  const found = now.checks || look(now.response), failed = found.some(([ok]) => !ok);
  const box = make("div", "", bar, checks(found, now.checks ? "It passes every check." : "Nothing odd at first sight. drp build makes the run's own checks."));
  if (failed && now.action === "edit") {
    const take = make("button", "", "Accept anyway");
    take.id = "take";
    take.onclick = () => decided({ ...now, action: "accept" }, now);
    box.append(make("p", "meta", "It stays out of the set unless you accept it. ", take));
  }
  box.append(make("details", "fold", make("summary", "", "The edited text"), make("div", "block", prose(now.response))));
  return box;
}

// What can be seen without the run's own checks: shape, the boxed answer, numbers from nowhere.
function look(text) {
  const at = text.lastIndexOf("</think>"), thinking = text.slice(0, at).replace("<think>", "").trim(), answer = text.slice(at + 8).trim();
  if (at < 0 || !thinking || !answer || /<\/?think>/.test(thinking)) return [[false, "It is not <think> reasoning </think> and an answer."]];
  const found = [[true, "It is <think> reasoning </think> and an answer."]];
  const boxed = (from) => [...from.matchAll(/\\boxed\s*\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}/g)].at(-1)?.[1].replace(/\s|\\d?t?(?=frac)/g, "");
  const [old, now] = [boxed(row.answer || ""), boxed(answer)];
  if (old !== undefined) found.push(old === now ? [true, "The boxed answer is the same."] : [false, `The boxed answer was ${old}, and is ${now ?? "none"}.`]);
  const known = new Set([row.question, row.thinking, row.answer].join("\n").match(/\d+(?:\.\d+)?/g));
  const fresh = [...new Set(thinking.match(/\d+(?:\.\d+)?/g))].filter((n) => !known.has(n));
  found.push(fresh.length ? [false, `Neither question nor original holds ${fresh.slice(0, 5).join(", ")}.`] : [true, "No number is new."]);
  return found;
}

const start = () => made()?.response ?? (rejected() ? (row.stage === "verify" && /<\/think>/.test(row.reply || "") ? row.reply : `<think>\n${row.thinking}\n</think>\n\n${row.answer}`)
  : `<think>\n${row.newThinking}\n</think>\n\n${row.newAnswer}`);

function edit() {
  if (row.thinking === null) { $("said").textContent = "It holds no trace that could be edited."; return; }
  const area = make("textarea"), save = make("button", "", "Save"), leave = make("button", "", "Cancel"), first = make("div", ""), id = row.id;
  let known = made();
  area.value = drafts.get(id) ?? start();
  area.setAttribute("aria-label", "the new response");
  area.spellcheck = false;
  const glance = () => first.replaceChildren(checks(look(area.value), "Nothing odd at first sight."));
  area.oninput = () => { drafts.set(id, area.value); glance(); };
  glance();
  save.id = "save";
  save.onclick = async () => {
    const other = await decided({ id, action: "edit", response: area.value }, known);
    if (!other) return;
    known = decisions.get(id);
    first.replaceChildren(make("details", "fold", make("summary", "", "What was decided there"), make("div", "block", prose(known?.response ?? SAID[known?.action] ?? "Nothing: the decision was taken back."))));
  };
  leave.onclick = () => { drafts.delete(id); draw(); };
  $("body").replaceChildren(make("div", "editor", area, first, make("p", "", save, " ", leave)));
  area.focus();
}

// Save a decision; true where another page has decided on the row since `known`, and nothing is saved.
async function decided(decision, known) {
  const at = current, held = row;
  try { adopt(await kept() ?? [...decisions.values()]); } catch { /* nobody answers: said below */ }
  if (decisions.get(decision.id) !== known) {
    if (!document.querySelector(".editor")) draw();
    refresh(at);
    $("said").textContent = "Not saved: another page decided on this row meanwhile. Decide again to replace that.";
    return true;
  }
  if (run.served) {
    try {
      const answer = await fetch("decide", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ id: decision.id, action: decision.action, response: decision.response }) });
      const told = await answer.json();
      if (!answer.ok) throw answer.status === 403 ? new TypeError() : new Error(told.error);
      if (told.checks) decision.checks = told.checks;
    } catch (error) {                   // a TypeError: nobody answers, or another server does
      $("said").textContent = "Not saved: " + (error instanceof TypeError ? "the drp inspect --serve of this page has ended. Start it again and open its new address." + (decision.response === undefined ? "" : " Copy your text there.") : error.message);
      return false;
    }
  }
  drafts.delete(decision.id);
  if (decision.action) decisions.set(decision.id, decision); else decisions.delete(decision.id);
  const all = [...decisions.values()].map(({ checks: _, ...kept }) => kept);
  if (!run.served) {
    try { localStorage.setItem(store(), JSON.stringify({ base, edits: all })); } catch { /* until the page is closed */ }
  }
  offer();
  refresh(at);
  if (row === held) draw();
  return false;
}

function offer() {
  $("export").hidden = run.served || !decisions.size;
  $("export").textContent = `Save ${many(decisions.size, "decision")}`;
}

const store = () => "drp-inspect:" + run.key;

// The decisions where they are kept, which another tab may have changed; null where none are.
async function kept() {
  if (run.served) return (await (await fetch("edits")).json()).edits;
  try {                                 // those of this browser count as long as the run's own stay the same
    const held = JSON.parse(localStorage.getItem(store()));
    return held?.base === base ? held.edits : null;
  } catch { return null; }              // no storage
}

function adopt(edits) {
  const before = new Map(decisions);
  decisions.clear();
  for (const edit of edits) {
    const same = before.get(edit.id);
    decisions.set(edit.id, same?.action === edit.action && same.response === edit.response ? same : edit);
  }
}

async function reread() {
  if (document.hidden) return;
  const mine = decisions.get(row?.id);
  try { adopt(await kept() ?? [...decisions.values()]); } catch { return; /* the server has ended: saving says so */ }
  offer();
  order.slice(0, shown).forEach(refresh);
  if (decisions.get(row?.id) !== mine && document.body.dataset.view === "row" && !document.querySelector(".editor")) draw();
}

// ---- what is looked for, in colour

function mark() {
  if (!window.Highlight) return;
  CSS.highlights.delete("found");
  if (!wanted || $("row").hidden) return;
  const ranges = [], walk = document.createTreeWalker($("row"), NodeFilter.SHOW_TEXT);
  while (walk.nextNode() && ranges.length < 1000) {
    const text = walk.currentNode.data.toLowerCase();
    for (let at = text.indexOf(wanted); at >= 0 && text.length === walk.currentNode.data.length; at = text.indexOf(wanted, at + 1)) {
      const range = new Range();
      range.setStart(walk.currentNode, at);
      range.setEnd(walk.currentNode, at + wanted.length);
      ranges.push(range);
    }
  }
  CSS.highlights.set("found", new Highlight(...ranges));
}

// ---- keys and buttons

function options(id, any, values) {
  $(id).replaceChildren(...[["", any], ...values].map(([value, text]) => {
    const made = make("option", "", text);
    made.value = value;
    return made;
  }));
  $(id).closest("label").hidden = values.length < 2 && id !== "reason";
}

function fill() {
  const count = (at) => {
    const counts = new Map();
    for (const line of run.rows) for (const name of [line[at]].flat()) if (name !== null) counts.set(name, (counts.get(name) || 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1]).map(([name, many]) => [run.names[name], `${run.names[name]} (${number(many)})`]);
  };
  options("dataset", "any data set", count(SET));
  options("teacher", "any teacher", count(TEACHER));
  options("reason", "any reason", count(REASON));
  options("skill", "any skill", count(SKILLS));
  options("action", "any action", run.actions.map((name) => [name, name]));
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const target = event.target, inList = $("list").contains(target);
  if (event.key === "Escape") {
    if (target.closest(".editor")) draw();
    else if (document.body.dataset.view === "row" && !/INPUT|SELECT/.test(target.tagName)) $("to-rows").click();
    target.blur();
    return;
  }
  if (target.id === "search" && (event.key === "ArrowDown" || event.key === "Enter")) { event.preventDefault(); focusList(); return; }
  if (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return;
  const act = { j: () => step(1), ArrowRight: () => step(1, inList && "list"), k: () => step(-1), ArrowLeft: () => step(-1, inList && "list"), o: () => $("to-overview").click(), "/": () => { if (innerWidth <= 800) view("list"); $("search").focus(); },
    f: () => { $("filters").open = !$("filters").open; if ($("filters").open) $("state").focus(); }, "?": () => $("keys").showModal() }[event.key];
  const button = document.body.dataset.view === "row" && $({ a: "do-accept", r: "do-reject", e: "do-edit", u: "do-undo" }[event.key]);
  const pick = /^[1-4]$/.test(event.key) && document.body.dataset.view === "row" && document.querySelectorAll(".tabs button")[event.key - 1];
  if (inList && /^Arrow(Down|Up)$/.test(event.key)) along(event.key === "ArrowDown" ? 1 : -1, target);
  else if (act) act();
  else if (button) button.click();
  else if (pick) pick.click();
  else return;
  event.preventDefault();
}

function focusList() {
  ($("list").querySelector("[aria-current]") || $("list").querySelector("button"))?.focus();
}

// In the list the arrows open rows; where list and row are two screens, they move along only.
function along(by, target) {
  if (document.body.dataset.view !== "list") { step(by, "list"); return; }
  stretch(shown + 1);
  const next = target.closest("li")[by > 0 ? "nextSibling" : "previousSibling"];
  next?.firstChild.focus();
}

async function begin() {
  run = await unpack("run");
  formula = new RegExp(run.formula, "g");
  run.common = common();
  base = JSON.stringify(run.edits);
  adopt(await kept() ?? run.edits);
  offer();
  fill();
  let waiting;
  $("search").oninput = () => { clearTimeout(waiting); waiting = setTimeout(arrange, 250); };
  for (const select of document.querySelectorAll(".filters select")) select.onchange = arrange;
  $("clear").onclick = () => { for (const select of document.querySelectorAll(".filters select")) select.value = ""; $("search").value = ""; arrange(); };
  $("list").onclick = (event) => { const button = event.target.closest("button"); if (button) open(Number(button.dataset.row)); };
  $("list").onscroll = () => { if ($("list").scrollTop + 2 * $("list").clientHeight > $("list").scrollHeight) stretch(shown + STRETCH); };
  $("to-overview").onclick = () => view("overview");
  $("to-rows").onclick = () => {
    if (innerWidth <= 800) view("list");
    else if (current >= 0) view("row");
    else if (order.length) open(order[0]);
    focusList();
  };
  $("to-keys").onclick = () => $("keys").showModal();
  $("export").onclick = () => {
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([...decisions.values()].map(({ checks: _, ...kept }) => JSON.stringify(kept) + "\n"), { type: "application/jsonl" }));
    link.download = "edits.jsonl";
    link.click();
  };
  document.onkeydown = keys;
  document.onvisibilitychange = reread;
  window.onfocus = reread;
  window.onpopstate = follow;
  window.onbeforeunload = (event) => { if (drafts.size) event.preventDefault(); };
  await arrange();
  follow();
  document.body.dataset.ready = "yes";
}

begin().catch((error) => { $("status").textContent = `This browser cannot unpack the page: ${error.message}`; });
