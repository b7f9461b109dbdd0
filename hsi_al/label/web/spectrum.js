// The spectrum of a pixel beside the means of the classes, as SVG: bands that were left out are gaps.

const NS = "http://www.w3.org/2000/svg";
const EDGE = { left: 58, right: 22, top: 10, bottom: 34 };

function draw(parent, tag, attributes, text) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

/** About `wanted` round numbers within [low, high]. */
export function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) * power;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1) found.push(Number((i * step).toPrecision(12)));
  return found;
}

/** Runs of neighbouring bands that have values: lists of [x, value], broken where there is no value, at `gaps`, and at jumps of the wavelength. */
export function runs(xs, values, order, gaps) {
  const steps = order.slice(1).map((band, i) => xs[band] - xs[order[i]]).sort((a, b) => a - b);
  const jump = steps.length ? 4 * Math.max(steps[steps.length >> 1], 1e-9) : Infinity;
  const found = [];
  let run = null;
  let before = null; // the band to the left
  for (const band of order) {
    const value = values[band];
    if (value === null || value === undefined) run = null;
    else {
      // A gap lies before a band in the file, whose wavelengths may descend.
      if (!run || gaps.has(Math.max(band, before)) || xs[band] - xs[before] > jump) found.push((run = []));
      run.push([xs[band], value]);
    }
    before = band;
  }
  return found;
}

export class Spectrum {
  /** @param {HTMLElement} element  @param {{n_bands, wavelengths}} scene */
  constructor(element, scene) {
    this.element = element;
    this.known = Array.isArray(scene.wavelengths);
    this.xs = this.known ? scene.wavelengths : Array.from({ length: scene.n_bands }, (_, band) => band + 1);
    this.order = this.xs.map((_, band) => band).sort((a, b) => this.xs[a] - this.xs[b]);
    this.gaps = new Set(scene.gaps); // bands of the file before these were left out
    this.show(null, [], null);
    new ResizeObserver(() => this.draw()).observe(element);
    element.addEventListener("pointermove", (event) => this.point(event));
    element.addEventListener("pointerleave", () => this.readout?.replaceChildren());
  }

  /**
   * @param {?number[]} values  The pixel's, one for each band, null where there is none.
   * @param {{value, name, key, colour, mean, std}[]} classes  Those with labels.
   * @param {?number} strong  Value of the class whose spread is shown.
   */
  show(values, classes, strong) {
    Object.assign(this, { values, classes, strong });
    this.draw();
  }

