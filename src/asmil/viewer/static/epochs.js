// The scrubber through the epochs, and the curves of the training below it.

import { byId, digits, drawing, getJson, report } from "./page.js";

const [WIDTH, TOP, PANEL, GAP, LEFT, RIGHT] = [1000, 14, 44, 18, 60, 160];

export class Epochs {
  constructor(page) {
    this.page = page;
    byId("epoch").addEventListener("input", () => this.set(Number(byId("epoch").value)));
    byId("play").addEventListener("click", () => this.play());
    byId("chart").addEventListener("click", (event) => this.#pick(event));
    this.training = null;
  }

  /** Shows the training of the pane's layer: that of its fold and seed, else the one whose epochs were recorded. */
  async follow(pane) {
    const recorded = pane.facts.layers.find((layer) => layer.id.startsWith("epoch-"));
    this.recorded = pane.layer?.startsWith("epoch-") ? pane.chosen : recorded;
    const cell = pane.chosen?.fold === undefined ? this.recorded ?? pane.facts.layers.find((l) => l.fold !== undefined) : pane.chosen;
    const { base } = pane;
    this.training = cell ? await getJson(`${base}/training/${cell.fold}-${cell.seed}`) : null;
    if (base !== pane.base) return;
    const active = pane.layer?.startsWith("epoch-");
    const count = active ? pane.chosen.epochs : this.training?.epochs ?? 0;
    Object.assign(byId("epoch"), { max: Math.max(count - 1, 0), disabled: !this.recorded });
    byId("play").disabled = !this.recorded;
    this.page.epoch = Math.min(this.page.epoch, Math.max(count - 1, 0));
    byId("epoch").value = this.page.epoch;
    this.#say(active);
    this.#draw();
  }

  #say(active) {
    const { training } = this;
    const where = training ? `fold ${training.fold}, seed ${training.seed}` : "";
    const count = Number(byId("epoch").max) + 1;
    byId("epoch-text").value = active ? `epoch ${this.page.epoch + 1} of ${count}` : training ? `${count} epochs` : "";
    byId("epoch-note").textContent = !training
      ? "This run kept no record of its training."
      : active
        ? `${where}: the slide as validation slide, while the model was trained`
        : this.recorded
          ? `${where}; move the slider to see the attention of this slide epoch by epoch`
          : `${where}; epochs were recorded for some validation slides only, not for this one: tick “by epoch” to list those`;
  }

  /** Goes to an epoch; changes to the layer that has epochs if it is not drawn yet. */
  async set(epoch) {
    if (!this.recorded) return;
    this.page.epoch = Math.min(Math.max(epoch, 0), this.recorded.epochs - 1);
    byId("epoch").value = this.page.epoch;
    try {
      const { panes } = this.page;
      if (!panes.some((pane) => pane.layer?.startsWith("epoch-"))) await this.page.active.setLayer(this.recorded.id);
      else await Promise.all(panes.filter((p) => p.layer?.startsWith("epoch-")).map((pane) => pane.refresh()));
    } catch (error) {
      report(error);
    }
    this.#say(true);
    this.#mark();
  }

  play() {
    if (this.timer) return this.stop();
    byId("play").textContent = "❚❚";
    if (this.page.epoch >= this.recorded.epochs - 1) this.page.epoch = -1;
    const step = async () => {
      await this.set(this.page.epoch + 1);
      if (this.timer && this.page.epoch < this.recorded.epochs - 1) this.timer = setTimeout(step, 180);
      else this.stop();
    };
    this.timer = setTimeout(step, 0);
  }

  /** The slide is about to change. */
  leave() {
    this.stop();
    this.recorded = null;
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = null;
    byId("play").textContent = "▶";
  }

  #x(epoch) {
    return LEFT + (epoch / Math.max(this.training.epochs - 1, 1)) * (WIDTH - LEFT - RIGHT);
  }

  #pick(event) {
    const svg = byId("chart").firstElementChild;
    if (!svg || !this.training) return;
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    this.set(Math.round(((x - LEFT) / (WIDTH - LEFT - RIGHT)) * (this.training.epochs - 1)));
  }

  #draw() {
    const chart = byId("chart");
    chart.replaceChildren();
    if (!this.training?.epochs) return;
    const { curves, slide_jsd: own, best } = this.training;
    const height = TOP + 2 * PANEL + GAP + 6;
    const svg = drawing("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": "Attention change and losses by epoch" });
    const jsd = [["mean of slides", "series-1", curves.jsd], ["this slide", "series-2", own]];
    const losses = [["validation", "series-2", curves.val_loss], ["training", "series-1", curves.train_loss]];
    this.#panel(svg, "JSD", jsd.filter(([, , values]) => values), { top: TOP, log: true });
    this.#panel(svg, "loss", losses.filter(([, , values]) => values), { top: TOP + PANEL + GAP, log: false });
    if (best !== null && best < this.training.epochs) {
      const x = this.#x(best);
      svg.append(drawing("line", { x1: x, x2: x, y1: 4, y2: height, class: "best" }), best > this.training.epochs / 2 ? label(x - 4, 10, "kept epoch", "end") : label(x + 4, 10, "kept epoch"));
    }
    this.now = drawing("line", { y1: 0, y2: height, class: "now" });
    svg.append(this.now);
    chart.append(svg);
    this.#mark();
  }

  #panel(svg, name, lines, { top, log }) {
    const seen = lines.flatMap(([, , values]) => values.filter((v) => v !== null && (!log || v > 0)));
    if (!seen.length) return;
    const scale = log ? Math.log10 : (v) => v;
    const [low, high] = [Math.min(...seen), Math.max(...seen)];
    const span = scale(high) - scale(low) || 1;
    const y = (v) => top + PANEL - ((scale(v) - scale(low)) / span) * PANEL;
    svg.append(drawing("rect", { x: LEFT, y: top, width: WIDTH - LEFT - RIGHT, height: PANEL, class: "panel" }));
    svg.append(label(LEFT - 6, top + 9, digits(high, 2), "end"), label(LEFT - 6, top + PANEL, digits(low, 2), "end"));
    lines.forEach(([text, colour, values], i) => {
      const points = values.map((v, e) => (v === null || (log && v <= 0) ? null : `${this.#x(e).toFixed(1)},${y(v).toFixed(1)}`));
      svg.append(drawing("polyline", { points: points.filter(Boolean).join(" "), class: colour }));
      const words = label(WIDTH - RIGHT + 10, top + 12 + 16 * i, `${name} ${text}`);
      words.classList.add(colour);
      svg.append(words);
    });
  }

  #mark() {
    if (!this.now || !this.training) return;
    const x = this.#x(this.page.epoch);
    this.now.setAttribute("x1", x);
    this.now.setAttribute("x2", x);
    this.now.style.visibility = this.page.active.layer?.startsWith("epoch-") ? "visible" : "hidden";
  }
}

function label(x, y, text, anchor = "start") {
  const element = drawing("text", { x, y, "text-anchor": anchor });
  element.textContent = text;
  return element;
}

