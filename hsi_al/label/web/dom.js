// Small helpers around the document: find, build, say.

export const $ = (id) => document.getElementById(id);

/** Build an element: properties that start with "on" are listeners, names with "-" and `role` are attributes. */
export function build(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Whether keys belong to a field: text is typed there, or letters choose an option. */
export function isField(element) {
  if (!element) return false;
  if (element.isContentEditable || element.tagName === "TEXTAREA" || element.tagName === "SELECT") return true;
  return element.tagName === "INPUT" && !["checkbox", "radio", "range", "button", "color"].includes(element.type);
}

/** Show a sentence in the status line; screen readers speak it. */
export function say(sentence) {
  $("status").textContent = sentence;
}

export const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

/** Seconds in words: "4 s", "3 min", "2 h". */
export function duration(seconds) {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  return seconds < 6000 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;

let opener = null;

/** Show a dialog with a title; Escape and its last button close it, and the focus goes back to where it was. */
export function showDialog(title, ...content) {
  const dialog = $("dialog");
  if (!dialog.open) opener = document.activeElement;
  dialog.replaceChildren(
    build("div", { className: "dialog-head" }, build("h2", { id: "dialog-title" }, title),
      build("button", { className: "close", "aria-label": "Close", "data-testid": "close", onclick: closeDialog }, "×")),
    ...content);
  if (!dialog.open) dialog.showModal();
  (dialog.querySelector("[autofocus]") ?? dialog.querySelector("button")).focus();
  return dialog;
}

export function closeDialog() {
  $("dialog").close();
}

$("dialog").addEventListener("close", () => {
  if (opener?.isConnected) opener.focus();
  opener = null;
});
