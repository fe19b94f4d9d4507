// Shows numbers of the grid; none is computed here but sums of what stands in it, and places on the screen.
const grid = JSON.parse(document.getElementById("grid").textContent);
const controls = Object.fromEntries(["view", "board", "model", "setting", "context"].map(id => [id, document.getElementById(id)]));
const body = document.querySelector("#chart tbody"), detail = document.getElementById("detail");
const RUNS = new Set(["fits", "tight", "fits with swap"]);
const NAMES = { tight: "fits, tightly", unknown: "would fit; unknown whether the runtime loads it" };

function cell(board, model) {
  const { models, settings, contexts } = grid;
  const at = ((board * models.length + model) * settings.length + +controls.setting.value) * contexts.length + +controls.context.value;
  const [verdict, needed, weights, kv, speed, reason] = grid.cells[at];
  return { verdict: grid.verdicts[verdict], needed, weights, kv, speed: speed < 0 ? null : speed / 10, reason: grid.reasons[reason] };
}

const gib = mib => (mib / 1024).toFixed(1);
const short = name => name.slice(name.lastIndexOf("/") + 1);

function add(parent, tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent.append(made);
  return made;
}

function track(parent, entry, scale) {
  const made = add(parent, "div", undefined, { class: "track", "aria-hidden": "true" });
  const parts = { weights: entry.weights, kv: entry.kv, rest: Math.max(0, entry.needed - entry.weights - entry.kv) };
  for (const [name, size] of Object.entries(parts)) {
    const part = add(made, "span", undefined, { class: "part-" + name });
    part.style.width = (100 * size / scale) + "%";
  }
  add(made, "span", undefined, { class: "limit" }).style.insetInlineStart = (100 * entry.usable / scale) + "%";
}

function entries() {
  const byBoard = controls.view.value === "board";
  const chosen = +(byBoard ? controls.board : controls.model).value;
  const subjects = byBoard ? grid.models.map(short) : grid.boards.map(board => board.name);
  return subjects.map((name, number) => {
    const [board, model] = byBoard ? [chosen, number] : [number, chosen];
    return { name, board, model, usable: grid.boards[board].usable, ...cell(board, model) };
  });
}

function show() {
  const byBoard = controls.view.value === "board";
  document.getElementById("board-label").hidden = !byBoard;
  document.getElementById("model-label").hidden = byBoard;
  document.getElementById("subject").textContent = byBoard ? "model" : "board";
  const list = entries();
  if (byBoard)
    list.sort((a, b) => RUNS.has(b.verdict) - RUNS.has(a.verdict) || (a.needed || 1e9) - (b.needed || 1e9));
  const most = Math.max(...list.map(entry => entry.usable));
  body.replaceChildren();
  for (const entry of list) {
    const runs = RUNS.has(entry.verdict);
    const row = add(body, "tr", undefined, { role: "row", class: runs ? "" : "no" });
    const head = add(row, "th", undefined, { scope: "row", role: "rowheader" });
    add(head, "button", entry.name, { type: "button" }).addEventListener("click", () => explain(entry));
    const bars = add(row, "td", undefined, { class: "bars", role: "cell" });
    if (entry.needed) track(bars, entry, Math.max(most * 1.25, 1));
    else add(bars, "span", "–");
    add(row, "td", entry.needed ? gib(entry.needed) + " GiB" : "–", { class: "number", role: "cell" });
    add(row, "td", entry.speed === null || !entry.needed ? "–" : entry.speed.toFixed(entry.speed < 10 ? 1 : 0) + " tokens/s", { class: "number", role: "cell" });
    const tone = runs ? (entry.verdict === "fits" ? "good" : "warn") : entry.verdict === "unknown" ? "warn" : "bad";
    const said = add(row, "td", undefined, { class: "said", role: "cell" });
    add(said, "span", NAMES[entry.verdict] ?? entry.verdict, { class: tone });
    if (entry.reason && entry.verdict === "impossible") add(said, "small", " " + entry.reason, { class: "soft" });
  }
  const fitting = list.filter(entry => RUNS.has(entry.verdict)).length;
  const subject = byBoard ? grid.boards[+controls.board.value].name : short(grid.models[+controls.model.value]);
  document.getElementById("found").textContent = byBoard
    ? `${fitting} of ${list.length} models fit on ${subject} (${gib(grid.boards[+controls.board.value].usable)} GiB usable)`
    : `${subject} fits on ${fitting} of ${list.length} boards`;
  detail.replaceChildren();
  const chosen = new URLSearchParams(Object.entries(controls).map(([name, control]) => [name, control.value]));
  history.replaceState(null, "", "#" + chosen);
}

function explain(entry) {
  const { runtime, quantization } = grid.settings[+controls.setting.value];
  const context = grid.contexts[+controls.context.value], model = grid.models[entry.model], board = grid.boards[entry.board];
  detail.replaceChildren();
  add(detail, "h2", `${short(model)} on ${board.name}`, { style: "margin-block-start:.4rem" });
  const verdict = (NAMES[entry.verdict] ?? entry.verdict) + (entry.reason ? ": " + entry.reason : "");
  add(detail, "p", verdict);
  if (entry.needed)
    add(detail, "p", `${gib(entry.needed)} GiB: ${gib(entry.weights)} weights, ${gib(entry.kv)} KV cache for ${context} tokens, the rest runtime and system; ${gib(board.usable)} of the board are usable.`);
  const options = `${model} --runtime ${runtime} --quantization ${quantization} --context ${context}`;
  for (const command of [`jetson-containers llm fit ${options} --board ${board.id}`, `jetson-containers llm chat ${options}`]) {
    const box = add(detail, "div", undefined, { class: "command" });
    add(add(box, "pre"), "code", command);
    addCopy(box);
  }
}

for (const [name, value] of new URLSearchParams(location.hash.slice(1)))
  if (controls[name] && [...controls[name].options].some(option => option.value === value)) controls[name].value = value;
for (const control of Object.values(controls)) control.addEventListener("change", show);
show();
