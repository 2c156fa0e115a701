"use strict";
const TOOLS = [
  ["distance", "Line", 2, 2, "Click both ends."],
  ["path", "Path", 2, 0, "Click along the path; Enter or double-click ends it."],
  ["height", "Height", 1, 2, "Click foot and top; Enter after one point measures above the ground."],
  ["area", "Area", 3, 0, "Click the corners of a flat area; Enter or double-click ends it."],
  ["angle", "Angle", 3, 3, "Click an end, the corner, the other end."],
  ["range", "Range", 1, 1, "Click a point: its distance from the camera."],
  ["plane", "Plane", 3, 0, "Click the corners of a flat region; lines can then lie on it."],
  ["box", "Box", 2, 2, "Click two opposite corners around an object."],
  ["ground", "Ground", 3, 0, "Click the corners of a piece of ground; Enter ends it."],
  ["plane-distance", "Room width", 3, 0, "Click the corners of one surface, Enter, then those of the other, Enter."],
  ["reference", "+ Reference", 2, 2, "Click both ends of a length that you know."],
];
const COLOURS = ["#ffb000", "#56c8ff", "#78e682", "#ff785a", "#e696ff", "#faf05a"];
const AREAS = ["area", "plane", "ground", "plane-distance"];
const $ = (id) => document.getElementById(id);
const canvas = $("canvas"), pen = canvas.getContext("2d"), loupe = $("loupe").getContext("2d");
const image = new Image();
let info = null, items = [], draft = null, tool = "distance", selected = null, counter = 0;
let past = [], future = [], view = {scale: 1, x: 0, y: 0}, results = new Map(), sent = 0, received = 0, timer = 0;
let unit = "m", drag = null, cursor = null, saved = "", speaking = "";

async function call(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)};
  const reply = await fetch(path, options);
  const content = await reply.json();
  if (!reply.ok) throw content.error ?? {message: `the server answered ${reply.status}`, hint: ""};
  return content;
}

function toolOf(kind) { return TOOLS.find((each) => each[0] === kind); }
function toScreen(p) { return [p[0] * view.scale + view.x, p[1] * view.scale + view.y]; }
function toPhoto(x, y) { return [(x - view.x) / view.scale, (y - view.y) / view.scale]; }
function inside(p) { return p[0] >= 0 && p[1] >= 0 && p[0] <= info.width && p[1] <= info.height; }
function snapshot() { return JSON.stringify({items, draft, counter, tool}); }
function remember() { past.push(snapshot()); if (past.length > 500) past.shift(); future = []; }
function restore(text) {
  ({items, draft, counter, tool} = JSON.parse(text));
  if (!items.some((each) => each.id === selected)) selected = null;
  changed();
}
function undo() { if (past.length) { future.push(snapshot()); restore(past.pop()); } }
function redo() { if (future.length) { past.push(snapshot()); restore(future.pop()); } }

function chooseTool(kind) {
  if (draft) { remember(); draft = null; }
  tool = kind; changed();
}
function freshName(kind) {
  const word = kind === "distance" ? "line" : kind;
  const taken = new Set(items.map((each) => each.name));
  let number = 1;
  while (taken.has(`${word} ${number}`)) number += 1;
  return kind === "ground" && !taken.has("ground") ? "ground" : `${word} ${number}`;
}
function addPoint(p) {
  remember();
  if (!draft) draft = {kind: tool, points: [], first: null};
  draft.points.push(p);
  const most = toolOf(tool)[3];
  if (most && draft.points.length === most) endDraft(); else changed();
}
function finish() {
  if (!draft || draft.points.length < toolOf(draft.kind)[2]) return;
  remember();
  if (draft.kind === "plane-distance" && !draft.first) {
    draft.first = draft.points; draft.points = []; changed(); return;
  }
  endDraft();
}
function endDraft() {
  const item = {id: ++counter, kind: draft.kind, name: freshName(draft.kind), points: draft.points, second: [],
    on: "", length: "", object: "", unit: "", pick_sigma: 1};
  if (draft.first) { item.points = draft.first; item.second = draft.points; }
  items.push(item); selected = item.id; draft = null; changed();
  if (item.kind === "reference") document.querySelector(`[data-length="${item.id}"]`)?.focus();
}
function removeItem(id) { remember(); items = items.filter((each) => each.id !== id); changed(); }

