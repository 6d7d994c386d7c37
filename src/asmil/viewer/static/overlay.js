// The two canvases over a slide: coloured tiles, and above them annotations, outlines, the ruler and the chosen tile.

const MANY = 20_000; // more visible tiles than this are drawn from one small picture instead
const HALO = "rgba(20, 20, 24, .6)";
const LINE = "#00e4d0";
const QUIET = "#f4f6f7";
const DRAWN = "#ffb000";

export class Overlay {
  constructor(box) {
    this.tiles = this.#canvas(box, "tiles");
    this.marks = this.#canvas(box, "marks");
    this.view = { x: 0, y: 0, scale: 1, angle: 0 };
    this.clear();
  }

  #canvas(box, name) {
    const canvas = document.createElement("canvas");
    canvas.className = `over ${name}`;
    box.append(canvas);
    return canvas;
  }

  clear() {
    this.outlines = [];
    this.ruler = this.sketch = this.cross = null;
    this.xy = new Int32Array(0);
    this.side = 1;
    this.colours = null;
    this.shapes = [];
    this.chosen = this.hovered = -1;
    this.small = null;
  }

  /** Corners (x, y, x, y ...) and side of the tiles, in units of the slide. */
  setTiles(xy, side) {
    Object.assign(this, { xy, side, colours: null, small: null, cells: new Map() });
    for (let i = 0; i < xy.length / 2; i += 1) {
      const key = this.#cell(xy[2 * i], xy[2 * i + 1]);
      if (this.cells.has(key)) this.cells.get(key).push(i);
      else this.cells.set(key, [i]);
    }
  }

  #cell(x, y) {
    return Math.floor(x / this.side) * 2 ** 24 + Math.floor(y / this.side);
  }

  /** A colour per tile: an index into a table of colours; tiles later in `order` lie above earlier ones. */
  setColours(index, order, table) {
    Object.assign(this, { colours: index, order, table, small: null });
  }

  /** Polygons and points of annotations as paths in units of the slide. */
  setShapes(classes) {
    this.shapes = classes.map(({ positive, rings, points }) => ({ path: pathOf(rings), points, colour: positive ? LINE : QUIET }));
  }

  /** Outlines that were drawn here: `id`, `class`, `rings`. */
  setOutlines(outlines) {
    this.outlines = outlines.map((outline) => ({ ...outline, path: pathOf(outline.rings) }));
  }

  /** The tile at a place of the slide; of overlapping ones that with the nearest centre. -1: none. */
  at(x, y) {
    let [best, nearest] = [-1, Infinity];
    for (const dx of [0, this.side]) {
      for (const dy of [0, this.side]) {
        for (const i of this.cells?.get(this.#cell(x - dx, y - dy)) ?? []) {
          const [u, v] = [x - this.xy[2 * i], y - this.xy[2 * i + 1]];
          const far = Math.max(Math.abs(u - this.side / 2), Math.abs(v - this.side / 2));
          if (u >= 0 && v >= 0 && u < this.side && v < this.side && far < nearest) [best, nearest] = [i, far];
        }
      }
    }
    return best;
  }

  /** Draws at a view: where the slide's corner lies, pixels of the page per unit of the slide, and how far it is turned. */
  draw(view, width, height) {
    const ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.tiles, this.marks]) {
      const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
      if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
      else canvas.getContext("2d").clearRect(0, 0, w, h);
    }
    this.view = { ...view, x: view.x * ratio, y: view.y * ratio, scale: view.scale * ratio };
    if (this.colours && this.tiles.style.visibility !== "hidden") this.#drawTiles(this.tiles.getContext("2d"));
    this.#drawMarks(this.marks.getContext("2d"), ratio);
    for (const canvas of [this.tiles, this.marks]) canvas.getContext("2d").setTransform(1, 0, 0, 1, 0, 0);
  }

  /** From here on a context draws in units of the slide times `scale`. */
  #turn(context, scale) {
    const [a, b] = [Math.cos(this.view.angle) * scale, Math.sin(this.view.angle) * scale];
    context.setTransform(a, b, -b, a, this.view.x, this.view.y);
  }

  #drawTiles(context) {
    const { scale, angle } = this.view;
    const { width, height } = context.canvas;
    const corners = [[0, 0], [width, 0], [0, height], [width, height]].map(([u, v]) => toSlide(this.view, u, v));
    const [x0, y0] = [0, 1].map((axis) => Math.min(...corners.map((corner) => corner[axis])) - this.side);
    const [x1, y1] = [0, 1].map((axis) => Math.max(...corners.map((corner) => corner[axis])));
    const visible = this.order.filter((i) => {
      const [x, y] = [this.xy[2 * i], this.xy[2 * i + 1]];
      return x > x0 && x < x1 && y > y0 && y < y1;
    });
    if (visible.length > MANY && this.side * scale < 4) return this.#drawSmall(context);
    // a slide that is turned is turned about its corner, on a whole pixel
    const [left, top] = angle ? [0, 0] : [this.view.x, this.view.y];
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    if (angle) context.setTransform(cos, sin, -sin, cos, Math.round(this.view.x), Math.round(this.view.y));
    let last = -1;
    for (const i of visible) {
      if (this.colours[i] !== last) context.fillStyle = this.table[(last = this.colours[i])];
      // whole pixels of the screen: neighbours meet without a seam, also where a tile's side was rounded down
      const [x, y] = [Math.round(left + this.xy[2 * i] * scale), Math.round(top + this.xy[2 * i + 1] * scale)];
      const right = Math.ceil(left + (this.xy[2 * i] + this.side) * scale);
      const bottom = Math.ceil(top + (this.xy[2 * i + 1] + this.side) * scale);
      context.fillRect(x, y, Math.max(right - x, 1), Math.max(bottom - y, 1));
    }
  }

  /** One pixel per tile, stretched: for slides of tens of thousands of tiles seen from afar. */
  #drawSmall(context) {
    if (!this.small) {
      const last = this.xy.reduce((most, v) => Math.max(most, v), 0);
      const size = Math.floor(last / this.side) + 1;
      const columns = Math.min(size, 8192);
      const picture = new ImageData(columns, columns);
      const rgb = this.table.map((hex) => parseInt(hex.slice(1), 16));
      for (const i of this.order) {
        const [u, v] = [0, 1].map((axis) => Math.min(Math.round(this.xy[2 * i + axis] / this.side), columns - 1));
        const colour = rgb[this.colours[i]];
        picture.data.set([colour >> 16, (colour >> 8) & 255, colour & 255, 255], 4 * (v * columns + u));
      }
      this.small = new OffscreenCanvas(columns, columns);
      this.small.getContext("2d").putImageData(picture, 0, 0);
    }
    const side = this.small.width * this.side;
    context.imageSmoothingEnabled = false;
    this.#turn(context, this.view.scale);
    context.drawImage(this.small, 0, 0, side, side);
  }

  #drawMarks(context, ratio) {
    const { scale } = this.view;
    const line = (path, colour, thick) => {
      for (const [stroke, width] of [[HALO, thick + 2], [colour, thick]]) {
        this.#turn(context, scale);
        Object.assign(context, { strokeStyle: stroke, lineWidth: (width * ratio) / scale, lineJoin: "round" });
        context.stroke(path);
      }
    };
    if (!this.hideShapes) {
      for (const { path, points, colour } of this.shapes) {
        line(path, colour, 2);
        for (const [fill, grow] of [[HALO, 1.45], [colour, 1]]) this.#drawPoints(context, points, fill, grow * ratio);
      }
      for (const { path, id } of this.outlines) line(path, DRAWN, id === this.marked ? 4 : 2);
    }
    for (const [i, colour] of [[this.hovered, "#ffffff"], [this.chosen, "#ffd400"]]) {
      if (i < 0) continue;
      const tile = new Path2D();
      tile.rect(this.xy[2 * i], this.xy[2 * i + 1], this.side, this.side);
      line(tile, colour, 2.5);
    }
    const [u, v] = this.cross ?? [];
    if (this.sketch?.length) line(pathOf([[...this.sketch, this.cross ?? []].flat()], this.sketch.open), DRAWN, 2);
    const arm = (9 * ratio) / scale;
    if (this.cross) line(pathOf([[u - arm, v, u + arm, v], [u, v - arm, u, v + arm]], true), "#ffffff", 2);
    if (this.ruler?.length === 2) line(pathOf([this.ruler.flat()], true), "#ffffff", 2);
  }

  #drawPoints(context, points, colour, grow) {
    const radius = Math.min(Math.max(this.view.scale * 3, 1.6), 5) * grow;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = colour;
    for (let i = 0; i < points.length; i += 2) {
      const [u, v] = toScreen(this.view, points[i], points[i + 1]);
      if (u < -9 || v < -9 || u > context.canvas.width + 9 || v > context.canvas.height + 9) continue;
      context.beginPath();
      context.arc(u, v, radius, 0, 2 * Math.PI);
      context.fill();
    }
  }
}

function pathOf(rings, open = false) {
  const path = new Path2D();
  for (const ring of rings) {
    for (let i = 0; i < ring.length; i += 2) i ? path.lineTo(ring[i], ring[i + 1]) : path.moveTo(ring[0], ring[1]);
    if (!open) path.closePath();
  }
  return path;
}

/** From a place of the slide to one of the screen, and back. */
export function toScreen({ x, y, scale, angle }, u, v) {
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return [x + scale * (cos * u - sin * v), y + scale * (sin * u + cos * v)];
}

export function toSlide({ x, y, scale, angle }, u, v) {
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return [(cos * (u - x) + sin * (v - y)) / scale, (cos * (v - y) - sin * (u - x)) / scale];
}
