// Colours of the scene, and the layers on it.

import { $, build } from "./dom.js";
import { running, session } from "./session.js";

const LAYERS = [["map", "Map", 50, true], ["uncertainty", "Uncertainty", 60, false], ["labels", "Labels", 100, true],
  ["proposal", "Asked", 100, true]];

export const layers = Object.fromEntries(LAYERS.map(([name, , opacity, shown]) => [name, { shown, opacity: opacity / 100 }]));

/** Tile addresses of the scene's layers; the classes' colours are part of the map's, so that new colours fetch new tiles. */
export function tilePath(name) {
  return (level, x, y) => {
    const query = new URLSearchParams();
    if (name === "scene") {
      query.set("bands", bands());
      query.set("contrast", $("contrast").value);
      query.set("of", String(Math.round(performance.timeOrigin))); // browsers keep tiles; a later scene at this address has others
    } else {
      query.set("v", session.state.map_version);
      if (name === "map") query.set("colours", session.state.classes.map((one) => one.colour.slice(1)).join("."));
    }
    return `/api/tiles/${name}/${level}/${x}_${y}.png?${query}`;
  };
}

/** What the tiles of a layer depend on. */
export function tileVersion(name) {
  const path = tilePath(name)(0, 0, 0);
  return path.slice(path.indexOf("?"));
}

function bands() {
  const choice = $("colours").value;
  if (choice !== "own") return choice;
  return [...$("bands").querySelectorAll("select")].map((select) => select.value).join(",");
}

/** Build the controls; `changed(name)` is called with "scene" or the name of a layer. */
export function startLayers(changed) {
  const { scene } = session;
  const usual = scene.rgb_bands.join(",");
  // Grey (the band that is usually red) lets the colours of the map be seen as they are in the list of the classes.
  $("colours").append(build("option", { value: usual }, "usual"), build("option", { value: "pca" }, "PCA"),
    build("option", { value: scene.rgb_bands.map(() => scene.rgb_bands[0]).join(",") }, "grey"), build("option", { value: "own" }, "3 bands …"));
  ["red", "green", "blue"].forEach((colour, i) => {
    const select = build("select", { "aria-label": `Band shown in ${colour}`, "data-testid": `band-${colour}`, title: `Shown in ${colour}` });
    for (let band = 0; band < scene.n_bands; band += 1) {
      const length = scene.wavelengths ? ` (${Math.round(scene.wavelengths[band])} nm)` : "";
      select.append(build("option", { value: String(band) }, `${band + 1}${length}`));
    }
    select.value = String(scene.rgb_bands[i]);
    $("bands").append(build("label", { className: colour }, colour[0].toUpperCase(), " ", select));
  });
  $("layers").addEventListener("change", (event) => {
    if (event.target.tagName !== "SELECT") return;
    $("bands").hidden = $("colours").value !== "own";
    changed("scene");
  });
  // After a choice by pointer the keys go to the classes again, not to the options of the select.
  let pointer = false;
  addEventListener("pointerdown", () => { pointer = true; }, true);
  addEventListener("keydown", () => { pointer = false; }, true);
  $("layers").addEventListener("change", (event) => pointer && event.target.blur());

  for (const [name, title] of LAYERS) {
    const box = build("input", { type: "checkbox", checked: layers[name].shown, "data-testid": `layer-${name}` });
    const slider = build("input", { type: "range", min: 0, max: 100, "aria-label": `Opacity of ${title}`, title: "Opacity",
      "data-testid": `opacity-${name}` });
    slider.value = 100 * layers[name].opacity;
    box.addEventListener("change", () => {
      layers[name].shown = box.checked;
      changed(name);
    });
    slider.addEventListener("input", () => {
      layers[name].opacity = slider.value / 100;
      changed(name);
    });
    $("layer-list").append(build("span", { className: "layer", id: `control-${name}` }, build("label", {}, box, ` ${title}`), slider));
  }
}

/** Map, uncertainty and labels are hidden while the accuracy is checked; the first two aren't there before there is a map. */
export function layerShown(name) {
  if (name === "labels") return layers.labels.shown && !running();
  return layers[name].shown && session.state?.map_version > 0 && !running();
}

export function updateControls() {
  const { map_version: map } = session.state;
  const blind = running();
  for (const name of ["map", "uncertainty", "labels"]) {
    const why = blind ? "Hidden while the accuracy is checked" : name === "labels" ? "" : !map ? "There is no map yet"
      : name === "uncertainty" && !session.scene.uncertainty ? "This learner gives no probabilities" : "";
    for (const input of $(`control-${name}`).querySelectorAll("input")) input.disabled = Boolean(why);
    $(`control-${name}`).title = why;
  }
}