function isUnsaved() { return Boolean(info) && (draft !== null || JSON.stringify(request()) !== saved); }
function changed() {
  drawTools(); drawList(); draw();
  clearTimeout(timer);
  timer = setTimeout(solve, 60);
}
async function solve() {
  const number = ++sent;
  try {
    const report = items.length ? await call("measure", request()) : {measurements: []};
    if (number < received) return;
    received = number;
    results = new Map();
    for (const row of report.measurements) {
      const item = items.find((each) => each.name === row.name)
        ?? items.find((each) => each.kind === "box" && row.name.startsWith(`${each.name}.`));
      if (item) results.set(item.id, [...(results.get(item.id) ?? []), row]);
    }
    results.reference = report.reference;
    showProblem("measure", null);
  } catch (error) {
    if (number < received) return;
    received = number; results = new Map(); showProblem("measure", error);
  }
  $("banner").hidden = !info.assumed || items.some(isKnown);
  drawList(); draw();
  document.body.dataset.settled = String(number);
}
// A problem stays until the same speaker succeeds: a new measurement must not hide the problem of a refused Save.
function showProblem(speaker, error) {
  if (!error && speaker !== speaking) return;
  speaking = error ? speaker : "";
  $("problem").hidden = !error;
  $("problem").textContent = error ? `${error.message}${error.hint ? `: ${error.hint}` : ""}` : "";
}
async function save(isReplacing, isDropping = false) {
  $("saved").textContent = "";
  if (!isDropping && items.some((each) => each.kind === "reference" && !isKnown(each))) {
    showProblem("save", {message: "a reference has no length and would not be saved", hint: "type its length, or"});
    const drop = element("button", {id: "drop", textContent: "Save without it", onclick: () => save(isReplacing, true)});
    $("problem").append(element("div", {}, drop));
    return;
  }
  const content = request(), text = JSON.stringify(content);
  try {
    const reply = await call("save", isReplacing ? {...content, replace: true} : content);
    saved = text;
    $("saved").textContent = `Saved:\n${reply.files.join("\n")}`;
    showProblem("save", reply.error ?? null);
  } catch (error) {
    showProblem("save", error);
    if (error.code !== "OUTPUT_EXISTS") return;
    const replace = element("button", {id: "replace", textContent: "Replace it", onclick: () => save(true, true)});
    $("problem").append(element("div", {}, replace));
  }
}

