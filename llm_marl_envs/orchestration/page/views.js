"use strict";
// Data may be anybody's: whatever is not of its type is shown as text, or left out.
const textIn = value => value === undefined || value === null ? undefined : typeof value === "string" ? value : JSON.stringify(value);
const numberIn = value => typeof value === "number" && Math.abs(value) < 1e12 ? value : undefined;
const objectIn = value => value !== null && typeof value === "object" && !Array.isArray(value) ? value : {};
const listIn = value => Array.isArray(value) ? value : [];
const numbersIn = value => Object.entries(objectIn(value)).filter(([, x]) => numberIn(x) !== undefined);
function eventIn(value, index) {
  const event = objectIn(value), made = { id: textIn(event.id) ?? `#${index}`, type: textIn(event.type) ?? "?", agent: textIn(event.agent) ?? "?", t: Math.max(0, numberIn(event.t) ?? 0) };
  for (const name of ["role", "to", "tool", "prompt", "text", "content_ref", "malformed", "question", "status", "why", "answer", "axis", "partly_timed"]) made[name] = textIn(event[name]);
  for (const name of ["wave", "seconds", "prompt_tokens", "reply_tokens", "worked"]) made[name] = numberIn(event[name]);
  if (made.seconds < 0) made.seconds = undefined;
  made.args = event.args ?? undefined;
  made.choices = Array.isArray(event.choices) ? event.choices.map(textIn) : undefined;
  made.claims = listIn(event.claims).map(objectIn).map(claim => ({ kind: textIn(claim.kind), text: textIn(claim.text), grade: numberIn(claim.grade) }));
  made.alternatives = listIn(event.alternatives).map(textIn);
  made.skipped = numbersIn(event.skipped);
  made.human = event.human === true;
  made.refused = event.refused === true;
  made.imported = event.imported === true;
  const parent = objectIn(event.parent);
  made.parent = parent.trace_id === undefined ? undefined : { trace_id: textIn(parent.trace_id), turn: textIn(parent.turn) };
  return made;
}
function viewIn(value) {
  const view = objectIn(value), events = listIn(view.events).map(eventIn), rewards = new Map(numbersIn(view.rewards));
  if (!events.length) events.push(eventIn({ agent: "(nobody)", text: "There are no events." }, 0));
  return {
    trace_id: textIn(view.trace_id) ?? "?", task_id: textIn(view.task_id) ?? "?", system: textIn(view.system), topology: textIn(view.topology), events,
    edges: listIn(view.edges).map(objectIn).map(edge => ({ src: textIn(edge.src), dst: textIn(edge.dst), type: textIn(edge.type) ?? "?" })),
    score: rewards.get("team"), costs: new Map(numbersIn(view.costs)), metrics: numbersIn(view.metrics),
  };
}

const isCounted = view => view.events[0].axis === "calls";  // a log without times: its axis counts calls
const isTimed = view => !isCounted(view) && view.events.some(event => event.seconds > 0);
const laneOf = event => (event.type === "spawn" || event.type === "despawn") && event.to || event.agent;
// Where everything stands: lanes in order of first appearance, columns by wave (by distinct time where there are no waves).
function layoutOf(view, timed) {
  const events = view.events, compact = events.length > 60, dense = new Set(events.map(laneOf)).size > 100;
  const slot = compact ? 30 : 112, box = compact ? 24 : 104, tall = dense ? 24 : compact ? 34 : 44, gap = compact ? 8 : 22;
  const lanes = new Map(), nodes = new Map(), columns = new Map(), used = new Map();
  const lane = name => lanes.get(name) ?? lanes.set(name, { name, row: lanes.size, from: null, to: null }).get(name);
  const waved = events.every(event => Number.isInteger(event.wave));
  const columnOf = event => waved ? event.wave : event.t;
  for (const event of events) {
    lane(event.agent);
    const key = columnOf(event), place = isCounted(view) ? key : `${key} ${laneOf(event)}`, index = used.get(place) ?? 0;
    lane(laneOf(event));
    used.set(place, index + 1);
    nodes.set(event.id, { event, index, key });
    columns.set(key, Math.max(columns.get(key) ?? 0, index + 1));
  }
  let x = 14, width = 0;
  const last = events.reduce((most, event) => Math.max(most, event.t + (event.seconds ?? 0)), 1e-9);
  const perSecond = Math.max(760, events.length * (compact ? 14 : 60)) / last;
  const waves = [];
  if (!timed) {
    for (const key of [...columns.keys()].sort((a, b) => a - b)) {
      const wide = columns.get(key) * slot;
      waves.push({ key, x, wide });
      columns.set(key, x);
      x += wide + gap;
    }
  }
  for (const node of nodes.values()) {
    node.x = timed ? 14 + node.event.t * perSecond : columns.get(node.key) + node.index * slot;
    node.wide = timed ? Math.max(10, (node.event.seconds ?? 0) * perSecond - 2) : box;
    node.row = lane(laneOf(node.event)).row;
    node.y = node.row * tall + 20 + tall / 2;
    width = Math.max(width, node.x + node.wide + 24);
  }
  for (const node of nodes.values()) {
    const its = lane(laneOf(node.event));
    if (node.event.type === "spawn") its.from = node.x;
    if (node.event.type === "despawn") its.to = node.x + node.wide / 2;
  }
  return { lanes: [...lanes.values()], nodes, waves, waved, width, tall, compact, dense, timed, last, perSecond, height: lanes.size * tall + 24 };
}

