"use strict";
const $ = id => document.getElementById(id);
const MOST = 2000;                     // entries of the list that are drawn at once
const parts = new Map();
let formula, index, chosen = null, run = 0;

async function unpack(id) {
  // a part may not have been read yet; one that is read is followed by something else
  while (!$(id)?.nextSibling && document.readyState === "loading") await new Promise(done => setTimeout(done, 20));
  const raw = atob($(id).textContent.trim());
  const bytes = Uint8Array.from(raw, c => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

function part(number) {
  if (!parts.has(number)) {
    if (parts.size > 12) parts.delete(parts.keys().next().value);
    parts.set(number, unpack("part-" + number));
  }
  return parts.get(number);
}

function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = visible(String(text));
  if (name) made.className = name;
  return made;
}

// direction marks and other unseen characters by their numbers
const EACH = new RegExp(UNSEEN, "gu");
const visible = text => text.replace(
  EACH, c => "⟨U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "⟩");

// a text in which formulas are drawn: `math` holds their MathML, made and checked by Python
function prose(tag, text, math, name) {
  const made = element(tag, undefined, name);
  for (const piece of text.split(formula)) {
    if (Object.hasOwn(math, piece))
      made.append(document.importNode(new DOMParser().parseFromString(math[piece], "text/html").body.firstChild, true));
    else made.append(visible(piece));
  }
  return made;
}

// an answer is drawn where the whole of it is a formula
const answered = (text, math) => prose("span", Object.hasOwn(math, `$${text}$`) ? `$${text}$` : text, math);

function options(select, values, kept) {
  select.replaceChildren(...values.map(([value, text]) => {
    const made = element("option", text);
    made.value = value;
    return made;
  }));
  if (values.some(([value]) => String(value) === String(kept))) select.value = kept;
}

const task = () => index.tasks[$("task").value];
// an entry is [document, question, level, {method: [[outcome, tokens, loop], …]}, part, place]
const of = (entry, id) => entry[3][$(id).value] || null;

function fits(entry) {
  const a = of(entry, "a"), b = of(entry, "b"), show = $("show").value;
  if ($("level").value && entry[2] !== $("level").value) return false;
  if (!a) return false;
  if (show === "all") return true;
  if (show === "loop") return a.some(s => s[2]);
  if (["changed", "lost", "won"].includes(show)) {
    if (!b) return false;
    const right = samples => samples.filter(s => s[0] === "right").length / samples.length;
    const change = right(b) - right(a);
    return show === "changed" ? change !== 0 : show === "lost" ? change < 0 : change > 0;
  }
  return a.some(s => s[0] === show);
}

async function list() {
  const mine = ++run, wanted = $("search").value.trim().toLowerCase();
  let found = task().problems.filter(fits);
  if (wanted) {
    const hits = [];
    for (const [i, entry] of found.entries()) {
      const [question, gold, completions] = (await part(entry[4])).rows[entry[5]];
      if (mine !== run) return;         // the user has asked for something else
      const texts = [entry[0], question, gold, ...["a", "b"].flatMap(
        id => (completions[$(id).value] || []).map(s => s[0]))];
      if (texts.some(text => text.toLowerCase().includes(wanted))) hits.push(entry);
      if (i % 50 === 0) $("status").textContent = `Searching ${i} of ${found.length}, ${hits.length} found`;
    }
    found = hits;
  }
  $("list").replaceChildren(...found.slice(0, MOST).map(row));
  $("status").textContent = `${found.length} of ${task().problems.length} problems`
    + (found.length > MOST ? `, the first ${MOST} listed` : "");
  if (!found.includes(chosen)) await show(found[0] || null);
  else $("list").querySelector(".current")?.scrollIntoView({block: "nearest"});
  document.body.dataset.ready = "yes";
}

function outcomes(samples) {
  if (!samples) return "–";
  const right = samples.filter(s => s[0] === "right").length;
  const tokens = Math.round(samples.reduce((sum, s) => sum + s[1], 0) / samples.length);
  const what = samples.length > 1 ? `${right}/${samples.length} right` : samples[0][0].replace("_", " ");
  return `${what}, ${tokens.toLocaleString("en")} tokens` + (samples.some(s => s[2]) ? ", loop" : "");
}

function row(entry) {
  const made = element("li"), button = element("button");
  button.type = "button";
  button.append(element("span", entry[1] || entry[0], "text"));
  for (const id of ["a", "b"]) {
    const samples = of(entry, id);
    if (samples) button.append(element("div", outcomes(samples), samples.length > 1 ? "" : samples[0][0]));
  }
  button.addEventListener("click", () => show(entry));
  if (entry === chosen) button.className = "current";
  button.entry = entry;
  made.append(button);
  return made;
}

function parting(one, two) {
  let at = 0;
  while (at < one.length && at < two.length && one[at] === two[at]) at++;
  return Math.max(one.lastIndexOf(" ", at - 1), one.lastIndexOf("\n", at - 1)) + 1;
}

async function show(entry, sample = 0) {
  chosen = entry;
  for (const button of $("list").querySelectorAll("button"))
    button.classList.toggle("current", button.entry === entry);
  if (!entry) return $("detail").replaceChildren(element("p", "No completion is like that."));
  const {rows, math} = await part(entry[4]);
  const [question, gold, completions] = rows[entry[5]];
  if (chosen !== entry) return;
  const sides = ["a", "b"].filter((id, i) => completions[$(id).value] && !(i && $("a").value === $("b").value))
    .map(id => ({name: index.methods[$(id).value], samples: completions[$(id).value], read: of(entry, id)}));
  const most = Math.max(...sides.map(s => s.samples.length));
  const texts = sides.map(s => s.samples[Math.min(sample, s.samples.length - 1)]);
  const at = sides.length > 1 ? parting(texts[0][0], texts[1][0]) : 0;
  const box = element("div", undefined, "sides");
  sides.forEach((side, i) => {
    const [outcome, tokens, loop] = side.read[Math.min(sample, side.read.length - 1)];
    const made = element("section"), pre = element("pre");
    const told = element("div", `${outcome.replace("_", " ")}, ${tokens.toLocaleString("en")} tokens`
      + (loop ? ", ends in a loop" : "") + ", answer ", outcome);
    told.append(answered(texts[i][1] ?? "–", math));
    made.append(element("h3", side.name), told);
    const text = texts[i][0];
    if (at) pre.append(prose("span", text.slice(0, at), math, "same"), element("mark", "⟨here they part⟩"), " ");
    pre.append(text.slice(at) ? prose("span", text.slice(at), math) : "");
    made.append(pre);
    box.append(made);
  });
  const bar = element("p", undefined, "meta");
  if (most > 1) {
    const pick = element("select");
    pick.setAttribute("aria-label", "sample");
    options(pick, Array.from({length: most}, (_, i) => [i, `sample ${i + 1} of ${most}`]), sample);
    pick.addEventListener("change", () => show(entry, Number(pick.value)));
    bar.append(pick);
  }
  const right = element("p", "gold answer ", "meta");
  right.append(answered(gold, math), entry[2] ? `, ${visible(entry[2])}` : "");
  $("detail").replaceChildren(element("h2", entry[0].replace(/:[^:]*$/, "")), prose("p", question, math, "text"), right, bar, box);
}

function methods(a, b) {
  const known = task().methods.map(m => [m, index.methods[m]]);
  options($("a"), known, a ?? $("a").value);
  options($("b"), [["", "nothing"], ...known], b ?? $("b").value);
  options($("level"), [["", "all"], ...[...new Set(task().problems.map(p => p[2]))].filter(Boolean).sort()
    .map(level => [level, level])], $("level").value);
}

async function begin() {
  index = await unpack("index");
  formula = new RegExp(`(${index.formula})`);
  const asked = new URLSearchParams(location.hash.slice(1));
  const place = name => index.methods.indexOf(asked.get(name));
  options($("task"), index.tasks.map((t, i) => [i, t.name]),
    Math.max(0, index.tasks.findIndex(t => t.task === asked.get("task"))));
  const own = task().methods;
  methods(own.includes(place("a")) ? place("a") : own[0],
    own.includes(place("b")) ? place("b") : own[1] ?? "");
  $("task").addEventListener("change", () => { methods(); list(); });
  for (const id of ["a", "b", "show", "level"]) $(id).addEventListener("change", () => { chosen = null; list(); });
  $("search").addEventListener("change", list);
  $("controls").addEventListener("submit", event => { event.preventDefault(); list(); });
  const wanted = task().problems.find(p => p[0] === asked.get("doc"));
  if (wanted) await show(wanted);
  await list();
}

begin().catch(error => { $("status").textContent = "This browser cannot unpack the page: " + error.message; });
