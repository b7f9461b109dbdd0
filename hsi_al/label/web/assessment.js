// The check of the accuracy: start, blind answers, report.

import { ask, Refused } from "./api.js";
import { $, build, closeDialog, percent, say, showDialog } from "./dom.js";
import { change, running, session, settled } from "./session.js";

let reported = true; // whether the report of the check has been shown, or there was none when the page opened

export function updateAssessment(before) {
  const { assessment } = session.state;
  $("assess").textContent = running() ? `Check ${assessment.answered} / ${assessment.n}` : "Check accuracy";
  const note = $("blind");
  note.hidden = !running();
  if (running()) {
    if (!note.firstChild) {
      note.append(build("p", {}, build("strong", {}, "Accuracy check. ", build("span", { id: "blind-count" })),
        " Map and model are hidden, so that you judge for yourself. Unsure? Say “can’t tell”."),
      build("button", { onclick: stop, "data-testid": "stop-assessment" }, "Stop the check"));
    }
    $("blind-count").textContent = `${assessment.answered} of ${assessment.n} answered.`;
    reported = false;
  } else note.replaceChildren();
  if (before?.assessment && !before.assessment.done && assessment?.done && !reported) {
    reported = true;
    showReport();
  }
}

async function stop() {
  await settled();
  if (!running()) return; // a second click
  if (await change("DELETE", "/api/assessment", undefined, "stopping the check")) say("The check is stopped. Its answers are kept apart from your labels.");
}

/** The button of the header: start, or see how far it is, or the report. */
export async function openAssessment() {
  if (running()) {
    const { answered, n } = session.state.assessment;
    showDialog("Accuracy check", build("p", {}, `${answered} of ${n} pixels are answered. The report comes after the last one.`),
      build("div", { className: "buttons" }, build("button", { className: "main", onclick: closeDialog }, "Go on"),
        build("button", { onclick: () => { closeDialog(); stop(); } }, "Stop the check")));
  } else if (session.state.assessment?.done) await showReport();
  else showStart();
}

function showStart() {
  const number = build("input", { id: "sample", type: "number", min: 2, max: 10000, value: 100, required: true, "data-testid": "sample" });
  number.setAttribute("autofocus", "");
  const begin = async (event) => {
    event.preventDefault();
    closeDialog();
    if (await change("POST", "/api/assessment", { n: Number(number.value) }, "starting the accuracy check", { seconds: 120 })) say("The check has begun. Answer the marked pixel.");
  };
  const ready = session.state.map_version > 0;
  showDialog("Check the accuracy of the map",
    build("p", {}, "Your labels so far can’t say how good the map is: most were asked where the model was unsure. "
      + "For an honest number, pixels are drawn at random from each class of the map, and you label them without seeing the map."),
    build("p", {}, "With 100 pixels the overall accuracy is known to about ± 5 to 10 points; four times as many halve that. "
      + "These answers are kept apart: the model does not learn from them."),
    ready ? build("form", { onsubmit: begin, className: "fields" },
      build("label", { for: "sample" }, "Pixels to label"), number,
      build("div", { className: "buttons wide" }, build("button", { className: "main", "data-testid": "start-assessment" }, "Start"),
        build("button", { type: "button", onclick: closeDialog }, "Cancel")))
      : build("p", { className: "note" }, "There is no map yet: label some pixels of at least two classes first."));
}

async function showReport() {
  let report;
  try {
    report = await ask("GET", "/api/assessment");
  } catch (error) {
    showDialog("Accuracy of the map", build("p", {}, error instanceof Refused ? error.message : "The program did not answer."));
    return;
  }
  showDialog("Accuracy of the map", build("div", { "data-testid": "report" }, ...reportParts(report)),
    build("div", { className: "buttons" }, build("button", { className: "main", onclick: closeDialog }, "Close"),
      build("button", { onclick: showStart, "data-testid": "again" }, "New check …")));
}

/** Digits after the point of hectares, so that areas below one can be told apart: pixels of a drone are centimetres wide. */
function digitsOf(one) {
  const largest = Math.max(one?.estimate ?? 0, ...(one?.interval ?? []));
  if (largest > 0 && largest < 0.01) return 2 - Math.floor(Math.log10(largest));
  return largest >= 10 ? 1 : largest >= 1 ? 2 : 4;
}

/** An estimate with its 95 % interval, as [text, element]; `digits` after the point. */
function figure(one, unit = "%", factor = 100, digits = 1) {
  if (!one || one.estimate === null) return ["unknown"];
  const text = (value) => (factor * value).toFixed(digits);
  const interval = one.interval && build("span", { className: "interval" }, ` (${text(one.interval[0])} to ${text(one.interval[1])})`);
  return [`${text(one.estimate)} ${unit}`, ...(interval ? [interval] : [])];
}

function reportParts(report) {
  const hectares = report.classes.some((one) => one.hectares);
  const heads = ["Class", "Pixels", "User’s accuracy", "Producer’s accuracy", "Area on map", "Area, estimated", ...(hectares ? ["Hectares"] : [])];
  const row = (one) => {
    const swatch = build("span", { className: "swatch" });
    swatch.style.background = one.colour;
    const cells = [[String(one.n)], figure(one.users), figure(one.producers), [percent(one.mapped_share)], figure(one.area),
      ...(hectares ? [figure(one.hectares, "ha", 1, digitsOf(one.hectares))] : [])];
    return build("tr", {}, build("th", { scope: "row" }, build("span", { className: "named" }, swatch, build("span", {}, one.name))),
      ...cells.map((parts) => build("td", { className: "figure" }, ...parts)));
  };
  return [
    build("p", { className: "result" }, "Overall accuracy: ", build("strong", { "data-testid": "overall" }, ...figure(report.overall))),
    build("p", {}, `${report.answered - report.skipped} pixels were labelled, ${report.skipped} left out. In brackets: 95 % intervals.`),
    build("div", { className: "scroll" }, build("table", {},
      build("thead", {}, build("tr", {}, ...heads.map((head, i) => build("th", { scope: "col", className: i ? "figure" : "" }, head)))),
      build("tbody", {}, ...report.classes.map(row)))),
    build("ul", { className: "notes" }, ...report.notes.map((note) => build("li", {}, note))),
  ];
}
