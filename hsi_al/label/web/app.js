// The page: what is asked, what is chosen, and what a key does.

import { ask, Refused } from "./api.js";
import { openAssessment, updateAssessment } from "./assessment.js";
import { listClasses, startClasses } from "./classes.js";
import { $, build, count, duration, percent, say, showDialog } from "./dom.js";
import { listen, showHelp } from "./keys.js";
import { listLabels, startLabels } from "./labels.js";
import { layers, layerShown, startLayers, tilePath, tileVersion, updateControls } from "./layers.js";
import { alert, change, clearAlert, running, session, settled, start, underway } from "./session.js";
import { Spectrum } from "./spectrum.js";
import { Viewer } from "./viewer.js";

const RADIUS = 20; // of the window: 41 x 41 pixels
const AGAIN = 2000; // ms until what can't be read is asked for again
const LETTERS_FROM = 16; // screen pixels per pixel: labels then carry the key of their class

let viewer = null;
let spectrum = null;
let chosen = null; // a pixel that the person chose instead of the asked one
let shape = null; // corners of the polygon that is being drawn, [x, y] in the scene
let details = null; // of /api/pixel for the target
let strong = null; // class whose mean spectrum is brought out

/** The pixel that a key answers now. */
const target = () => chosen ?? session.state?.query?.pixel_id ?? null;
const place = (pixel) => [Math.floor(pixel / session.scene.width), pixel % session.scene.width];
const classOf = (value) => session.state.classes.find((one) => one.value === value);
const words = (pixel) => {
  const [row, column] = place(pixel);
  return `row ${row}, column ${column}`;
};

// What is asked

/** Show the pixel that a key answers now, in view unless `follow` is false; returns whether it is another one. */
function showTarget(follow = true) {
  const pixel = target();
  const { state } = session;
  const element = $("query");
  const other = String(pixel ?? "") !== element.dataset.pixelId;
  if (other) {
    element.dataset.pixelId = pixel ?? "";
    details = null;
    $("guess").textContent = "";
    $("place").textContent = "";
    if (pixel !== null) {
      if (follow) viewer.follow(...place(pixel));
      fetchDetails();
    } else drawSpectrum();
  }
  const none = !state.classes.length ? "Nothing is asked yet."
    : state.busy ? "One moment: the first question is being chosen." : "No pixel is left to ask. Click any to label it.";
  $("question").textContent = shape ? "Which class is this shape?" : chosen !== null ? "Which class is the pixel you chose?"
    : pixel === null ? "No question" : "Which class is this pixel?";
  const [row, column] = pixel === null ? [] : place(pixel);
  element.replaceChildren(...(pixel === null ? [none]
    : [build("span", {}, `row ${row}`), ", ", build("span", {}, `column ${column}`)]));
  $("skip").disabled = pixel === null;
  $("undo").disabled = shape ? !shape.length : !state.can_undo;
  $("redo").disabled = Boolean(shape) || !state.can_redo;
  drawWindow();
  return other;
}

async function fetchDetails() {
  const pixel = target();
  if (pixel === null) return;
  try {
    const answer = await ask("GET", `/api/pixel/${pixel}`);
    if (pixel !== target()) return;
    clearAlert("scene spectrum");
    details = answer;
    showDetails();
  } catch (error) {
    unreadable("spectrum", error);
    setTimeout(() => pixel === target() && !details && fetchDetails(), AGAIN);
  }
}

/** Say that the scene can't be read any more; where no answer comes, the poll says what is wrong. */
function unreadable(what, error) {
  if (error instanceof Refused && error.status !== 403) alert(`scene ${what}`, `The scene can’t be read (${what}): ${error.message}`);
}

function showDetails() {
  if (!details) return;
  const given = details.label === null ? null : classOf(details.label);
  const guessed = running() || details.predicted === null ? null : classOf(details.predicted);
  const sure = details.probability === null ? "" : ` (${percent(details.probability, 0)})`;
  const empty = details.values.every((value) => value === null);
  $("guess").textContent = empty ? "There is no data here." : [given ? `Your label: ${given.name}.` : "", guessed ? `The model says: ${guessed.name}${sure}.` : ""].join(" ").trim();
  $("place").textContent = Number.isFinite(details.x) ? `x ${Number(details.x.toPrecision(9))}, y ${Number(details.y.toPrecision(9))}` : "";
  drawSpectrum();
}

