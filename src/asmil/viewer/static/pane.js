// A slide with one layer over it.

import { getBuffer, getJson, make, report } from "./page.js";
import { colourIndex, rank, rawLimits, scaleOf } from "./scales.js";
import { Stage } from "./stage.js";

/** What a layer is called without statistics; empty for those that need them. */
function plainName(id, run) {
  if (id === "mean") return "Where the models looked";
  if (id === "disagreement") return "Where the models disagree";
  return id.startsWith("evidence-") ? `What speaks for ${run.classes[Number(id.slice(9))]}` : "";
}

const KEPT_BYTES = 128 * 2 ** 20; // of maps already fetched

export class Pane extends Stage {
  constructor(parent, page) {
    super(parent, page);
    this.run = page.runs[0];
    this.layer = null;
    this.kept = new Map();
    this.runs.addEventListener("change", () => this.emit("run"));
    this.layers.addEventListener("change", () => this.setLayer(this.layers.value).catch(report));
    for (const select of [this.token, this.head]) select.addEventListener("change", () => this.refresh().catch(report));
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
    const [tiles, shapes, outlines] = await Promise.all([
      getBuffer(`${this.base}/tiles`, signal),
      facts.annotated.length ? getJson(`${this.base}/annotations`, signal) : [],
      facts.unit === "px" ? getJson(`${this.base}/outlines`, signal).catch((error) => (report(error), null)) : null,
    ]);
    this.drawable = outlines !== null;
    this.facts = facts;
    this.overlay.setTiles(new Int32Array(tiles, 0, 2 * facts.tiles), facts.side);
    this.truth = new Uint8Array(tiles, 8 * facts.tiles);
    this.overlay.setShapes(shapes);
    this.overlay.setOutlines(outlines ?? []);
    this.runs.value = run.id;
    this.note.textContent = facts.says.join(" ");
    this.note.hidden = !facts.says.length;
    this.moved = false;
    await this.#open(facts);
    this.offer();
    const ids = Array.from(this.layers.options, (option) => option.value);
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

  /** The menu of layers: by group with statistics, else those that need no explanation. */
  offer() {
    const { layers } = this.facts;
    const groups = new Map();
    for (const layer of layers) {
      if (!groups.has(layer.group)) groups.set(layer.group, make("optgroup", { label: layer.group }));
      groups.get(layer.group).append(make("option", { value: layer.id, textContent: layer.label }));
    }
    const plain = layers.map((layer) => [layer.id, plainName(layer.id, this.run)]).filter(([, name]) => name);
    const options = plain.map(([value, textContent]) => make("option", { value, textContent }));
    this.layers.replaceChildren(...(this.page.statistics ? groups.values() : options));
    this.layers.disabled = !layers.length;
    this.layers.value = this.layer ?? "";
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
    this.emit("layer");
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
    this.emit("values");
  }

  /** Draws the values at hand in the scale of the page. */
  recolour() {
    this.legend.hidden = !this.values;
    if (!this.values) return this.viewer.forceRedraw();
    this.scale = scaleOf(this.layer, Array.from(this.values), this.ranks, this.page.statistics ? this.page.scale : "percentile", this.wholeRange);
    const table = this.page.colours[this.scale.colours];
    this.overlay.setColours(colourIndex(this.scale), this.ranks.order, table);
    const context = this.ramp.getContext("2d");
    table.forEach((colour, i) => {
      context.fillStyle = colour;
      context.fillRect(i, 0, 1, 1);
    });
    this.ends.forEach((end, i) => (end.textContent = this.scale[this.page.statistics ? "ends" : "plain"][i]));
    this.draw();
  }
}
