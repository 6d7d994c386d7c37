// What pointer and arrows do on a slide when they do not move it: measure a length, or draw an outline.

import { toScreen, toSlide } from "./overlay.js";

const NEAR = 12; // px from the first corner at which an outline closes
const STEP = 3; // px between the corners of an outline drawn in one go

export class Hand {
  constructor(pane) {
    this.pane = pane;
    const { viewer } = pane;
    const on = (name, act) => viewer.addHandler(name, (event) => {
      if (!this.tool || event.originalEvent?.button > 0) return;
      event.preventDefaultAction = true;
      pane.overlay.cross = null; // the pointer is at work, not the keyboard
      act.call(this, event.position, event);
    });
    on("canvas-press", this.#press);
    on("canvas-drag", this.#drag);
    on("canvas-drag-end", () => {});
    on("canvas-release", this.#release);
    on("canvas-click", () => {});
    on("canvas-double-click", () => this.finish());
  }

  get tool() {
    return this.pane.page.tool;
  }

  #at({ x, y }) {
    return toSlide(this.pane.view, x, y);
  }

  #far(a, b) {
    return Math.hypot(a[0] - b[0], a[1] - b[1]) * this.pane.view.scale;
  }

  #press(position) {
    const { overlay } = this.pane;
    const here = this.#at(position);
    this.pressed = here;
    if (this.tool === "measure") {
      this.second = overlay.ruler?.open === true;
      if (!this.second) overlay.ruler = Object.assign([here, here], { open: true });
    }
  }

  #drag(position) {
    const { overlay } = this.pane;
    const here = this.#at(position);
    if (this.tool === "measure") overlay.ruler[1] = here;
    else {
      overlay.sketch ??= Object.assign([this.pressed], { open: true });
      if (this.#far(here, overlay.sketch.at(-1)) >= STEP) overlay.sketch.push(here);
      this.free = true;
    }
    this.pane.draw();
  }

  #release(position) {
    const { overlay } = this.pane;
    const here = this.#at(position);
    if (this.tool === "measure") {
      overlay.ruler[1] = here;
      // a click sets one end, and the next the other; a drag sets both
      overlay.ruler.open = !this.second && this.#far(this.pressed, here) < STEP;
    } else if (this.free) {
      this.free = false;
      this.finish();
    } else if (overlay.sketch?.length > 2 && this.#far(here, overlay.sketch[0]) < NEAR) {
      this.finish();
    } else {
      overlay.sketch ??= Object.assign([], { open: true });
      overlay.sketch.push(here);
    }
    this.pane.draw();
  }

  /** Both ends are not set yet: the ruler follows. */
  move(position) {
    if (!this.pane.view || this.tool !== "measure" || !this.pane.overlay.ruler?.open) return;
    this.pane.overlay.ruler[1] = this.#at(position);
    this.pane.draw();
  }

  /** For those without a pointer: moves a cross by pixels of the screen; it begins in the middle of what is seen. */
  step(x, y) {
    const { overlay, view, viewer } = this.pane;
    const { clientWidth: width, clientHeight: height } = viewer.canvas;
    const [u, v] = overlay.cross ? toScreen(view, ...overlay.cross) : [width / 2, height / 2];
    const position = { x: Math.min(Math.max(u + x, 0), width), y: Math.min(Math.max(v + y, 0), height) };
    overlay.cross = this.#at(position);
    this.move(position);
    this.pane.draw();
  }

  /** As if it were clicked where the cross is. */
  set() {
    this.step(0, 0);
    const [x, y] = toScreen(this.pane.view, ...this.pane.overlay.cross);
    this.#press({ x, y });
    this.#release({ x, y });
  }

  /** Closes the outline that is being drawn, and hands it on. */
  finish() {
    const { overlay } = this.pane;
    const ring = overlay.sketch;
    overlay.sketch = null;
    if (ring?.length > 2) this.pane.dispatchEvent(new CustomEvent("outline", { detail: ring.flat().map((v) => Math.round(v * 10) / 10) }));
    this.pane.draw();
  }

  /** Takes the last corner back. */
  back() {
    this.pane.overlay.sketch?.pop();
    this.pane.draw();
  }

  /** Gives up what is not finished; the ruler goes with its tool. */
  leave() {
    Object.assign(this.pane.overlay, { sketch: null, ruler: null, cross: null });
    this.free = false;
    this.pane.draw();
  }
}