function drawSpectrum() {
  const means = session.means.flatMap((one) => {
    const of = classOf(one.value);
    return of ? [{ ...one, name: of.name, key: of.key, colour: of.colour }] : [];
  });
  spectrum.show(details?.values ?? null, means, strong ?? (running() ? null : details?.predicted ?? null));
}

function drawWindow() {
  const canvas = $("window");
  const pixel = target();
  if (pixel === null) {
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    return;
  }
  viewer.drawWindow(canvas, ...place(pixel), RADIUS);
  const context = canvas.getContext("2d");
  const unit = canvas.width / (2 * RADIUS + 1);
  for (const [colour, width, grow] of [["#000", 6, 2], ["#fff", 2.5, 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.strokeRect(RADIUS * unit - grow, RADIUS * unit - grow, unit + 2 * grow, unit + 2 * grow);
  }
}

// Answers

const DOUBLE = 300; // ms between two clicks at one place, in which nobody has looked at the next pixel
let clicked = -Infinity;

async function answer(value, event) {
  const started = event?.timeStamp ?? performance.now();
  if (event?.type === "click") {
    const double = event.detail > 1 && started - clicked < DOUBLE;
    clicked = started;
    if (double) {
      say("A double click answers one pixel.");
      return;
    }
  }
  if (shape) {
    await answerShape(value);
    return;
  }
  const pixel = target();
  if (pixel === null) {
    say("There is no pixel to answer. Click one in the scene.");
    return;
  }
  if (session.busy) { // the next pixel hasn't been seen yet
    say("One moment: the last answer is still being stored.");
    return;
  }
  const name = value === null ? "Can’t tell" : classOf(value).name;
  const was = chosen;
  const done = await change("POST", "/api/labels", { pixel_id: pixel, value, blind: running() }, `${name} for ${words(pixel)}`);
  if (!done) return;
  if (was !== null && chosen === was) { // the view stays where this person labels
    chosen = null;
    showTarget(false);
    viewer.redrawMarks();
  }
  say(`${name}: stored for ${words(pixel)}.`);
  // The frame that shows the next pixel: how long a person waits, for whoever measures it.
  requestAnimationFrame(() => setTimeout(() => performance.measure("answer", { start: started })));
}

async function answerShape(value) {
  if (value === null) {
    say("A shape needs a class. Escape leaves it.");
    return;
  }
  if (shape.length < 3) {
    say("A shape needs at least three corners.");
    return;
  }
  const before = session.state.n_labelled;
  const corners = shape;
  const points = corners.map(([x, y]) => [y, x]); // as the API: a pixel's centre lies at + 0.5
  draw(null);
  const edit = ["Change the shape", () => draw(corners)];
  if (await change("POST", "/api/polygon", { points, value }, `${classOf(value).name} for the shape`, { also: edit })) {
    say(`${classOf(value).name}: stored for the shape, ${count(session.state.n_labelled - before, "label")} more.`);
  }
}

const undo = () => (shape ? draw(shape.slice(0, -1)) : step("undo"));
const redo = () => (shape ? say("Click a corner to set it again.") : step("redo"));

async function step(way) {
  const name = way === "undo" ? "Undo" : "Redo";
  await settled();
  if (!session.state?.[`can_${way}`]) {
    say(`There is nothing to ${way}.`);
    return;
  }
  if (await change("POST", `/api/${way}`, {}, name.toLowerCase())) {
    choose(null);
    say(`${name}: done. ${count(session.state.n_labelled, "label")}.`);
  }
}

// Choosing pixels and drawing shapes

function choose(pixel, centre = false) {
  if (pixel !== null && running()) {
    say("While the accuracy is checked, only the asked pixel is answered.");
    return;
  }
  chosen = pixel === session.state?.query?.pixel_id ? null : pixel;
  if (pixel !== null && centre && !viewer.fitted) viewer.centre(...place(pixel));
  if (session.state) showTarget();
  viewer.redrawMarks();
}

const goTo = (pixel) => choose(pixel, true);

function move(rows, columns) {
  const from = target();
  if (from === null && !session.state) return;
  const { height, width } = session.scene;
  const [row, column] = from === null ? [height >> 1, width >> 1] : place(from);
  const to = [Math.min(height - 1, Math.max(0, row + rows)), Math.min(width - 1, Math.max(0, column + columns))];
  choose(to[0] * width + to[1]);
  if (chosen !== null || shape) say(words(to[0] * width + to[1]));
}

function draw(corners) {
  if (corners && running()) {
    say("While the accuracy is checked, only the asked pixel is answered.");
    return;
  }
  shape = corners;
  $("polygon").setAttribute("aria-pressed", String(Boolean(shape)));
  $("scene").classList.toggle("drawing", Boolean(shape));
  $("shape").hidden = !shape;
  if (shape) {
    $("shape").textContent = `Shape with ${count(shape.length, "corner")}. Click corners (or arrow keys and Enter), then press the key `
      + "of the class. Backspace takes a corner back, Escape leaves.";
  }
  if (session.state) {
    showTarget();
    showProgress();
  }
  viewer.redrawMarks();
}

function drawMarks(context, view) {
  const { state, scene } = session;
  if (!state) return;
  const unit = view.scale;
  if (layerShown("labels")) {
    context.globalAlpha = layers.labels.opacity;
    const side = Math.max(6, unit);
    const letters = unit >= LETTERS_FROM;
    context.font = `bold ${Math.min(16, unit * 0.6)}px sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const of = new Map(state.classes.map((one) => [one.value, one]));
    for (const one of session.labels) {
      const [x, y] = view.to(one.column + 0.5, one.row + 0.5);
      if (x < -side || y < -side || x > view.viewSize[0] + side || y > view.viewSize[1] + side) continue;
      const label = of.get(one.value);
      context.lineWidth = 1;
      if (!label) {
        context.strokeStyle = "#000";
        context.strokeRect(x - side / 2 - 0.5, y - side / 2 - 0.5, side + 1, side + 1);
        context.strokeStyle = "#fff";
        context.strokeRect(x - side / 2 + 0.5, y - side / 2 + 0.5, side - 1, side - 1);
        continue;
      }
      context.fillStyle = "#fff";
      context.fillRect(x - side / 2 - 1, y - side / 2 - 1, side + 2, side + 2);
      context.fillStyle = "#000";
      context.fillRect(x - side / 2 - 0.5, y - side / 2 - 0.5, side + 1, side + 1);
      context.fillStyle = label.colour;
      context.fillRect(x - side / 2, y - side / 2, side, side);
      if (letters && label.key) {
        context.lineWidth = 3;
        context.strokeStyle = "#000";
        context.strokeText(label.key, x, y);
        context.fillStyle = "#fff";
        context.fillText(label.key, x, y);
      }
    }
    context.globalAlpha = 1;
  }
  if (state.query && layers.proposal.shown) {
    context.globalAlpha = layers.proposal.opacity;
    ring(context, view, state.query.row, state.query.column, chosen === null ? "#ffe14d" : "#fff");
    context.globalAlpha = 1;
  }
  if (chosen !== null) ring(context, view, ...place(chosen), "#ffe14d", true);
  if (shape) {
    const corners = shape.map(([x, y]) => view.to(x, y));
    for (const [colour, width] of [["#000", 4], ["#ffe14d", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      corners.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
      if (corners.length > 2) context.closePath();
      context.stroke();
      for (const [x, y] of corners) context.strokeRect(x - 3, y - 3, 6, 6);
    }
    context.fillStyle = "#ffe14d40";
    context.fill();
  }
  context.strokeStyle = "#0008";
  context.lineWidth = 1;
  const [left, top] = view.to(0, 0);
  context.strokeRect(left - 0.5, top - 0.5, scene.width * unit + 1, scene.height * unit + 1);
}

/** A ring with four ticks that is seen on every ground; at the rim an arrow to a pixel that isn't in view. Chosen ones are square. */
function ring(context, view, row, column, colour, square = false) {
  const [width, height] = view.viewSize;
  const [x, y] = view.to(column + 0.5, row + 0.5);
  const inside = x >= 0 && y >= 0 && x <= width && y <= height;
  const radius = Math.max(11, view.scale * 0.9);
  context.beginPath();
  if (!inside) {
    const [atX, atY] = [Math.min(width - 16, Math.max(16, x)), Math.min(height - 16, Math.max(16, y))];
    const angle = Math.atan2(y - atY, x - atX);
    const corner = (turn, far) => [atX + far * Math.cos(angle + turn), atY + far * Math.sin(angle + turn)];
    context.moveTo(...corner(0, 13));
    context.lineTo(...corner(2.4, 13));
    context.lineTo(...corner(Math.PI, 4));
    context.lineTo(...corner(-2.4, 13));
    context.closePath();
    context.fillStyle = colour;
    context.fill();
  } else if (square) context.rect(x - radius, y - radius, 2 * radius, 2 * radius);
  else context.arc(x, y, radius, 0, 2 * Math.PI);
  if (inside) {
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + dx * radius, y + dy * radius);
      context.lineTo(x + dx * (radius + 8), y + dy * (radius + 8));
    }
    if (view.scale > 8) context.rect(x - view.scale / 2, y - view.scale / 2, view.scale, view.scale);
  }
  for (const [stroke, line] of [["#000", 5], [colour, 2.5]]) {
    context.strokeStyle = stroke;
    context.lineWidth = line;
    context.stroke();
  }
}

// Progress

function showProgress() {
  const { state } = session;
  const parts = [["Labels", state.n_labelled.toLocaleString("en") + (state.n_skipped ? ` + ${state.n_skipped} can’t tell` : ""), "labels"]];
  const behind = state.n_labelled - state.map_labels;
  const map = !state.map_version ? "none yet" : `${state.map_labels.toLocaleString("en")} labels`
    + (state.map_seconds === null ? "" : `, ${duration(state.map_seconds)} old`);
  const age = state.busy ? ", updating" : !state.map_version ? "" : !state.map_complete ? ", not whole yet" : state.map_current ? ""
    : behind > 0 ? `, ${behind} behind` : ", older than the last answer";
  parts.push(["Map", map + age, state.busy ? "map busy" : "map"]);
  parts.push(["Round", String(state.round), "round"]);
  if (state.agreement !== null) parts.push(["Agreement", state.agreement.toFixed(2), "agreement"]);
  const help = { agreement: "Kappa between the last two maps: 1 means that the newest labels changed nothing",
    round: "How often pixels were chosen to be asked", map: "How many labels the shown map has learnt from" };
  const told = JSON.stringify(parts);
  if ($("progress").dataset.told !== told) { // else its help would vanish under the pointer
    $("progress").dataset.told = told;
    $("progress").replaceChildren(...parts.map(([name, value, kind]) => build("div", { className: kind, title: help[kind.split(" ")[0]] ?? "" },
      build("dt", {}, name), build("dd", {}, value))));
  }
  $("advice").hidden = !state.advice || running() || Boolean(shape);
  $("advice").textContent = state.advice ?? "";
  $("advice").classList.toggle("good", state.stable);
}

function update(before) {
  const { state } = session;
  if (running() && (chosen !== null || shape)) {
    chosen = null;
    draw(null);
  }
  const other = showTarget();
  updateAssessment(before);
  listClasses(answer, (value) => {
    strong = value;
    drawSpectrum();
  });
  listLabels(goTo);
  showProgress();
  updateControls();
  for (const name of ["map", "uncertainty"]) viewer.set(name, { shown: layerShown(name), version: tileVersion(name) });
  $("first").hidden = state.classes.length >= 2;
  $("class-head").hidden = !state.classes.length;
  if (!before) {
    say(state.classes.length ? "Press the key of the pixel’s class, or click the class. ? shows all keys." : "Add your classes first.");
    if (!state.classes.length) $("new-class").focus();
  }
  if (!other && before && (before.map_version !== state.map_version || before.version !== state.version)) fetchDetails();
}

async function exportAll() {
  if (underway.has("/api/export")) {
    say("The files are being written already.");
    return;
  }
  say("Writing the files …");
  const done = await change("POST", "/api/export", {}, "the export", { state: false, seconds: 600 });
  if (!done) return;
  say(`${count(done.files.length, "file")} written to ${done.folder}.`);
  showDialog("Exported", build("p", {}, "Written to ", build("code", { "data-testid": "export-folder" }, done.folder)),
    build("ul", { className: "files", "data-testid": "export-files" }, ...done.files.map((name) => build("li", {}, build("code", {}, name), " ", MEANING[name] ?? ""))),
    build("p", { className: "quiet" }, "QGIS opens all of these but the report, which is for the browser."));
}

const MEANING = {
  "map.tif": "the map, with colours and class names", "map.qml": "its style for QGIS", "uncertainty.tif": "0: sure, 1: not at all",
  "labels.gpkg": "your labels as points", "query.gpkg": "the pixels to ask next", "report.html": "map, legend, areas and accuracy",
};

// Light and dark

const THEMES = ["auto", "light", "dark"];

/** The theme chosen last: in a cookie, since these are shared by all ports, and the program takes another one at each start. */
const theme = () => /\bhsi_al_theme=(\w+)/.exec(document.cookie)?.[1] ?? "auto";

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  document.cookie = `hsi_al_theme=${theme}; max-age=${365 * 24 * 3600}; path=/; SameSite=Strict`;
  $("theme").textContent = `Theme: ${theme}`;
  $("theme").title = "Light, dark, or as the system says";
}

function ready() {
  const { scene } = session;
  $("name").textContent = scene.name;
  document.title = `${scene.name}: label a scene`;
  startLayers((name) => {
    if (name === "scene") viewer.set("scene", { version: tileVersion("scene") });
    else if (name === "map" || name === "uncertainty") viewer.set(name, { shown: layerShown(name), opacity: layers[name].opacity });
    else viewer.redrawMarks();
  });
  viewer = new Viewer($("scene"), scene, {
    click: (row, column, point) => {
      if (shape) draw([...shape, point]);
      else choose(row * scene.width + column);
    },
    hover: (at) => { $("cursor").textContent = at ? `row ${at[0]}, column ${at[1]}` : ""; },
    marks: drawMarks,
    loaded: (name) => {
      if (name !== "scene") return;
      clearAlert("scene picture");
      if (session.state) drawWindow();
    },
    failed: (name, error) => name === "scene" && unreadable("picture", error),
  });
  for (const name of ["scene", "uncertainty", "map"]) {
    viewer.add(name, tilePath(name));
    viewer.set(name, name === "scene" ? { shown: true, version: tileVersion("scene") } : { shown: false, opacity: layers[name].opacity });
  }
  spectrum = new Spectrum($("spectrum"), scene);
  session.onState = update;
  session.onData = () => {
    listLabels(goTo);
    drawSpectrum();
    viewer.redrawMarks();
  };
  new ResizeObserver(() => { // it covers the top of what scrolls below it: the focus must not go there
    const covers = getComputedStyle($("ask")).position === "sticky";
    $("ask").parentElement.style.scrollPaddingTop = covers ? `${$("ask").offsetHeight}px` : "";
  }).observe($("ask"));
  startClasses();
  startLabels(goTo);
  listen({
    answerKey: (key, event) => {
      const of = session.state?.classes.find((one) => one.key === key);
      if (of) answer(of.value, event);
      else say(`No class has the key ${key}.`);
    },
    skip: (event) => answer(null, event), undo, redo, move,
    escape: () => (shape ? draw(null) : choose(null)),
    zoom: (factor) => viewer.zoom(factor, ...zoomPlace()), fit: () => viewer.fit(), centre: goToTarget,
    polygon: togglePolygon, drawing: () => Boolean(shape),
    corner: () => {
      if (target() === null) return;
      const [row, column] = place(target());
      draw([...shape, [column + 0.5, row + 0.5]]);
    },
  });
  const clicks = { skip: (event) => answer(null, event), undo, redo, help: showHelp,
    assess: openAssessment, export: exportAll, polygon: togglePolygon, "zoom-in": () => viewer.zoom(1.5, ...zoomPlace()),
    "zoom-out": () => viewer.zoom(1 / 1.5, ...zoomPlace()), "zoom-all": () => viewer.fit(), "zoom-query": goToTarget,
    theme: () => setTheme(THEMES[(THEMES.indexOf(theme()) + 1) % 3]) };
  for (const [id, action] of Object.entries(clicks)) $(id).addEventListener("click", action);
}

/** Zoom by keys goes to the pixel where it is in view, else to the middle. */
function zoomPlace() {
  const [width, height] = viewer.viewSize;
  if (target() !== null) {
    const [row, column] = place(target());
    const [x, y] = viewer.to(column + 0.5, row + 0.5);
    if (x >= 0 && y >= 0 && x <= width && y <= height) return [x, y];
  }
  return [width / 2, height / 2];
}

function goToTarget() {
  if (target() !== null) viewer.centre(...place(target()), Math.max(viewer.scale, 6));
}

function togglePolygon() {
  draw(shape ? null : []);
  if (shape) $("scene").focus();
}

setTheme(theme());
start(ready);
