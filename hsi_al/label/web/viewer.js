// Pan and zoom over tiles of any number of layers, each on a canvas of its own, with one more for marks on top.
// A tile of an older version stays until the new one has come, and a coarser one stands in where there is none.

import { tile } from "./api.js";

const AT_ONCE = 3; // requests: browsers keep six connections, and answers must not wait for tiles
const KEPT = 320; // tiles, 256 kB each, or as many more as are in view
const LARGEST = 64; // screen pixels per pixel of the scene

const density = () => window.devicePixelRatio || 1; // screen pixels per CSS pixel

export class Viewer {
  /**
   * @param {HTMLElement} element  Takes the canvases and the pointer.
   * @param {{height: number, width: number, tile_size: number, max_level: number}} scene
   * @param {{click, hover, marks, loaded, failed}} on  click(row, column), hover(row, column | null) for the pointer;
   *   marks(context, viewer) draws on top; loaded(layer) after a tile has come, failed(layer, error) where one can't.
   */
  constructor(element, scene, on) {
    this.element = element;
    this.scene = scene;
    this.on = on;
    this.layers = new Map();
    this.tiles = new Map(); // "layer/level/x_y" -> {image, version, loading, retry}; the order is that of use
    this.extra = []; // tiles that others than the view need
    this.inView = 0;
    this.loading = 0;
    this.fitted = true;
    this.scale = 1; // screen pixels (CSS) per pixel of the scene
    this.left = 0; // scene coordinates of the upper left corner of the view
    this.top = 0;
    const { width, height, tile_size: size, max_level: most } = scene;
    this.coarsest = Math.max(0, most - Math.max(0, Math.ceil(Math.log2(Math.max(width, height) / size))));
    this.marks = this.canvas();
    new ResizeObserver(() => this.resize()).observe(element);
    this.resize();
    this.listen();
  }

  canvas() {
    const canvas = document.createElement("canvas");
    canvas.setAttribute("aria-hidden", "true");
    this.element.insertBefore(canvas, this.marks ?? null);
    return canvas;
  }

  /** Add a layer: `path(level, x, y)` is the address of a tile; it is asked for again when `version` changes. */
  add(name, path) {
    this.layers.set(name, { name, path, version: "", shown: false, canvas: this.canvas() });
    this.size(this.layers.get(name).canvas);
  }

  /** Change a layer: `shown`, `opacity` 0 to 1, `version`, any of them. */
  set(name, { shown, opacity, version }) {
    const layer = this.layers.get(name);
    if (shown !== undefined) {
      layer.shown = shown;
      layer.canvas.hidden = !shown;
    }
    if (opacity !== undefined) layer.canvas.style.opacity = opacity;
    if (version !== undefined) layer.version = version;
    this.redraw();
  }

  size(canvas) {
    canvas.width = Math.max(1, Math.round(this.element.clientWidth * this.dense));
    canvas.height = Math.max(1, Math.round(this.element.clientHeight * this.dense));
  }

  resize() {
    this.dense = density();
    const centre = this.viewSize && this.at(this.viewSize[0] / 2, this.viewSize[1] / 2);
    this.viewSize = [Math.max(1, this.element.clientWidth), Math.max(1, this.element.clientHeight)];
    for (const canvas of [this.marks, ...[...this.layers.values()].map((layer) => layer.canvas)]) this.size(canvas);
    if (this.fitted || !centre) this.fit();
    else this.centre(centre[1] - 0.5, centre[0] - 0.5);
  }

  /** Scene coordinates [x, y] of a place of the view. */
  at(x, y) {
    return [this.left + x / this.scale, this.top + y / this.scale];
  }

  /** Place of the view, in CSS pixels, of scene coordinates. */
  to(x, y) {
    return [(x - this.left) * this.scale, (y - this.top) * this.scale];
  }

  smallest() {
    return Math.min(1, this.viewSize[0] / this.scene.width, this.viewSize[1] / this.scene.height);
  }

