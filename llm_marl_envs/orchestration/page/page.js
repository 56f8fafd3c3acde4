// Everything that comes from a trace enters the page through textContent, never as markup.

const LARGE = 2000;  // events; beyond, lanes are drawn when they come into view, and edges for the present step only
const MOST_LINKS = 60;
const KINDS = {
  __proto__: null,  // names come from data: "constructor" is no kind
  orchestrator_decision: ["D", "decision"], spawn: ["+", "spawn"], despawn: ["×", "stop"], message: ["M", "message"],
  tool_call: ["T", "tool call"], tool_result: ["R", "tool result"], return: ["↩", "return"], aggregate: ["Σ", "aggregate"],
  human_intervention: ["H", "human"], safety_event: ["!", "safety"],
};
const VIEWS = JSON.parse(document.getElementById("data").textContent).map(viewIn);
const FLOWS = new Set(["spawn", "message", "return", "aggregate", "tool_dependency"]);
const EDGES = new Set([...FLOWS, "causal", "temporal", "safety_flow"]);
const SVG = "http://www.w3.org/2000/svg";
const $ = id => document.getElementById(id);
const state = { shown: [0], step: 0, causes: false, timed: false, playing: null, hits: [], drawn: [] };

function element(tag, attributes = {}, ...children) {
  const made = attributes.svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name !== "svg" && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}
const svg = (tag, attributes, ...children) => element(tag, { ...attributes, svg: true }, ...children);
const number = x => Number.isInteger(x) ? String(x) : String(Number(x.toPrecision(3)));
const first = (text, n) => { const flat = String(text).replace(/\s+/g, " ").trim(); return flat.length > n ? flat.slice(0, n - 1) + "…" : flat; };
const textOf = event => event.text ?? (event.args !== undefined ? JSON.stringify(event.args) : "");
const nameOf = event => `${(KINDS[event.type] ?? ["?", event.type])[1]}${event.tool ? " " + event.tool : ""}`;

function drawTrace(view, place) {
  const plan = layoutOf(view, state.timed && isTimed(view)), large = view.events.length > LARGE;
  const [back, edges, front] = ["stripes", "edges", "steps"].map(() => svg("g", {}));
  edges.setAttribute("aria-hidden", "true");
  const drawing = { view, plan, large, back, front, edgeGroup: edges, nodes: new Array(view.events.length), edges: [], rows: plan.lanes.map(() => []), places: new Map(), links: new Map(), hits: new Set(), low: [] };
  view.events.forEach((event, index) => {
    drawing.places.set(event.id, index);
    drawing.rows[plan.nodes.get(event.id).row].push(index);
  });
  for (const edge of view.edges) {
    for (const end of new Set([edge.src, edge.dst])) (drawing.links.get(end) ?? drawing.links.set(end, []).get(end)).push(edge);
  }
  drawing.waiting = new Set(plan.lanes.keys());
  const canvas = drawing.canvas = svg("svg", { width: plan.width, height: plan.height, role: "group", "aria-label": `Timeline of ${plan.lanes.length} agents` }, back);
  for (const wave of plan.waves) {
    if (wave.wide < 24 && wave.key % 5) continue;
    const what = plan.compact ? "" : plan.waved ? "wave " : isCounted(view) ? "call " : "", unit = plan.waved || !isTimed(view) ? "" : " s";
    canvas.append(svg("text", { class: "wave", x: wave.x + wave.wide / 2, y: 12 }, `${what}${number(wave.key)}${unit}`));
  }
  if (plan.timed) {
    for (let i = 0; i <= 8; i++) canvas.append(svg("text", { class: "wave", x: 14 + i / 8 * plan.last * plan.perSecond, y: 12 }, `${number(i / 8 * plan.last)} s`));
  }
  canvas.append(edges, front);
  if (!large) drawEdges(drawing, view.edges);
  const labels = element("div", { class: "labels", "aria-hidden": "true" });
  for (const lane of plan.lanes) {
    const row = element("div", {}, element("span", { title: lane.name }, lane.name));
    row.style.height = `${plan.tall}px`;
    labels.append(row);
  }
  drawing.scroller = element("div", { class: "scroller" }, canvas);
  place.append(element("section", { class: "trace", "aria-label": `Trace ${view.trace_id}` }, aboutOf(view, plan), element("div", { class: "chart" }, labels, drawing.scroller)));
  drawRows(drawing);
  return drawing;
}