function element(name, fields, ...children) {
  const made = Object.assign(document.createElement(name), fields);
  made.append(...children);
  return made;
}
function drawTools() {
  $("tools").replaceChildren(...TOOLS.map(([kind, label]) => {
    const button = element("button", {textContent: label, onclick: () => chooseTool(kind)});
    button.setAttribute("aria-pressed", String(kind === tool));
    button.dataset.kind = kind;
    if (kind === "reference") button.className = "known";
    return button;
  }));
  $("undo").disabled = !past.length; $("redo").disabled = !future.length;
  const isSecond = draft?.first;
  $("help").textContent = (isSecond ? "Now the other surface: " : "") + toolOf(tool)[4]
    + "  Drag: move the photo. Wheel: zoom.";
}
function colourOf(index) { return COLOURS[index % COLOURS.length]; }
function decimals(row) { return Math.max(0, row.decimals); }
function endText(end, row) {
  const text = end.toFixed(decimals(row));
  return end > 0 && Number(text) === 0 ? String(end) : text;
}
function shown(unitName) { return unitName === "deg" ? "°" : unitName.replace("2", "²"); }
function valueText(row) {
  if (row.value === null) return "";
  const text = row.interval[0] > 0 ? endText(row.value, row) : row.value.toFixed(decimals(row));
  return `${text} ${shown(row.unit)}`;
}
function drawList() {
  const focus = document.activeElement?.dataset?.key, start = document.activeElement?.selectionStart;
  const planes = items.filter((each) => ["plane", "area", "ground"].includes(each.kind));
  $("list").replaceChildren(...items.map((item, index) => card(item, index, planes)));
  $("empty").hidden = items.length > 0;
  const again = focus && document.querySelector(`[data-key="${focus}"]`);
  if (again) { again.focus(); if (start !== null && again.setSelectionRange) again.setSelectionRange(start, start); }
}
function edited(item, field, input) { remember(); item[field] = input.value; changed(); }
function editedLength(item, field, input) { remember(); delete item.tolerance; item[field] = input.value; changed(); }
function card(item, index, planes) {
  const name = element("input", {value: item.name, ariaLabel: "Name", maxLength: 200,
    onchange: (event) => {
      const text = event.target.value.trim();
      if (!text || items.some((each) => each !== item && each.name === text)) { event.target.value = item.name; return; }
      const old = item.name;
      edited(item, "name", {value: text});
      items.forEach((each) => { if (each.on === old) each.on = text; });
    }});
  name.dataset.key = `name-${item.id}`;
  const remove = element("button", {textContent: "×", title: "Remove", ariaLabel: `Remove ${item.name}`,
    onclick: () => removeItem(item.id)});
  const made = element("li", {onclick: () => { selected = item.id; draw();
    document.querySelectorAll("li").forEach((each) => each.classList.toggle("selected", each === made)); }},
    element("div", {className: "top"}, name, remove));
  made.style.borderLeftColor = item.kind === "reference" ? "#8893a0" : colourOf(index);
  made.classList.toggle("selected", item.id === selected);
  made.dataset.name = item.name;
  if (item.kind === "reference") made.append(knownLength(item));
  for (const row of results.get(item.id) ?? []) made.append(...resultLines(row, item));
  if (["distance", "path", "angle", "range"].includes(item.kind) && planes.length) made.append(surface(item, planes));
  return made;
}
function knownLength(item) {
  const length = element("input", {value: item.length, placeholder: `0.297 m`, ariaLabel: "Known length",
    disabled: Boolean(item.object), onchange: (event) => editedLength(item, "length", event.target)});
  length.dataset.length = item.id; length.dataset.key = `length-${item.id}`;
  const object = element("select", {ariaLabel: "Known object", onchange: (event) => editedLength(item, "object", event.target)},
    element("option", {value: "", textContent: "typed length"}),
    ...info.objects.map((each) => element("option", {value: each, textContent: each})));
  object.value = item.object;
  const box = element("div", {}, element("div", {className: "known-length"}, length, object));
  const known = results.reference;
  if (known && known.names.includes(item.name)) {
    box.append(element("div", {className: "note",
      textContent: `all lengths × ${known.factor} ± ${(196 * known.rel_sigma).toFixed(1)} %`}));
  }
  return box;
}
function surface(item, planes) {
  const select = element("select", {ariaLabel: "Lies on", onchange: (event) => edited(item, "on", event.target)},
    element("option", {value: "", textContent: "free in space"}),
    ...planes.filter((each) => each !== item).map((each) =>
      element("option", {value: each.name, textContent: `on ${each.name}`})));
  select.value = item.on;
  return element("div", {className: "note"}, select);
}
function resultLines(row, item) {
  if (row.error) {
    return [element("div", {className: "note error", textContent: row.error.message}),
      element("div", {className: "note", textContent: row.error.hint})];
  }
  const part = row.name === item.name ? "" : ` ${row.name.slice(item.name.length + 1)}`;
  const [low, high] = row.interval.map((each) => endText(each, row));
  const first = element("div", {}, element("span", {className: "value", textContent: valueText(row)}),
    element("span", {className: "soft", textContent: part}),
    element("span", {className: `pill ${row.trust}`, textContent: row.trust}));
  const made = [first, element("div", {className: "range", textContent: `${low} to ${high} ${shown(row.unit)}`})];
  if (row.improve.length) made.push(element("div", {className: "note", textContent: `to narrow it: ${row.improve[0].replace(/ \((--|on )[^)]*\)/g, "")}`}));
  for (const each of row.warnings) made.push(element("div", {className: "note warn", textContent: each}));
  return made;
}