  fit() {
    const [width, height] = this.viewSize;
    this.scale = Math.min(LARGEST, width / this.scene.width, height / this.scene.height);
    this.left = (this.scene.width - width / this.scale) / 2;
    this.top = (this.scene.height - height / this.scale) / 2;
    this.fitted = true;
    this.redraw();
  }

  /** Put the middle of a pixel into the middle of the view. */
  centre(row, column, scale = this.scale) {
    this.scale = Math.min(LARGEST, Math.max(this.smallest() / 2, scale));
    this.left = column + 0.5 - this.viewSize[0] / this.scale / 2;
    this.top = row + 0.5 - this.viewSize[1] / this.scale / 2;
    this.fitted = false;
    this.redraw();
  }

  /** Zoom by a factor about a place of the view, its middle by default. */
  zoom(factor, x = this.viewSize[0] / 2, y = this.viewSize[1] / 2) {
    const [sceneX, sceneY] = this.at(x, y);
    this.scale = Math.min(LARGEST, Math.max(this.smallest() / 2, this.scale * factor));
    this.left = sceneX - x / this.scale;
    this.top = sceneY - y / this.scale;
    this.keepIn();
  }

  pan(x, y) {
    this.left -= x / this.scale;
    this.top -= y / this.scale;
    this.keepIn();
  }

  /** Some of the scene stays in view. */
  keepIn() {
    const [width, height] = this.viewSize.map((size) => size / this.scale);
    this.left = Math.min(this.scene.width - width / 4, Math.max(-0.75 * width, this.left));
    this.top = Math.min(this.scene.height - height / 4, Math.max(-0.75 * height, this.top));
    this.fitted = false;
    this.redraw();
  }

  /** Bring a pixel into view if it isn't, without a change of scale. */
  follow(row, column) {
    const [x, y] = this.to(column + 0.5, row + 0.5);
    const [width, height] = this.viewSize;
    if (x < 0.06 * width || y < 0.06 * height || x > 0.94 * width || y > 0.94 * height) {
      if (this.fitted) return;
      this.centre(row, column);
    }
  }

  redraw() {
    this.drawing ??= requestAnimationFrame(() => {
      this.drawing = null;
      this.draw();
    });
  }

  draw() {
    if (this.dense !== density()) this.resize(); // the window was moved to another screen
    const wanted = [];
    this.inView = 0;
    for (const layer of this.layers.values()) if (layer.shown) this.drawLayer(layer, wanted);
    this.redrawMarks();
    const [x, y] = this.at(this.viewSize[0] / 2, this.viewSize[1] / 2);
    const far = ({ box }) => Math.hypot((box[0] + box[2]) / 2 - x, (box[1] + box[3]) / 2 - y);
    this.wanted = wanted.sort((a, b) => a.rank - b.rank || far(a) - far(b));
    this.load();
    const { left, top, scale } = this;
    Object.assign(this.element.dataset, { left, top, scale });
  }

  redrawMarks() {
    const context = this.marks.getContext("2d");
    context.setTransform(this.dense, 0, 0, this.dense, 0, 0);
    context.clearRect(0, 0, ...this.viewSize);
    this.on.marks(context, this);
  }

  /** The scene rectangle [left, top, right, bottom] of a tile. */
  box(level, x, y) {
    const span = this.scene.tile_size * 2 ** (this.scene.max_level - level);
    return [x * span, y * span, Math.min(this.scene.width, (x + 1) * span), Math.min(this.scene.height, (y + 1) * span)];
  }