function drawEdges(drawing, edges) {
  for (const edge of edges) {
    const [source, target] = [drawing.plan.nodes.get(edge.src), drawing.plan.nodes.get(edge.dst)];
    if (!source || !target || !(state.causes || FLOWS.has(edge.type))) continue;
    const [x1, y1, x2, y2] = [source.x + source.wide, source.y, target.x, target.y];
    const bend = Math.max(16, Math.min(60, Math.abs(x2 - x1) / 2));
    const head = `M${x2} ${y2}l-7 -3.5m7 3.5l-7 3.5`;
    const path = svg("path", { class: `edge ${EDGES.has(edge.type) ? edge.type : ""} ${edges.length > MOST_LINKS && drawing.large ? "many" : ""}`, d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}${head}` });
    drawing.edgeGroup.append(path);
    drawing.edges.push({ ...edge, path, at: drawing.places.get(edge.dst) });
  }
}

// The lanes that can be seen, and some around them; all of them where there are not many events.
function drawRows(drawing) {
  const { view, plan, large, waiting } = drawing;
  if (!waiting.size) return;
  if (!large) {
    for (const row of waiting) drawLane(drawing, row);
    waiting.clear();
    view.events.forEach((_, index) => drawStep(drawing, index));
    return;
  }
  const top = drawing.canvas.getBoundingClientRect().top + 20, seen = $("timelines").getBoundingClientRect();
  const first = Math.max(0, Math.floor((Math.max(seen.top, 0) - top) / plan.tall) - 10);
  const end = Math.min(plan.lanes.length, Math.ceil((Math.min(seen.bottom, innerHeight) - top) / plan.tall) + 10);
  for (let row = first; row < end; row++) drawRow(drawing, row);
}

function drawRow(drawing, row) {
  if (!drawing.waiting.delete(row)) return;
  drawLane(drawing, row);
  for (const index of drawing.rows[row]) drawStep(drawing, index);
}

function drawLane(drawing, row) {
  const { plan } = drawing, y = row * plan.tall + 20, lane = plan.lanes[row];
  if (row % 2) drawing.back.append(svg("rect", { class: "stripe", x: 0, y, width: plan.width, height: plan.tall }));
  drawing.back.append(svg("line", { class: "life", x1: lane.from ?? 6, x2: lane.to ?? plan.width - 8, y1: y + plan.tall / 2, y2: y + plan.tall / 2 }));
}

function drawStep(drawing, index) {
  const { view, plan } = drawing, event = view.events[index], node = drawNode(event, plan.nodes.get(event.id), plan, index, view.events.length);
  node.addEventListener("click", () => { setStep(index); $("panel").scrollTop = 0; });
  drawing.nodes[index] = node;
  drawing.front.append(node);
  mark(drawing, node, index);
  if (index === state.differs) node.classList.add("differs");
}

function mark(drawing, node, index) {
  node.classList.toggle("later", index > state.step);
  node.classList.toggle("now", index === state.step);
  node.classList.toggle("hit", drawing.hits.has(index));
  node.setAttribute("tabindex", index === Math.min(state.step, drawing.nodes.length - 1) ? 0 : -1);
}

function drawNode(event, at, plan, index, count) {
  const [sign] = KINDS[event.type] ?? ["?"], high = plan.dense ? 18 : plan.compact ? 22 : 28, y = at.y - high / 2;
  const label = `Step ${index + 1} of ${count}: ${event.agent}, ${nameOf(event)}${event.to ? " to " + event.to : ""}. ${first(textOf(event), 80)}`;
  const group = svg("g", { class: `node ${KINDS[event.type] ? event.type : ""} ${event.malformed ? "malformed" : ""}`, role: "button", tabindex: -1, "aria-label": label });
  group.append(svg("title", {}, label));
  group.append(svg("rect", { class: "ring", x: at.x - 4, y: y - 4, width: at.wide + 8, height: high + 8, rx: 8 }));
  group.append(svg("rect", { x: at.x, y, width: at.wide, height: high, rx: 5 }));
  if (at.wide >= 14) group.append(svg("text", { class: "sign", x: at.x + (plan.compact ? at.wide / 2 : 12), y: at.y }, sign));
  const room = Math.floor((at.wide - 28) / 6.6);
  if (!plan.compact && room > 3) group.append(svg("text", { class: "snippet", x: at.x + 24, y: at.y }, first(textOf(event) || nameOf(event), room)));
  const grades = event.claims.map(claim => claim.grade).filter(grade => grade !== undefined);
  if (grades.length) group.append(svg("circle", { class: `mark ${Math.min(...grades) >= 1 ? "good" : "bad"}`, cx: at.x + at.wide - 2, cy: y + 2, r: 4 }));
  return group;
}

function aboutOf(view, plan) {
  const opening = view.events[0], ending = view.events.find(event => event.status !== undefined || event.answer !== undefined) ?? {};
  const chip = (name, value) => element("li", {}, `${name} `, element("b", {}, String(value)));
  const chips = element("ul", { class: "chips" });
  if (view.score !== undefined) chips.append(chip("score", number(view.score)));
  if (plan.dense) chips.append(chip("agents", plan.lanes.length));
  if (ending.status) chips.append(chip("status", ending.status + (ending.why ? ` (${ending.why})` : "")));
  for (const name of ["calls", "tool_calls", "tokens", "wall_clock_s"]) {
    if (view.costs.get(name)) chips.append(chip(name.replaceAll("_", " "), number(view.costs.get(name))));
  }
  if (isCounted(view)) chips.append(chip("wall clock", "-"), chip("speed up", "-"));
  for (const [name, value] of view.metrics) if (name !== "task_success") chips.append(chip(name.replaceAll("_", " "), number(value)));
  const system = [view.system, view.topology, opening.imported ? "imported, not replayable" : null, isCounted(view) ? `no times: the axis counts calls${opening.partly_timed ? ` (only ${opening.partly_timed})` : ""}` : null].filter(Boolean).join(" · ");
  return element("div", { class: "about" },
    element("h2", {}, `${view.task_id} `, element("small", {}, `${system} · ${view.trace_id}`)),
    opening.parent ? element("p", {}, `Forked from ${opening.parent.trace_id} after ${opening.parent.turn} replies.`) : null,
    opening.question ? element("p", { class: "question", title: opening.question }, opening.question) : null,
    opening.skipped.length ? element("p", {}, `Not understood and left out: ${opening.skipped.map(([kind, count]) => `${count} x ${kind}`).join(", ")}.`) : null,
    ending.answer ? element("p", { class: "question" }, `Answer: ${first(ending.answer, 200)}`) : null, chips);
}

// The first step at which two traces are not the same, or -1. What took how long does not count.
function firstDifference(one, other) {
  const key = event => JSON.stringify([event.type, event.agent, event.tool, event.to, event.args, event.prompt, event.text, event.content_ref]);
  const most = Math.max(one.events.length, other.events.length);
  for (let i = 0; i < most; i++) {
    if (!one.events[i] || !other.events[i] || key(one.events[i]) !== key(other.events[i])) return i;
  }
  return -1;
}

function draw() {
  const place = $("timelines");
  place.replaceChildren();
  state.differs = -1;
  state.drawn = state.shown.map(i => drawTrace(VIEWS[i], place));
  const two = state.drawn.length > 1;
  place.classList.toggle("two", two);
  $("panel").classList.toggle("two", two);
  $("scale").hidden = !state.shown.some(i => isTimed(VIEWS[i]));
  $("step").max = Math.max(...state.drawn.map(d => d.view.events.length)) - 1;
  const note = $("difference");
  note.hidden = !two;
  state.differs = two ? firstDifference(state.drawn[0].view, state.drawn[1].view) : -1;
  if (two) {
    note.replaceChildren(state.differs < 0 ? "The two traces are the same." : `First difference: step ${state.differs + 1}. `);
    if (state.differs >= 0) {
      const go = element("button", { id: "todiff" }, "go there (n)");
      go.addEventListener("click", () => setStep(state.differs));
      note.append(go);
      for (const d of state.drawn) d.nodes[state.differs]?.classList.add("differs");  // others when they are drawn
    }
  }
  search();
  setStep(Math.min(state.step, Number($("step").max)), false);
}

function setStep(step, focus = true) {
  const before = state.step;
  state.step = Math.max(0, Math.min(step, Number($("step").max)));
  $("step").value = state.step;
  $("where").textContent = `step ${state.step + 1} of ${Number($("step").max) + 1}`;
  for (const drawing of state.drawn) {
    const now = Math.min(state.step, drawing.nodes.length - 1), id = drawing.view.events[now].id;
    drawRow(drawing, drawing.plan.nodes.get(id).row);
    const changed = [Math.min(before, state.step, now), Math.min(Math.max(before, state.step), drawing.nodes.length - 1)];
    for (let i = changed[0]; i <= changed[1]; i++) if (drawing.nodes[i]) mark(drawing, drawing.nodes[i], i);
    if (drawing.large) {
      drawing.edges = [];
      drawing.edgeGroup.replaceChildren();
      drawEdges(drawing, drawing.links.get(id) ?? []);
    }
    for (const edge of drawing.edges) {
      edge.path.classList.toggle("on", edge.src === id || edge.dst === id);
      edge.path.classList.toggle("faint", edge.at > state.step);
    }
    const at = drawing.plan.nodes.get(id), box = drawing.scroller;
    if (at.x < box.scrollLeft + 30 || at.x + at.wide > box.scrollLeft + box.clientWidth - 30) box.scrollLeft = at.x - box.clientWidth / 2;
  }
  const node = state.drawn[0].nodes[state.step], whole = $("timelines");
  if (node && whole.scrollHeight > whole.clientHeight) {
    const [its, seen] = [node.getBoundingClientRect(), whole.getBoundingClientRect()];
    const by = its.top < seen.top ? its.top - seen.top - 20 : its.bottom > seen.bottom ? its.bottom - seen.bottom + 20 : 0;
    if (by) whole.scrollBy({ top: by, behavior: Math.abs(by) > 3000 ? "instant" : "auto" });
  }
  if (focus && node && document.activeElement !== $("step")) node.focus({ preventScroll: true });
  $("said").textContent = node?.getAttribute("aria-label") ?? "";
  $("back").disabled = $("start").disabled = state.step === 0;
  $("next").disabled = $("end").disabled = state.step === Number($("step").max);
  showPanel();
}

function showPanel() {
  const panel = $("panel"), events = state.drawn.map(d => d.view.events[state.step]);
  panel.replaceChildren();
  panel.append(...events.map((event, i) => event ? details(state.drawn[i], event, events[1 - i]) : element("p", {}, "This trace has ended.")));
}

function details(drawing, event, other) {
  const rows = element("dl"), row = (name, value) => value !== undefined && value !== null && rows.append(element("dt", {}, name), element("dd", {}, String(value)));
  row("role", event.role); row("played by", event.human ? "a person" : null); row("to", event.to); row("tool", event.tool); row("wave", event.wave);
  row("refused", event.refused ? "yes" : null); row("worked", event.worked === 0 ? "no" : null);
  if (isTimed(drawing.view)) row("begins", `${number(event.t)} s`);
  else if (isCounted(drawing.view)) row("call", event.t);
  if (event.seconds) row("takes", `${number(event.seconds)} s`);
  if (event.prompt_tokens || event.reply_tokens) row("tokens", `${event.prompt_tokens ?? 0} read, ${event.reply_tokens ?? 0} written`);
  if (event.choices) row("menu", event.choices.join(", "));
  if (event.malformed) row("malformed", `expected ${event.malformed}`);
  const meta = element("div", { class: "meta" }, element("h2", {}, `${event.agent}: ${nameOf(event)}`), rows), made = element("div", { class: "details" }, meta);
  const block = (name, text, before, grade = null) => text !== undefined && made.append(
    element("div", { class: "block" }, element("h3", {}, name, grade), element("pre", { tabindex: 0 }, ...marked(text || "(empty)", before))));
  if (event.args !== undefined) block("Arguments", JSON.stringify(event.args, null, 1), other?.args && JSON.stringify(other.args, null, 1));
  block("Prompt", event.prompt, other?.prompt);
  block(event.type === "tool_result" ? "Result" : event.prompt === undefined ? "Text" : "Reply", event.text, other?.text);
  event.alternatives.forEach((text, i) => block(`Alternative ${i + 1}, not chosen`, text));
  if (event.prompt === undefined && event.text === undefined) row("digest", event.content_ref);
  for (const claim of event.claims) {
    const grade = claim.grade !== undefined ? element("span", { class: `pill ${claim.grade >= 1 ? "good" : "bad"}` }, `graded ${number(claim.grade)}`) : null;
    if (claim.text !== undefined && claim.text !== event.text) block(`Claims (${claim.kind}) `, claim.text, undefined, grade);
    else meta.append(element("h3", {}, `Claims this (${claim.kind}) `, grade));
  }
  for (const [name, mine, its] of [["Comes from", "dst", "src"], ["Leads to", "src", "dst"]]) {
    const links = element("div", { class: "links" });
    const found = (drawing.links.get(event.id) ?? []).filter(edge => edge[mine] === event.id && drawing.places.has(edge[its]));
    for (const edge of found.slice(0, MOST_LINKS)) {
      const at = drawing.places.get(edge[its]);
      const link = element("button", {}, `${at + 1} ${drawing.view.events[at].agent} (${edge.type.replaceAll("_", " ")})`);
      link.addEventListener("click", () => setStep(at));
      links.append(link);
    }
    if (found.length > MOST_LINKS) links.append(`and ${found.length - MOST_LINKS} more`);
    if (links.childElementCount) meta.append(element("h3", {}, name), links);
  }
  return made;
}

// The text with what is searched for marked, and, beside another text, what is not common at both ends.
function marked(text, before) {
  text = String(text);
  const query = $("query").value.trim().toLowerCase();
  if (query) {
    const parts = [], low = text.toLowerCase();
    let done = 0;
    for (let at = low.indexOf(query); at >= 0 && parts.length < 400; at = low.indexOf(query, done)) {
      parts.push(text.slice(done, at), element("mark", {}, text.slice(at, at + query.length)));
      done = at + query.length;
    }
    return [...parts, text.slice(done)];
  }
  if (before === undefined || before === null || before === text) return [text];
  let start = 0, end = 0;
  const most = Math.min(text.length, before.length);
  while (start < most && text[start] === before[start]) start++;
  while (end < most - start && text[text.length - 1 - end] === before[before.length - 1 - end]) end++;
  return [text.slice(0, start), element("span", { class: "changed" }, text.slice(start, text.length - end)), text.slice(text.length - end)];
}

function search() {
  const query = $("query").value.trim().toLowerCase();
  state.hits = [];
  state.drawn.forEach((drawing, which) => {
    drawing.hits.clear();
    if (query) {
      drawing.view.events.forEach((event, i) => {
        drawing.low[i] ??= [event.agent, event.to, event.type, event.tool, event.prompt, textOf(event)].filter(text => text).join("\u0000").toLowerCase();
        if (!drawing.low[i].includes(query)) return;
        drawing.hits.add(i);
        if (which === 0) state.hits.push(i);
      });
    }
    drawing.nodes.forEach((node, i) => node.classList.toggle("hit", drawing.hits.has(i)));
  });
  $("hits").textContent = query ? `${state.hits.length} found` : "";
}

function hit(direction) {
  const { hits, step } = state;
  if (!hits.length) return;
  const ahead = direction > 0 ? hits.find(i => i > step) ?? hits[0] : hits.findLast(i => i < step) ?? hits.at(-1);
  setStep(ahead, false);
}

function neighbour(direction) {
  const { view, plan } = state.drawn[0], here = plan.nodes.get(view.events[Math.min(state.step, view.events.length - 1)].id);
  let best = null;
  view.events.forEach((event, i) => {
    const at = plan.nodes.get(event.id), far = Math.abs(at.y - here.y) * 4 + Math.abs(at.x - here.x);
    if ((at.y - here.y) * direction > 0 && (best === null || far < best.far)) best = { i, far };
  });
  if (best) setStep(best.i);
}

function play(on = state.playing === null) {
  clearInterval(state.playing);
  state.playing = on ? setInterval(() => state.step < Number($("step").max) ? setStep(state.step + 1, false) : play(false), 700) : null;
  $("play").textContent = on ? "⏸ pause" : "▶ play";
  $("play").setAttribute("aria-label", on ? "Pause" : "Play");
}

function toggle(name, button) {
  state[name] = !state[name];
  $(button).setAttribute("aria-pressed", state[name]);
  draw();
}

const last = () => Number($("step").max);
const KEYS = {
  ArrowRight: () => setStep(state.step + 1), ArrowLeft: () => setStep(state.step - 1), ArrowDown: () => neighbour(1), ArrowUp: () => neighbour(-1),
  Home: () => setStep(0), End: () => setStep(last()), " ": () => play(), "/": () => $("query").focus(), e: () => toggle("causes", "causes"),
  n: () => state.differs >= 0 && setStep(state.differs), "?": () => $("keys").click(),
};
document.addEventListener("keydown", event => {
  const inside = event.target;
  if (event.key === "Escape") { $("query").value = ""; search(); showPanel(); state.drawn[0].nodes[state.step]?.focus(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || inside.matches("input[type=search], select")) return;
  if (inside.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
  if (inside.matches("pre") && (event.key === "ArrowUp" || event.key === "ArrowDown")) return;
  if (event.key === " " && inside.matches("button")) return;
  if (event.key === "Enter" && inside.matches(".node")) { $("panel").focus(); return; }
  if (KEYS[event.key]) { event.preventDefault(); KEYS[event.key](); }
});
$("start").addEventListener("click", () => setStep(0, false));
$("back").addEventListener("click", () => setStep(state.step - 1, false));
$("next").addEventListener("click", () => setStep(state.step + 1, false));
$("end").addEventListener("click", () => setStep(last(), false));
$("play").addEventListener("click", () => play());
$("step").addEventListener("input", () => setStep(Number($("step").value), false));
$("causes").addEventListener("click", () => toggle("causes", "causes"));
$("scale").addEventListener("click", () => toggle("timed", "scale"));
$("keys").addEventListener("click", () => { $("help").hidden = !$("help").hidden; $("keys").setAttribute("aria-expanded", !$("help").hidden); });
$("query").addEventListener("input", () => { search(); showPanel(); });
$("query").addEventListener("keydown", event => { if (event.key === "Enter") hit(event.shiftKey ? -1 : 1); });

function choose() {
  const [a, b] = [Number($("first").value), $("second").value];
  state.shown = b === "" ? [a] : [a, Number(b)];
  state.step = 0;
  draw();
}
// Forks stand below the trace that they left, as a tree; a fork whose parent is not here stands by itself.
const offered = new Set();
function offer(i, depth) {
  if (offered.has(i)) return;
  offered.add(i);
  const view = VIEWS[i], score = view.score, parent = view.events[0].parent;
  const apart = parent && depth === 0 ? ` (fork of ${parent.trace_id})` : "";
  const label = `${"\u00a0\u00a0".repeat(depth)}${depth ? "↳ " : ""}${i + 1}. ${view.task_id}${score === undefined ? "" : ` · ${number(score)}`} · ${view.trace_id}${apart}`;
  for (const id of ["first", "second"]) $(id).append(element("option", { value: i }, label));
  VIEWS.forEach((other, j) => other.events[0].parent?.trace_id === view.trace_id && offer(j, depth + 1));
}
const IDS = new Set(VIEWS.map(view => view.trace_id));
VIEWS.forEach((view, i) => IDS.has(view.events[0].parent?.trace_id) || offer(i, 0));
VIEWS.forEach((_, i) => offer(i, 0));  // parents in a circle
$("second").prepend(element("option", { value: "" }, "nothing"));
$("second").value = "";
$("compare").hidden = VIEWS.length < 2;
for (const id of ["first", "second"]) $(id).addEventListener("change", choose);
for (const [type, [sign, name]] of Object.entries(KINDS)) {
  if (VIEWS.some(view => view.events.some(event => event.type === type))) $("legend").append(element("span", {}, element("b", { class: type }, sign), name));
}
document.addEventListener("scroll", () => state.drawn.forEach(drawRows), true);
addEventListener("resize", () => state.drawn.forEach(drawRows));
choose();
