// One slide at full depth with one layer over it.

import { Overlay } from "./overlay.js";
import { getBuffer, getJson, lengthText, make, report } from "./page.js";
import { colourIndex, rank, rawLimits, scaleOf } from "./scales.js";

const OSD = window.OpenSeadragon;
const KEPT_BYTES = 128 * 2 ** 20; // of maps already fetched

export class Pane extends EventTarget {
  constructor(parent, page) {
    super();
    this.page = page;
    this.run = page.runs[0];
    this.layer = null;
    this.kept = new Map();
    this.#build(parent);
    this.viewer = OSD({
      element: this.stage, drawer: "canvas", showNavigationControl: false, animationTime: 0.5, springStiffness: 9,
      maxZoomPixelRatio: 16, minZoomImageRatio: 0.6, visibilityRatio: 0.3, imageSmoothingEnabled: true,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true }, timeout: 120_000,
    });
    this.overlay = new Overlay(this.viewer.canvas);
    this.viewer.addHandler("update-viewport", () => this.draw());
    this.viewer.addHandler("canvas-key", (event) => (event.preventDefaultAction = true));
    this.viewer.addHandler("canvas-click", (event) => event.quick && this.#choose(event.position));
    for (const name of ["canvas-drag", "canvas-scroll", "canvas-pinch", "canvas-double-click"]) {
      this.viewer.addHandler(name, () => (this.moved = true));
    }
    this.viewer.addHandler("resize", () => requestAnimationFrame(() => this.moved || this.fit(true)));
    this.viewer.addHandler("tile-load-failed", (event) => this.#failed(event));
    this.viewer.canvas.addEventListener("pointermove", (event) => this.#hover(event));
    this.viewer.canvas.addEventListener("pointerleave", () => this.#hover(null));
  }

  #build(parent) {
    this.runs = make("select", { ariaLabel: "Run", hidden: this.page.runs.length < 2 });
    this.runs.append(...this.page.runs.map((run) => make("option", { value: run.id, textContent: run.name })));
    this.layers = make("select", { ariaLabel: "Layer", className: "layers" });
    this.token = make("select", { ariaLabel: "Token", hidden: true });
    this.head = make("select", { ariaLabel: "Head", hidden: true });
    this.stage = make("div", { className: "stage" });
    this.ramp = make("canvas", { className: "ramp", width: 256, height: 1 });
    this.ends = [make("span"), make("span")];
    this.legend = make("div", { className: "legend" }, this.ends[0], this.ramp, this.ends[1]);
    this.bar = make("div", { className: "scalebar" });
    this.tip = make("div", { className: "tip", hidden: true });
    this.note = make("p", { className: "note", hidden: true });
    const head = make("header", {}, this.runs, this.layers, this.token, this.head);
    const view = make("div", { className: "view" }, this.stage, this.legend, this.bar, this.tip);
    this.element = make("section", { className: "pane" }, head, this.note, view);
    parent.append(this.element);
    this.runs.addEventListener("change", () => this.#emit("run"));
    this.layers.addEventListener("change", () => this.setLayer(this.layers.value).catch(report));
    for (const select of [this.token, this.head]) select.addEventListener("change", () => this.refresh().catch(report));
    this.element.addEventListener("pointerenter", () => this.#emit("enter"));
  }

  #emit(name) {
    this.dispatchEvent(new Event(name));
  }

  get base() {
    return `/api/${this.run.id}/${this.row.number}`;
  }

  /** Shows a row of a run's table; `wanted` is the layer, if the slide has it. */
  async show(run, row, wanted) {
    this.pending?.abort();
    this.pending = new AbortController();
    const { signal } = this.pending;
    Object.assign(this, { run, row, values: null, ranks: null, truth: null });
    this.kept.clear();
    this.overlay.clear();
    this.note.textContent = "Loading …";
    this.note.hidden = false;
    const facts = await getJson(this.base, signal);
    const [tiles, shapes] = await Promise.all([
      getBuffer(`${this.base}/tiles`, signal),
      facts.annotated.length ? getJson(`${this.base}/annotations`, signal) : [],
    ]);
    this.facts = facts;
    this.overlay.setTiles(new Int32Array(tiles, 0, 2 * facts.tiles), facts.side);
    this.truth = new Uint8Array(tiles, 8 * facts.tiles);
    this.overlay.setShapes(shapes);
    this.runs.value = run.id;
    this.note.textContent = facts.says.join(" ");
    this.note.hidden = !facts.says.length;
    this.moved = false;
    await this.#open(facts);
    this.#offer(facts.layers);
    const ids = facts.layers.map((layer) => layer.id);
    await this.setLayer(ids.includes(wanted) ? wanted : ids[0]);
  }

  #open({ size, levels }) {
    const { base } = this;
    const ready = new Promise((resolve) => {
      this.viewer.addOnceHandler("open", resolve);
      this.viewer.addOnceHandler("open-failed", resolve);
    });
    this.viewer.open({
      width: size[0], height: size[1], tileSize: this.page.tilePx, tileOverlap: 0, minLevel: 0, maxLevel: levels - 1,
      getTileUrl: (level, x, y) => `${base}/pixels/${level}/${x}_${y}.jpg`,
    });
    return ready;
  }

  #offer(layers) {
    const groups = new Map();
    for (const layer of layers) {
      if (!groups.has(layer.group)) groups.set(layer.group, make("optgroup", { label: layer.group }));
      groups.get(layer.group).append(make("option", { value: layer.id, textContent: layer.label }));
    }
    this.layers.replaceChildren(...groups.values());
    this.layers.disabled = !layers.length;
  }

  /** The chosen layer as the server described it. */
  get chosen() {
    return this.facts?.layers.find((layer) => layer.id === this.layer);
  }

  /** The address of what is drawn: the layer with its epoch, or with its token and head. */
  get address() {
    if (this.layer?.startsWith("epoch-")) return `${this.layer}-${Math.min(this.page.epoch, this.chosen.epochs - 1)}`;
    if (this.layer?.startsWith("rows-")) return `${this.layer}-${this.token.value}-${this.head.value}`;
    return this.layer;
  }

  async setLayer(id) {
    this.layer = id ?? null;
    this.wholeRange = null;
    this.layers.value = id ?? "";
    this.element.dataset.layer = id ?? "";
    const rows = id?.startsWith("rows-");
    if (rows) {
      const { fold, seed } = this.chosen;
      const { tokens, heads } = await getJson(`${this.base}/rows/${fold}-${seed}`);
      this.#fill(this.token, "token", tokens);
      this.#fill(this.head, "head", heads);
    } else {
      this.token.hidden = this.head.hidden = true;
    }
    await this.refresh();
    this.#emit("layer");
    if (id?.startsWith("epoch-")) await this.#fetchEpochs();
  }

  #fill(select, word, names) {
    const every = make("option", { value: "all", textContent: names.length ? `all ${word}s` : `one ${word}` });
    select.replaceChildren(every, ...names.map((n, i) => make("option", { value: i, textContent: `${word} ${n}` })));
    select.hidden = names.length < 2;
  }