  draw() {
    const [width, height] = [this.element.clientWidth, this.element.clientHeight];
    if (width < 100 || height < 60) return;
    if (!this.values && !this.classes.length) {
      const note = document.createElement("p");
      note.textContent = "Here the spectrum of the pixel is drawn, beside the means of your classes.";
      this.readout = null;
      this.element.replaceChildren(note);
      return;
    }
    const svg = document.createElementNS(NS, "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("role", "img");
    const names = this.classes.map((one) => one.name).join(", ");
    svg.setAttribute("aria-label", this.values
      ? `Spectrum of the pixel${names ? `, with the means of ${names}` : ""}` : "No pixel is chosen");
    const spread = (one) => this.classes.length <= 3 || one.value === this.strong;
    const seen = [...this.order.map((band) => this.values?.[band]), ...this.classes.flatMap((one) =>
      this.order.flatMap((band) => [one.mean[band], ...(spread(one) && one.mean[band] !== null
        ? [one.mean[band] - one.std[band], one.mean[band] + one.std[band]] : [])]))].filter(Number.isFinite);
    let [low, high] = seen.length ? [Math.min(...seen), Math.max(...seen)] : [0, 1];
    if (high - low < 1e-12) [low, high] = [low - 0.5, high + 0.5];
    [low, high] = [low - 0.04 * (high - low), high + 0.04 * (high - low)];
    const [first, last] = [this.xs[this.order[0]], this.xs[this.order[this.order.length - 1]]];
    const x = (value) => EDGE.left + ((value - first) / (last - first || 1)) * (width - EDGE.left - EDGE.right);
    const y = (value) => height - EDGE.bottom - ((value - low) / (high - low)) * (height - EDGE.top - EDGE.bottom);
    const line = (points) => points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
    const lines = (values) => runs(this.xs, values, this.order, this.gaps).map((run) =>
      run.length > 1 ? line(run) : `${line(run)}h.1`).join("");

    for (const tick of ticks(low, high, Math.max(3, (height - 44) / 26))) {
      draw(svg, "line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(tick), y2: y(tick) });
      draw(svg, "text", { class: "tick", x: EDGE.left - 6, y: y(tick) + 4, "text-anchor": "end" }, String(tick));
    }
    for (const tick of ticks(first, last, Math.max(2, width / 110))) {
      draw(svg, "line", { class: "grid", x1: x(tick), x2: x(tick), y1: height - EDGE.bottom, y2: height - EDGE.bottom + 4 });
      draw(svg, "text", { class: "tick", x: x(tick), y: height - EDGE.bottom + 16, "text-anchor": "middle" }, String(tick));
    }
    draw(svg, "text", { class: "tick", x: width - EDGE.right, y: height - 4, "text-anchor": "end" },
      this.known ? "wavelength, nm" : "band");

    const ends = [];
    for (const one of this.classes) {
      const weak = this.strong !== null && this.classes.length > 3 && one.value !== this.strong ? " weak" : "";
      if (spread(one)) {
        const upper = runs(this.xs, one.mean.map((mean, i) => (mean === null ? null : mean + one.std[i])), this.order, this.gaps);
        const lower = runs(this.xs, one.mean.map((mean, i) => (mean === null ? null : mean - one.std[i])), this.order, this.gaps);
        const d = upper.map((run, i) => `${line(run)}L${line([...lower[i]].reverse()).slice(1)}Z`).join("");
        draw(svg, "path", { class: "spread", d, fill: one.colour });
      }
      const d = lines(one.mean);
      draw(svg, "path", { class: `edge${weak}`, d });
      draw(svg, "path", { class: `mean${weak}`, d, stroke: one.colour });
      const end = [...this.order].reverse().find((band) => one.mean[band] !== null);
      if (end !== undefined) ends.push({ y: y(one.mean[end]), one });
    }
    if (this.values) {
      const d = lines(this.values);
      draw(svg, "path", { class: "halo", d });
      draw(svg, "path", { class: "pixel", d });
    }
    const room = height - EDGE.top - EDGE.bottom;
    const apart = Math.min(12, room / ends.length);
    ends.sort((a, b) => a.y - b.y).reduce((before, end) => {
      end.y = Math.max(end.y, before + apart);
      return end.y;
    }, -Infinity);
    ends.reduceRight((below, end) => {
      end.y = Math.min(end.y, below - apart);
      return end.y;
    }, height - EDGE.bottom + apart);
    // Where the names of all would lie on each other, only that of the class that is brought out is written.
    for (const end of apart < 9 ? ends.filter(({ one }) => one.value === this.strong) : ends) {
      draw(svg, "text", { class: "name", x: width - EDGE.right + 5, y: end.y + 4 }, end.one.key || "·");
    }
    this.readout = draw(svg, "g", { class: "readout" });
    this.scaleX = { x, y, width, height };
    this.element.replaceChildren(svg);
  }

  /** Under the pointer: band, wavelength and value. */
  point(event) {
    if (!this.values || !this.readout) return;
    const { x, y, width, height } = this.scaleX;
    const at = event.clientX - this.element.getBoundingClientRect().left;
    const usable = this.order.filter((band) => Number.isFinite(this.values[band]));
    if (!usable.length) return;
    const band = usable.reduce((best, one) => (Math.abs(x(this.xs[one]) - at) < Math.abs(x(this.xs[best]) - at) ? one : best));
    const place = x(this.xs[band]);
    this.readout.replaceChildren();
    draw(this.readout, "line", { x1: place, x2: place, y1: EDGE.top, y2: height - EDGE.bottom });
    draw(this.readout, "circle", { cx: place, cy: y(this.values[band]), r: 3.5 });
    const text = `${this.known ? `${this.xs[band]} nm, ` : ""}band ${band + 1}: ${Number(this.values[band].toPrecision(5))}`;
    draw(this.readout, "text", { x: Math.min(Math.max(place, EDGE.left + 80), width - 100), y: 12, "text-anchor": "middle" }, text);
  }
}