function resize() {
  const ratio = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
  canvas.width = Math.round(box.width * ratio); canvas.height = Math.round(box.height * ratio);
  draw();
}
function fit() {
  const box = canvas.getBoundingClientRect();
  view.scale = Math.min(box.width / info.width, box.height / info.height) * 0.97;
  view.x = (box.width - info.width * view.scale) / 2; view.y = (box.height - info.height * view.scale) / 2;
  draw();
}
function zoom(factor, x, y) {
  const scale = Math.min(40, Math.max(0.02, view.scale * factor)), real = scale / view.scale;
  view = {scale, x: x - (x - view.x) * real, y: y - (y - view.y) * real};
  draw();
}
function draw() {
  if (!info) return;
  const ratio = window.devicePixelRatio || 1;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.imageSmoothingEnabled = view.scale < 3;
  pen.drawImage(image, view.x, view.y, info.width * view.scale, info.height * view.scale);
  items.forEach((item, index) => {
    const colour = item.kind === "reference" ? "#ffffff" : colourOf(index);
    for (const points of [item.points, item.second]) {
      outline(points, colour, AREAS.includes(item.kind), item.kind === "reference", item.kind === "box");
    }
    label(item, colour);
  });
  if (draft) {
    if (draft.first) outline(draft.first, "#ffffff", true, true);
    outline(cursor && inside(cursor) ? [...draft.points, cursor] : draft.points, "#ffffff",
      AREAS.includes(draft.kind), true, draft.kind === "box");
  }
  drawLoupe();
}
function outline(points, colour, isArea, isDashed, isBox) {
  if (!points.length) return;
  let at = points.map(toScreen);
  if (isBox && at.length === 2) {
    const [[a, b], [c, d]] = at;
    at = [[a, b], [c, b], [c, d], [a, d], [a, b]];
  }
  pen.beginPath();
  at.forEach((each, index) => (index ? pen.lineTo(...each) : pen.moveTo(...each)));
  if (isArea && at.length > 2) { pen.closePath(); pen.fillStyle = `${colour}33`; pen.fill(); }
  pen.setLineDash([]); pen.strokeStyle = "#14141888"; pen.lineWidth = 5; pen.stroke();
  pen.setLineDash(isDashed ? [8, 6] : []); pen.strokeStyle = colour; pen.lineWidth = 2.4; pen.stroke();
  pen.setLineDash([]);
  for (const [x, y] of points.map(toScreen)) {
    pen.beginPath(); pen.arc(x, y, 5, 0, 7); pen.fillStyle = "#141418"; pen.fill();
    pen.beginPath(); pen.arc(x, y, 3.6, 0, 7); pen.fillStyle = colour; pen.fill();
  }
}
function label(item, colour) {
  const rows = (results.get(item.id) ?? []).filter((row) => row.value !== null);
  const text = `${item.name}  ${rows.map(valueText).join(" × ")}`.trim();
  const all = [...item.points, ...item.second].map(toScreen);
  if (!all.length) return;
  const x = all.reduce((sum, p) => sum + p[0], 0) / all.length, y = all.reduce((sum, p) => sum + p[1], 0) / all.length;
  pen.font = `${item.id === selected ? 600 : 400} 14px system-ui, "DejaVu Sans", sans-serif`;
  const width = pen.measureText(text).width;
  const isFlat = all.length > 1 && Math.abs(all[0][0] - all[1][0]) > Math.abs(all[0][1] - all[1][1]);
  const left = isFlat ? x - width / 2 - 7 : x + 10, top = isFlat ? y - 36 : y - 12;
  pen.fillStyle = "#141418dd"; pen.beginPath(); pen.roundRect(left, top, width + 14, 24, 5); pen.fill();
  pen.fillStyle = colour; pen.textBaseline = "middle"; pen.fillText(text, left + 7, top + 13);
}
function drawLoupe() {
  $("loupe").hidden = !cursor || !inside(cursor);
  if ($("loupe").hidden) return;
  const reach = 75 / Math.max(4, view.scale * 3), sx = image.width / info.width, sy = image.height / info.height;
  loupe.imageSmoothingEnabled = false;
  loupe.fillStyle = "#20252c"; loupe.fillRect(0, 0, 150, 150);
  loupe.drawImage(image, (cursor[0] - reach) * sx, (cursor[1] - reach) * sy, 2 * reach * sx, 2 * reach * sy, 0, 0, 150, 150);
  loupe.strokeStyle = "#ff2d55"; loupe.lineWidth = 1; loupe.beginPath();
  loupe.moveTo(75, 55); loupe.lineTo(75, 95); loupe.moveTo(55, 75); loupe.lineTo(95, 75); loupe.stroke();
}

