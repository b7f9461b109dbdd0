// Everything by keyboard. Digits 1-9 and letters belong to the classes, all other commands have other keys.

import { $, build, isField, showDialog } from "./dom.js";

const KEYS = [
  ["1 to 9, a to z", "Give the pixel this class"],
  ["0", "Can’t tell: leave this pixel out"],
  ["Backspace or Ctrl Z", "Undo the last answer, or the last corner of a shape"],
  ["Shift Backspace or Ctrl Y", "Redo it"],
  ["Arrow keys (Shift: ten at once)", "Choose another pixel, from the asked one on"],
  ["Escape", "Back to the asked pixel; leave a shape or a field"],
  ["+ and -", "Zoom in and out (French keyboards: those of the number pad)"],
  ["Home", "Show the whole scene"],
  [". (full stop)", "Go to the pixel"],
  [", (comma)", "Polygon on or off: clicks, or arrow keys and Enter (the middle of a pixel), set corners"],
  ["Tab, Shift Tab, Enter", "Go through the page and press what has the frame"],
  ["?", "This help"],
];

export function showHelp() {
  showDialog("Help", build("div", { className: "help", "data-testid": "help-text" },
    build("ol", {},
      build("li", {}, "The ring in the scene marks the pixel that is asked. Look at it in the scene, in the small window, and at its spectrum."),
      build("li", {}, "Press the key of its class, or click the class. The next pixel comes at once; the map follows by itself."),
      build("li", {}, "Not sure? Say “can’t tell”. A wrong label costs more than a missing one."),
      build("li", {}, "You know a place? Click it, then press the key. For a whole field use the polygon."),
      build("li", {}, "When the maps stop changing, check the accuracy, then export.")),
    build("table", { className: "keys" }, build("tbody", {}, ...KEYS.map(([keys, meaning]) =>
      build("tr", {}, build("th", { scope: "row" }, keys), build("td", {}, meaning)))))));
}

/**
 * Hear the keys of the page.
 * @param commands  answerKey(key, event) for a digit or letter; skip, undo, redo, move(rows, columns), escape, zoom(factor),
 *   fit, centre, polygon, corner; `drawing()` says whether a polygon is being drawn.
 */
export function listen(commands) {
  document.addEventListener("keydown", (event) => {
    if ($("dialog").open) return;
    if (isField(event.target)) {
      if (event.key === "Escape") $("scene").focus();
      return;
    }
    const command = find(named(event), event, commands);
    if (!command) return;
    event.preventDefault();
    command();
  });
}

const SHIFTED = "&é\"'(-è_çà"; // what French keyboards give where others give digits, which take Shift there

/** The name of a key: on keyboards with digits behind Shift (French), or without Latin letters, what is at its place elsewhere. */
function named(event) {
  const { key, code } = event;
  const third = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
  const digit = /^Digit(\d)$/.exec(code)?.[1];
  if (digit && !third && key.length === 1 && SHIFTED.includes(key)) return digit;
  const letter = /^Key([A-Z])$/.exec(code)?.[1];
  // Letters of Latin alphabets, such as ğ or é, are no others.
  const foreign = letter && key.length === 1 && /\p{L}/u.test(key) && !/\p{Script=Latin}/u.test(key);
  return key.length > 1 ? key : (foreign ? letter : key).toLowerCase();
}

function find(key, event, commands) {
  const { target, repeat, shiftKey: shift } = event;
  if (event.altKey) return null;
  const steps = event.ctrlKey || event.metaKey ? /^[zy]$/ : /^[a-z0-9]$|^Backspace$|^Enter$/;
  // A key that is held down answers one pixel, not all that follow.
  if (repeat && steps.test(key)) return () => {};
  if (event.ctrlKey || event.metaKey) {
    if (key === "z") return shift ? commands.redo : commands.undo;
    return key === "y" ? commands.redo : null;
  }
  const free = target === document.body || target === $("scene");
  const slides = target.type === "range";
  const arrows = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  if (key in arrows && !slides) return () => commands.move(...arrows[key].map((step) => step * (shift ? 10 : 1)));
  if (key === "+" || key === "=") return () => commands.zoom(1.5);
  if (key === "-" || key === "_") return () => commands.zoom(1 / 1.5);
  if (repeat) return null;
  if (key === "Enter" && free && commands.drawing()) return commands.corner;
  if (key === "Backspace") return shift ? commands.redo : commands.undo;
  if (key === "0") return (() => commands.skip(event));
  if (/^[1-9a-z]$/.test(key)) return () => commands.answerKey(key, event);
  if (key === "Home" && !slides) return commands.fit;
  return { "?": showHelp, Escape: commands.escape, ".": commands.centre, ",": commands.polygon }[key] ?? null;
}
