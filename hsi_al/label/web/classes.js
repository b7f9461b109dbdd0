// The classes with their keys, counts and shares of the area.

import { $, build, closeDialog, count, percent, say, showDialog } from "./dom.js";
import { change, running, session } from "./session.js";

const rows = new Map(); // by value

/** `answer(value, event)` labels the pixel; `strong(value | null)` brings out the mean spectrum of a class. */
export function listClasses(answer, strong) {
  const { classes } = session.state;
  const blind = running();
  for (const [value, row] of rows) {
    if (!classes.some((one) => one.value === value)) {
      row.item.remove();
      rows.delete(value);
    }
  }
  for (const one of classes) {
    if (!rows.has(one.value)) rows.set(one.value, makeRow(one.value, answer, strong));
    const row = rows.get(one.value);
    row.swatch.style.background = one.colour;
    row.key.textContent = one.key ?? "";
    row.key.hidden = !one.key;
    row.name.textContent = one.name;
    row.name.title = one.name;
    row.number.textContent = one.n_labelled;
    row.share.textContent = blind || one.share === null ? "" : percent(one.share);
    row.button.setAttribute("aria-label", `${one.name}, key ${one.key ?? "none"}, ${count(one.n_labelled, "label")}`
      + (row.share.textContent ? `, ${row.share.textContent} of the area` : ""));
    if (one.key) row.button.setAttribute("aria-keyshortcuts", one.key);
    else row.button.removeAttribute("aria-keyshortcuts");
    row.edit.setAttribute("aria-label", `Change ${one.name}`);
  }
  const items = classes.map((one) => rows.get(one.value).item);
  const list = $("class-list");
  // What is in place already isn't touched: an element that moves loses the focus.
  if (items.some((item, i) => list.children[i] !== item)) list.replaceChildren(...items);
}

function makeRow(value, answer, strong) {
  const parts = {
    key: build("kbd"), swatch: build("span", { className: "swatch" }), name: build("span", { className: "class-name" }),
    number: build("span", { className: "number", title: "Labels" }),
    share: build("span", { className: "number share", title: "Share of the area on the map" }),
  };
  const button = build("button", {
    className: "class", "data-testid": `class-${value}`, onclick: (event) => answer(value, event),
    onpointerenter: () => strong(value), onpointerleave: () => strong(null), onfocus: () => strong(value), onblur: () => strong(null),
  }, parts.key, parts.swatch, parts.name, parts.number, parts.share);
  const edit = build("button", { className: "edit", title: "Name, colour, key", "data-testid": `edit-${value}`,
    onclick: () => editClass(value) }, "✎");
  return { ...parts, button, edit, item: build("li", {}, button, edit) };
}

function editClass(value) {
  const one = session.state.classes.find((each) => each.value === value);
  const name = build("input", { id: "edit-name", value: one.name, maxLength: 80, required: true, autofocus: true, "data-testid": "edit-name" });
  name.setAttribute("autofocus", "");
  const colour = build("input", { id: "edit-colour", type: "color", value: one.colour, "data-testid": "edit-colour" });
  const key = build("input", { id: "edit-key", value: one.key ?? "", maxLength: 1, pattern: "[1-9a-zA-Z]", size: 2, "data-testid": "edit-key" });
  const others = session.state.classes.filter((each) => each.value !== value);
  const check = () => { // here, where what was typed can still be changed
    const named = others.some((each) => each.name === name.value.trim());
    const owner = others.find((each) => each.key && each.key === key.value.toLowerCase());
    name.setCustomValidity(named ? "There is a class of this name already." : "");
    key.setCustomValidity(owner ? `This key belongs to ${owner.name}.` : "");
  };
  name.addEventListener("input", check);
  key.addEventListener("input", check);
  const save = async (event) => {
    event.preventDefault();
    closeDialog();
    const changed = {};
    if (name.value.trim() !== one.name) changed.name = name.value.trim();
    if (colour.value.toLowerCase() !== one.colour.toLowerCase()) changed.colour = colour.value;
    if (key.value.toLowerCase() !== (one.key ?? "")) changed.key = key.value.toLowerCase();
    if (!Object.keys(changed).length) return;
    if (await change("PATCH", `/api/classes/${value}`, changed, `changing the class ${one.name}`)) say(`${name.value} is changed.`);
  };
  showDialog(`Class ${one.value}: ${one.name}`, build("form", { onsubmit: save, className: "fields" },
    build("label", { for: "edit-name" }, "Name"), name,
    build("label", { for: "edit-colour" }, "Colour"), colour,
    build("label", { for: "edit-key" }, "Key (1 to 9 or a letter)"), key,
    build("p", { className: "quiet wide" }, "The first colours are those that people with and without colour blindness tell apart best."),
    build("div", { className: "buttons wide" }, build("button", { className: "main", "data-testid": "save-class" }, "Save"),
      build("button", { type: "button", onclick: closeDialog }, "Cancel"))));
}

/** The form that adds a class. */
export function startClasses() {
  let adding = null; // the name that is on its way: Enter may be pressed twice
  $("add").addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = $("new-class").value.trim();
    if (!name) {
      if (session.state?.classes.length) $("scene").focus();
      say(session.state?.classes.length ? "Keys answer again." : "Type the name of a class first.");
      return;
    }
    if (session.busy && adding === name) return;
    adding = name;
    const done = await change("POST", "/api/classes", { name }, `adding the class ${name}`);
    adding = null;
    if (done) {
      $("new-class").value = "";
      const added = session.state.classes.find((one) => one.name === name);
      say(`${name} is added${added?.key ? `: key ${added.key}` : ""}. Type another, or press Escape and answer by key.`);
    }
  });
}