function hit(x, y) {
  for (const item of [...items].reverse()) {
    for (const points of [item.points, item.second]) {
      const index = points.findIndex((p) => { const [a, b] = toScreen(p); return Math.hypot(a - x, b - y) < 9; });
      if (index >= 0) return {item, points, index};
    }
  }
  return null;
}
function place(event) { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; }
const rounded = (p) => p.slice(0, 2).map((each) => Math.round(each * 100) / 100);
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  const [x, y] = place(event), found = event.button === 0 ? hit(x, y) : null;
  drag = {x, y, startX: x, startY: y, found, moved: false, button: event.button, before: found ? snapshot() : ""};
  if (found) selected = found.item.id;
});
canvas.addEventListener("pointermove", (event) => {
  const [x, y] = place(event);
  cursor = toPhoto(x, y);
  if (drag) {
    if (Math.hypot(x - drag.startX, y - drag.startY) > 4) drag.moved = true;
    if (drag.moved && drag.found) {
      const p = cursor.map((each, axis) => Math.min(Math.max(0, each), axis ? info.height : info.width));
      drag.found.points[drag.found.index] = [...rounded(p), ...drag.found.points[drag.found.index].slice(2)];
      clearTimeout(timer); timer = setTimeout(solve, 60);
    } else if (drag.moved) { view.x += x - drag.x; view.y += y - drag.y; }
    drag.x = x; drag.y = y;
  }
  draw();
});
canvas.addEventListener("pointerup", (event) => {
  if (!drag) return;
  const [x, y] = place(event), done = drag;
  drag = null;
  if (done.moved && done.found) { past.push(done.before); future = []; changed(); return; }
  if (done.moved || done.button !== 0) { drawList(); draw(); return; }
  // A click on an existing point starts the next line exactly there; dragging moves the point.
  const p = done.found ? [...done.found.points[done.found.index]] : toPhoto(x, y);
  if (inside(p)) addPoint(rounded(p));
});
canvas.addEventListener("pointerleave", () => { if (!drag) { cursor = null; draw(); } });
canvas.addEventListener("dblclick", () => {
  if (draft && draft.points.length > toolOf(draft.kind)[2]) draft.points.pop();
  finish();
});
canvas.addEventListener("contextmenu", (event) => event.preventDefault());
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...place(event));
}, {passive: false});
window.addEventListener("keydown", (event) => {
  const isTyping = ["INPUT", "SELECT"].includes(document.activeElement?.tagName);
  const isCommand = event.ctrlKey || event.metaKey;
  if (isCommand && event.key.toLowerCase() === "s") { event.preventDefault(); save(false); return; }
  if (isTyping) return;
  if (isCommand && event.key.toLowerCase() === "z") { event.preventDefault(); event.shiftKey ? redo() : undo(); }
  else if (isCommand && event.key.toLowerCase() === "y") { event.preventDefault(); redo(); }
  else if (event.key === "Enter") { finish(); }
  else if (event.key === "Escape" && draft) { remember(); draft = null; changed(); }
  else if ((event.key === "Delete" || event.key === "Backspace") && selected !== null) { removeItem(selected); selected = null; }
  else if (event.key === "f") { fit(); }
  else if (event.key === "+") { zoom(1.3, canvas.clientWidth / 2, canvas.clientHeight / 2); }
  else if (event.key === "-") { zoom(1 / 1.3, canvas.clientWidth / 2, canvas.clientHeight / 2); }
});
window.addEventListener("resize", resize);
window.addEventListener("beforeunload", (event) => { if (isUnsaved()) event.preventDefault(); });
$("undo").onclick = undo; $("redo").onclick = redo; $("fit").onclick = fit; $("save").onclick = () => save(false);
$("unit").onchange = (event) => { unit = event.target.value; items.forEach((each) => { each.unit = ""; }); changed(); };
$("allow").onchange = () => changed();

(async () => {
  info = await call("info");
  unit = $("unit").value = info.unit;
  $("allow").checked = info.allow_assumed_focal;
  $("photo-name").textContent = info.photo; document.title = `Measure ${info.photo}`;
  $("camera").textContent = info.camera;
  $("banner").firstElementChild.textContent = "The focal length is a guess: add a reference, or";
  items = info.items; counter = items.length; saved = JSON.stringify(request());
  image.onload = () => { resize(); fit(); changed(); document.body.dataset.ready = "yes"; };
  image.src = "photo.jpg";
})().catch((error) => showProblem("start", error));
