// One slide at full depth: what is seen of it, and what points at it. What lies over it is of pane.js.

import { Hand } from "./hand.js";
import { Overlay, toScreen, toSlide } from "./overlay.js";
import { digits, lengthText, make } from "./page.js";

const OSD = window.OpenSeadragon;

export class Stage extends EventTarget {
  constructor(parent, page) {
    super();
    this.page = page;
    this.#build(parent);
    this.viewer = OSD({
      element: this.stage, drawer: "canvas", showNavigationControl: false, animationTime: 0.5, springStiffness: 9,
      maxZoomPixelRatio: 16, minZoomImageRatio: 0.6, visibilityRatio: 0.3, imageSmoothingEnabled: true,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true }, gestureSettingsTouch: { pinchRotate: false }, timeout: 120_000,
    });
    this.overlay = new Overlay(this.viewer.canvas);
    this.viewer.addHandler("update-viewport", () => this.draw());
    this.viewer.addHandler("canvas-key", (event) => (event.preventDefaultAction = true));
    this.hand = new Hand(this);
    this.viewer.addHandler("canvas-click", (event) => event.quick && !event.preventDefaultAction && this.#choose(event.position));
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
    this.power = make("div", { className: "power", title: "Magnification of an objective that shows as much" });
    this.tip = make("div", { className: "tip", hidden: true });
    this.length = make("output", { className: "length", hidden: true });
    this.note = make("p", { className: "note", hidden: true });
    const head = make("header", {}, this.runs, this.layers, this.token, this.head);
    const view = make("div", { className: "view" }, this.stage, this.legend, this.bar, this.power, this.tip, this.length);
    this.element = make("section", { className: "pane" }, head, this.note, view);
    parent.append(this.element);
    this.element.addEventListener("pointerenter", () => this.emit("enter"));
  }

  emit(name) {
    this.dispatchEvent(new Event(name));
  }

  draw() {
    if (!this.facts || !this.viewer.world.getItemCount()) return;
    const { viewport } = this.viewer;
    const [o, e] = [0, 1].map((x) => viewport.pixelFromPoint(new OSD.Point(x, 0), true));
    const scale = Math.hypot(e.x - o.x, e.y - o.y) / this.facts.size[0];
    const turned = viewport.getRotation(true) % 360; // else rounding would turn it a little
    const { clientWidth, clientHeight } = this.viewer.canvas;
    this.overlay.tiles.style.opacity = this.page.opacity;
    this.overlay.tiles.style.visibility = this.page.heat ? "visible" : "hidden";
    this.overlay.hideShapes = !this.page.marks;
    this.view = { x: o.x, y: o.y, scale, angle: turned ? Math.atan2(e.y - o.y, e.x - o.x) : 0 };
    this.overlay.draw(this.view, clientWidth, clientHeight);
    this.#drawBar(scale);
    this.#drawLength();
  }

  #drawBar(scale) {
    this.bar.hidden = this.power.hidden = !this.facts.mpp;
    if (this.bar.hidden) return;
    const most = (110 * this.facts.mpp) / scale;
    const power = 10 ** Math.floor(Math.log10(most));
    const um = [5, 2, 1].map((step) => step * power).find((length) => length <= most) ?? power;
    this.bar.style.width = `${(um * scale) / this.facts.mpp}px`;
    this.bar.textContent = lengthText(um);
    // an objective of 10x shows about 1 um in a pixel
    this.power.textContent = `${digits((10 * scale) / this.facts.mpp, 2)}×`;
  }

  /** The length of the ruler, beside its end. */
  #drawLength() {
    const { ruler } = this.overlay;
    this.length.hidden = ruler?.length !== 2;
    if (this.length.hidden) return;
    const [[ax, ay], [bx, by]] = ruler;
    const px = Math.hypot(bx - ax, by - ay);
    this.length.textContent = this.facts.mpp ? lengthText(px * this.facts.mpp) : `${digits(px)} px`;
    const [x, y] = toScreen(this.view, bx, by);
    this.length.style.left = `${Math.min(Math.max(x + 10, 4), this.viewer.canvas.clientWidth - this.length.offsetWidth - 4)}px`;
    this.length.style.top = `${Math.min(Math.max(y - 28, 4), this.viewer.canvas.clientHeight - 28)}px`;
  }

  fit(immediately = false) {
    this.moved = false;
    if (this.viewer.world.getItemCount()) this.viewer.viewport.goHome(immediately);
  }

  turn(degrees) {
    const { viewport } = this.viewer;
    viewport.setRotation((Math.round(viewport.getRotation() / 90) * 90 + degrees) % 360);
    if (!this.moved) this.fit();
    else viewport.applyConstraints();
  }

  /** Moves the view by a share of what is seen. */
  pan(x, y) {
    this.moved = true;
    const { viewport } = this.viewer;
    const { width, height } = viewport.getBounds();
    viewport.panBy(new OSD.Point(x * width, y * height).rotate(-viewport.getRotation())).applyConstraints();
  }

  zoom(factor) {
    this.moved = true;
    this.viewer.viewport.zoomBy(factor).applyConstraints();
  }

  #tileAt({ x, y }) {
    return this.view ? this.overlay.at(...toSlide(this.view, x, y)) : -1;
  }

  #hover(event) {
    const box = this.viewer.canvas.getBoundingClientRect();
    const place = event && { x: event.clientX - box.left, y: event.clientY - box.top };
    if (place) this.hand.move(place);
    const tile = place && !this.page.tool ? this.#tileAt(place) : -1;
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
    this.emit("choose");
    if (!fly || tile < 0) return;
    this.emit("enter");
    this.moved = true;
    const { xy, side } = this.overlay;
    const [u, v] = [xy[2 * tile] + side / 2, xy[2 * tile + 1] + side / 2];
    const half = 3 * side;
    this.#look(u - half, v - half, 2 * half, 2 * half);
  }

  /** Goes to what a ring x, y, x, y ... encloses. */
  flyTo(ring) {
    const [u, v] = [0, 1].map((axis) => ring.filter((_, i) => i % 2 === axis));
    const [left, top] = [Math.min(...u), Math.min(...v)];
    const [width, height] = [Math.max(...u) - left, Math.max(...v) - top];
    this.moved = true;
    this.#look(left - width / 4, top - height / 4, 1.5 * width, 1.5 * height);
  }

  #look(...box) {
    const { viewport } = this.viewer;
    viewport.fitBounds(new OSD.Rect(...box.map((length) => length / this.facts.size[0])));
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