  drawLayer(layer, wanted) {
    const { dense } = this;
    const { width, height, tile_size: size, max_level: most } = this.scene;
    const context = layer.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, layer.canvas.width, layer.canvas.height);
    context.imageSmoothingEnabled = layer.name === "scene" && this.scale * dense < 1;
    const level = Math.min(most, Math.max(this.coarsest, most + Math.ceil(Math.log2(this.scale * dense) - 0.01)));
    const span = size * 2 ** (most - level);
    const [right, bottom] = this.at(...this.viewSize);
    const first = [Math.max(0, Math.floor(this.left / span)), Math.max(0, Math.floor(this.top / span))];
    const last = [Math.min(right, width - 1e-9) / span, Math.min(bottom, height - 1e-9) / span];
    for (let y = first[1]; y <= last[1]; y += 1) {
      for (let x = first[0]; x <= last[0]; x += 1) {
        const entry = this.entry(layer, level, x, y);
        this.inView += 1;
        const box = this.box(level, x, y);
        if (entry.version !== layer.version) wanted.push({ layer, level, x, y, entry, box, rank: entry.image ? 1 : 0 });
        if (entry.image) this.paint(context, entry.image, box, box);
        else if (!entry.empty) this.standIn(context, layer, level, x, y, box);
      }
    }
  }

  /** Draw the scene rectangle `part` of an image that covers the rectangle `box`. */
  paint(context, image, box, part) {
    const { dense } = this;
    const [x, y] = [image.width / (box[2] - box[0]), image.height / (box[3] - box[1])];
    const [left, top] = this.to(part[0], part[1]).map((place) => Math.round(place * dense));
    const [right, bottom] = this.to(part[2], part[3]).map((place) => Math.round(place * dense));
    context.clearRect(left, top, right - left, bottom - top);
    context.drawImage(image, (part[0] - box[0]) * x, (part[1] - box[1]) * y, (part[2] - part[0]) * x,
      (part[3] - part[1]) * y, left, top, right - left, bottom - top);
  }

  standIn(context, layer, level, x, y, box) {
    for (let up = 1; level - up >= this.coarsest; up += 1) {
      const [coarseX, coarseY] = [x >> up, y >> up];
      const coarse = this.tiles.get(`${layer.name}/${level - up}/${coarseX}_${coarseY}`);
      if (coarse?.image) {
        this.paint(context, coarse.image, this.box(level - up, coarseX, coarseY), box);
        break;
      }
    }
    for (const [i, j] of [[0, 0], [1, 0], [0, 1], [1, 1]]) {
      const fine = this.tiles.get(`${layer.name}/${level + 1}/${2 * x + i}_${2 * y + j}`);
      const place = this.box(level + 1, 2 * x + i, 2 * y + j);
      if (fine?.image) this.paint(context, fine.image, place, place);
    }
  }

  entry(layer, level, x, y) {
    const key = `${layer.name}/${level}/${x}_${y}`;
    const entry = this.tiles.get(key) ?? { image: null, version: null, loading: false, retry: 0 };
    this.tiles.delete(key); // and to the end: the last used
    this.tiles.set(key, entry);
    return entry;
  }

  load() {
    for (const [key, entry] of this.tiles) {
      if (this.tiles.size <= Math.max(KEPT, this.inView + 64)) break;
      if (entry.loading) continue;
      entry.image?.close();
      this.tiles.delete(key);
    }
    const now = performance.now();
    for (const request of [...this.extra, ...(this.wanted ?? [])]) {
      if (this.loading >= AT_ONCE) return;
      if (request.entry.loading || request.entry.version === request.layer.version) continue;
      if (request.entry.retry > now) this.later(request.entry.retry - now);
      else this.fetchTile(request);
    }
  }

  later(milliseconds) {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.load();
    }, milliseconds + 20);
  }

  async fetchTile({ layer, level, x, y, entry }) {
    const { version } = layer;
    entry.loading = true;
    this.loading += 1;
    try {
      const image = await tile(layer.path(level, x, y));
      if (image) {
        entry.image?.close();
        Object.assign(entry, { image, version, empty: false, retry: 0 });
        this.redraw();
        this.on.loaded(layer.name);
      } else entry.retry = performance.now() + 700;
    } catch (error) {
      // A layer that isn't there is nothing to ask for again until its version changes.
      if (error.status === 404) Object.assign(entry, { version, empty: true });
      else this.on.failed(layer.name, error);
      entry.retry = performance.now() + 2000;
    } finally {
      entry.loading = false;
      this.loading -= 1;
      this.load();
    }
  }

  /** Draw the scene within `radius` pixels of a pixel over the whole of a canvas; tiles that are missing are fetched first. */
  drawWindow(canvas, row, column, radius) {
    const layer = this.layers.get("scene");
    const { tile_size: size, max_level: level, width, height } = this.scene;
    const context = canvas.getContext("2d");
    const unit = canvas.width / (2 * radius + 1);
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, canvas.width, canvas.height);
    this.extra = [];
    const [left, top] = [column - radius, row - radius];
    const part = [Math.max(0, left), Math.max(0, top), Math.min(width, column + radius + 1), Math.min(height, row + radius + 1)];
    for (let y = Math.floor(part[1] / size); y * size < part[3]; y += 1) {
      for (let x = Math.floor(part[0] / size); x * size < part[2]; x += 1) {
        const entry = this.entry(layer, level, x, y);
        if (entry.version !== layer.version) this.extra.push({ layer, level, x, y, entry });
        if (!entry.image) continue;
        const [boxLeft, boxTop, boxRight, boxBottom] = this.box(level, x, y);
        const [fromX, fromY] = [Math.max(part[0], boxLeft), Math.max(part[1], boxTop)];
        const [toX, toY] = [Math.min(part[2], boxRight), Math.min(part[3], boxBottom)];
        context.drawImage(entry.image, fromX - boxLeft, fromY - boxTop, toX - fromX, toY - fromY,
          (fromX - left) * unit, (fromY - top) * unit, (toX - fromX) * unit, (toY - fromY) * unit);
      }
    }
    this.load();
  }

  listen() {
    const pointers = new Map();
    let began = null; // where the first pointer went down
    let moved = false; // hands tremble: a few pixels around that place are still a click
    let apart = 0;
    const place = (event) => {
      const box = this.element.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const pixel = (event) => {
      const [x, y] = this.at(...place(event)).map(Math.floor);
      return x >= 0 && y >= 0 && x < this.scene.width && y < this.scene.height ? [y, x] : null;
    };
    this.element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.element.setPointerCapture(event.pointerId);
      if (!pointers.size) [began, moved] = [place(event), false];
      pointers.set(event.pointerId, place(event));
      apart = 0;
    });
    this.element.addEventListener("pointermove", (event) => {
      this.on.hover(pixel(event));
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const now = place(event);
      pointers.set(event.pointerId, now);
      const [x, y] = [now[0] - before[0], now[1] - before[1]];
      moved ||= Math.hypot(now[0] - began[0], now[1] - began[1]) > (event.pointerType === "touch" ? 10 : 5);
      if (pointers.size === 1) {
        if (moved) this.pan(x, y);
      } else {
        const [one, two] = [...pointers.values()];
        const distance = Math.hypot(one[0] - two[0], one[1] - two[1]);
        if (apart) this.zoom(distance / apart, (one[0] + two[0]) / 2, (one[1] + two[1]) / 2);
        this.pan(x / 2, y / 2);
        apart = distance;
        moved = true;
      }
    });
    const lift = (event, click) => {
      if (!pointers.delete(event.pointerId) || !click || pointers.size || moved) return;
      const hit = pixel(event);
      if (hit) this.on.click(...hit, this.at(...place(event)));
    };
    this.element.addEventListener("pointerup", (event) => lift(event, true));
    this.element.addEventListener("pointercancel", (event) => lift(event, false));
    this.element.addEventListener("pointerleave", () => this.on.hover(null));
    this.element.addEventListener("wheel", (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 30 : 1;
      this.zoom(2 ** (-Math.max(-240, Math.min(240, event.deltaY * lines)) / 240), ...place(event));
    }, { passive: false });
  }
}
