// The answers given so far, and those that the model doubts.

import { $, build, percent } from "./dom.js";
import { running, session } from "./session.js";

const SHOWN = 200; // rows

let tab = "labels";
let drawn = null;

export function startLabels(goTo) {
  const tabs = [$("tab-labels"), $("tab-doubt")];
  const choose = (chosen) => {
    tab = chosen.id.slice(4);
    for (const one of tabs) {
      one.setAttribute("aria-selected", String(one === chosen));
      one.tabIndex = one === chosen ? 0 : -1;
    }
    $("labels").setAttribute("aria-labelledby", chosen.id);
    listLabels(goTo);
  };
  for (const one of tabs) {
    one.addEventListener("click", () => choose(one));
    one.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const other = tabs[1 - tabs.indexOf(one)];
      choose(other);
      other.focus();
      event.preventDefault();
      event.stopPropagation();
    });
  }
}

const clock = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

/** Draw the chosen list again if anything in it has changed; `goTo(pixel_id)` selects a pixel. */
export function listLabels(goTo) {
  const blind = running();
  // Less likely than by chance: the model prefers another class, whatever their number.
  const chance = 1 / Math.max(2, session.state?.classes.filter((one) => one.n_labelled).length ?? 2);
  const doubted = session.labels.filter((one) => one.value !== null && one.doubt !== null && 1 - one.doubt < chance)
    .sort((a, b) => b.doubt - a.doubt);
  $("tab-doubt").textContent = blind || !doubted.length ? "Doubted" : `Doubted (${doubted.length})`;
  // Of many labels only the latest are listed.
  const total = session.labels.length && session.state ? session.state.n_labelled + session.state.n_skipped : session.labels.length;
  $("tab-labels").textContent = total ? `Your labels (${total.toLocaleString("en")})` : "Your labels";
  const list = tab === "labels" ? session.labels : blind ? [] : doubted;
  const content = JSON.stringify([tab, blind, session.state?.classes.map((one) => [one.name, one.colour]), list.length, total, list.slice(0, SHOWN)]);
  if (content === drawn) return;
  drawn = content;
  const focused = document.activeElement?.closest?.("#labels button")?.dataset.pixelId;
  const classes = new Map(session.state?.classes.map((one) => [one.value, one]));
  const rows = list.slice(0, SHOWN).map((one) => {
    const of = classes.get(one.value);
    const swatch = build("span", { className: of ? "swatch" : "swatch none" });
    if (of) swatch.style.background = of.colour;
    const right = tab === "labels" ? clock(one.time) : `model: ${percent(1 - one.doubt, 0)}`;
    const button = build("button", { onclick: () => goTo(one.pixel_id), "data-testid": `label-${one.pixel_id}` }, swatch,
      build("span", { className: "class-name", title: of?.name ?? "" }, of?.name ?? "can’t tell"),
      build("span", { className: "quiet" }, `row ${one.row}, col ${one.column}`), build("span", { className: tab === "labels" ? "number time" : "number" }, right));
    button.dataset.pixelId = one.pixel_id;
    return build("li", {}, button);
  });
  const none = tab === "labels" ? "No answers yet. They are listed here: choose one to look at it again or to change it."
    : blind ? "Hidden while the accuracy is checked."
      : "The model doubts none of your labels. When it does, they are listed here, the most doubtful first: look at them again.";
  $("labels").replaceChildren(rows.length ? build("ul", {}, ...rows) : build("p", { className: "quiet" }, none));
  const more = (tab === "labels" ? total : list.length) - rows.length;
  if (rows.length === SHOWN && more > 0) $("labels").append(build("p", { className: "quiet" }, `and ${more.toLocaleString("en")} more; click a mark in the scene to go to it`));
  if (focused) $("labels").querySelector(`[data-pixel-id="${focused}"]`)?.focus();
}