  async #values(address) {
    if (!this.kept.has(address)) {
      const values = new Float32Array(await getBuffer(`${this.base}/layer/${address}`, this.pending.signal));
      if ((this.kept.size + 1) * values.byteLength > KEPT_BYTES) this.kept.delete(this.kept.keys().next().value);
      this.kept.set(address, values);
    }
    return this.kept.get(address);
  }

  /** All epochs beforehand: the scrubber answers at once, and raw colours mean the same in all of them. */
  async #fetchEpochs() {
    const { layer, row } = this;
    const { epochs } = this.chosen;
    if (epochs * this.facts.tiles * 4 > KEPT_BYTES) return;
    const maps = await Promise.all(Array.from({ length: epochs }, (_, i) => this.#values(`${layer}-${i}`)));
    if (this.layer !== layer || this.row !== row) return;
    const every = Math.ceil((epochs * this.facts.tiles) / 200_000);
    this.wholeRange = rawLimits(maps.flatMap((map) => Array.from(map.filter((_, i) => i % every === 0), (v) => v * map.length)));
    this.recolour();
  }

  /** Fetches the chosen layer (and epoch, token, head), then draws it. */
  async refresh() {
    const { address } = this;
    this.values = address ? await this.#values(address) : null;
    if (address !== this.address) return; // another was chosen meanwhile
    this.ranks = this.values && rank(this.values);
    this.element.dataset.drawn = address ?? "";
    this.recolour();
    this.#emit("values");
  }

  /** Draws the values at hand in the scale of the page. */
  recolour() {
    this.legend.hidden = !this.values;
    if (!this.values) return this.viewer.forceRedraw();
    this.scale = scaleOf(this.layer, Array.from(this.values), this.ranks, this.page.scale, this.wholeRange);
    const table = this.page.colours[this.scale.colours];
    this.overlay.setColours(colourIndex(this.scale), this.ranks.order, table);
    const context = this.ramp.getContext("2d");
    table.forEach((colour, i) => {
      context.fillStyle = colour;
      context.fillRect(i, 0, 1, 1);
    });
    this.ends.forEach((end, i) => (end.textContent = this.scale.ends[i]));
    this.draw();
  }

  draw() {
    if (!this.facts || !this.viewer.world.getItemCount()) return;
    const { viewport } = this.viewer;
    const [o, e] = [0, 1].map((x) => viewport.pixelFromPoint(new OSD.Point(x, 0), true));
    const scale = (e.x - o.x) / this.facts.size[0];
    const { clientWidth, clientHeight } = this.viewer.canvas;
    this.overlay.tiles.style.opacity = this.page.opacity;
    this.overlay.tiles.style.visibility = this.page.heat ? "visible" : "hidden";
    this.overlay.hideShapes = !this.page.marks;
    this.view = { x: o.x, y: o.y, scale };
    this.overlay.draw(this.view, clientWidth, clientHeight);
    this.#drawBar(scale);
  }

  #drawBar(scale) {
    this.bar.hidden = !this.facts.mpp;
    if (this.bar.hidden) return;
    const most = (110 * this.facts.mpp) / scale;
    const power = 10 ** Math.floor(Math.log10(most));
    const um = [5, 2, 1].map((step) => step * power).find((length) => length <= most) ?? power;
    this.bar.style.width = `${(um * scale) / this.facts.mpp}px`;
    this.bar.textContent = lengthText(um);
  }

  fit(immediately = false) {
    this.moved = false;
    if (this.viewer.world.getItemCount()) this.viewer.viewport.goHome(immediately);
  }

  zoom(factor) {
    this.moved = true;
    this.viewer.viewport.zoomBy(factor).applyConstraints();
  }

  #tileAt({ x, y }) {
    return this.view ? this.overlay.at((x - this.view.x) / this.view.scale, (y - this.view.y) / this.view.scale) : -1;
  }

  #hover(event) {
    const box = this.viewer.canvas.getBoundingClientRect();
    const tile = event ? this.#tileAt({ x: event.clientX - box.left, y: event.clientY - box.top }) : -1;
    this.tip.hidden = tile < 0 || !this.values;
    if (!this.tip.hidden) {
      this.tip.replaceChildren(...this.page.describe(this, tile).map((line) => make("div", { textContent: line })));
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      const { offsetWidth, offsetHeight } = this.tip;
      this.tip.style.left = `${x + 16 + offsetWidth > box.width ? x - offsetWidth - 12 : x + 16}px`;
      this.tip.style.top = `${Math.min(y + 16, box.height - offsetHeight - 4)}px`;
    }
    if (tile !== this.overlay.hovered) {
      this.overlay.hovered = tile;
      this.draw();
    }
  }

  #choose(position) {
    this.choose(this.#tileAt(position));
  }

  /** Marks a tile; with `fly`, also goes there. */
  choose(tile, fly = false) {
    this.overlay.chosen = tile;
    this.draw();
    this.#emit("choose");
    if (!fly || tile < 0) return;
    this.#emit("enter");
    this.moved = true;
    const { xy, side } = this.overlay;
    const [u, v] = [xy[2 * tile] + side / 2, xy[2 * tile + 1] + side / 2];
    const width = this.facts.size[0];
    const half = 3 * side;
    this.viewer.viewport.fitBounds(new OSD.Rect((u - half) / width, (v - half) / width, (2 * half) / width, (2 * half) / width));
  }

  #failed(event) {
    if (event.message?.includes("abort")) return;
    this.note.textContent = [...this.facts.says, "A part of this slide cannot be read."].join(" ");
    this.note.hidden = false;
  }

  destroy() {
    this.pending?.abort();
    this.viewer.destroy();
    this.element.remove();
  }
}

