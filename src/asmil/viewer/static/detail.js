// The right side: what is known of the slide, of one tile, and the tiles to look at first.

import { byId, digits, make, ordinal, percent, probability } from "./page.js";

const SHOWN = 12;

/** What there is to say of a tile, line by line. */
export function describe(pane, tile) {
  const { values, ranks, truth } = pane;
  const n = values.length;
  const place = `${ordinal(ranks.place[tile])} of ${n.toLocaleString("en")}`;
  const said = pane.page.statistics ? measured(pane, tile) : [inWords(pane, tile)];
  return [pane.page.statistics ? place : `${place} tiles`, ...said.filter(Boolean), ...truthOf(pane, truth[tile])];
}

function measured({ values, ranks, layer }, tile) {
  const weight = values[tile];
  if (layer === "disagreement") return [`seeds differ by ${digits(100 * weight, 3)} percentile points`];
  const score = layer.startsWith("evidence-") ? `${signed(weight)} logit` : `${digits(weight * values.length, 4)} × uniform`;
  return [score, `percentile ${digits(100 * ranks.percentile[tile], 3)}`];
}

function inWords({ run, layer, values, scale }, tile) {
  if (layer.startsWith("evidence-")) return `speaks ${values[tile] < 0 ? "against" : "for"} ${run.classes[Number(layer.slice(9))]}`;
  return layer === "disagreement" || scale.colours === "even" ? "" : "the first is where the models looked most";
}

function signed(value) {
  return `${value < 0 ? "−" : "+"}${digits(Math.abs(value), 3)}`;
}

function truthOf(pane, truth) {
  if (truth > 1) return [];
  const looked = pane.run.positive.join(", ");
  return [truth ? `annotated as ${looked}` : `not annotated as ${looked}`];
}

function region(pane, tile) {
  const { xy, side } = pane.overlay;
  const px = Math.max(Math.round(side), 1);
  const alone = pane.facts.pixels === "none" || px > 8192;
  return alone ? null : `${pane.base}/region/${xy[2 * tile]}_${xy[2 * tile + 1]}_${px}.jpg`;
}

/** What is known of the slide of a pane. */
export function showSlide({ row, run, facts, page: { statistics } }) {
  const known = run.classes.includes(row.label);
  const verdict = !known ? `predicted ${row.predicted}` : row.label === row.predicted ? `${row.label}, predicted rightly` : `${row.label}, predicted ${row.predicted}`;
  const bars = run.classes.map((name, i) =>
    make(
      "div",
      { className: "probability", title: `probability of ${name}` },
      make("span", { className: "label", textContent: name }),
      make("meter", { min: 0, max: 1, value: row.probabilities[i] }),
      make("span", { className: "muted", textContent: statistics ? probability(row.probabilities[i]) : percent(row.probabilities[i]) }),
    ),
  );
  const said = statistics ? technical(facts) : inMillimetres(facts);
  const at = row.threshold === null ? [] : [`${run.classes[1]} is called from ${statistics ? probability(row.threshold) : percent(row.threshold)} on`];
  byId("facts").replaceChildren(
    make("h2", { textContent: row.slide, title: `case ${row.case}` }),
    make("p", { className: !known ? "" : row.label === row.predicted ? "good" : "bad", textContent: verdict }),
    ...bars,
    ...at.map((textContent) => make("p", { className: "muted", textContent })),
    ...row.warnings.map((text) => make("p", { className: "warning", textContent: text })),
    make("p", { className: "muted", textContent: said.filter(Boolean).join(" · ") }),
    ...facts.annotated.map(({ name, positive }) =>
      make("span", { className: "muted" }, make("i", { className: `key ${positive ? "looked" : "other"}` }), name),
    ),
  );
}

function technical({ tiles, size, unit, mpp, reader }) {
  const sides = `${size[0].toLocaleString("en")} × ${size[1].toLocaleString("en")} ${unit === "px" ? "px" : "µm"}`;
  return [`${tiles.toLocaleString("en")} tiles`, sides, mpp && unit === "px" ? `${digits(mpp)} µm/px` : null, reader && `read by ${reader}`];
}

/** The size of the slide, and the objective that it was scanned with: one of 10x shows about 1 um in a pixel. */
function inMillimetres({ size, unit, mpp }) {
  const um = unit === "um" ? 1 : mpp;
  if (!um) return [];
  const scanned = unit === "px" ? `scanned at about ${digits(10 / mpp, 2)}×` : null;
  return [size.map((length) => digits((length * um) / 1000, 2)).join(" × ") + " mm", scanned];
}

/** The tile that was clicked. */
export function showTile(pane) {
  const tile = pane.overlay.chosen;
  if (tile < 0 || !pane.values) return byId("tile").replaceChildren();
  const { xy } = pane.overlay;
  const source = region(pane, tile);
  const place = pane.page.statistics ? [`at ${xy[2 * tile].toLocaleString("en")}, ${xy[2 * tile + 1].toLocaleString("en")}`] : [];
  const lines = [...describe(pane, tile), ...place];
  byId("tile").replaceChildren(
    source ? make("img", { src: source, alt: "The chosen tile", width: 96, height: 96 }) : "",
    make("div", {}, ...lines.map((line, i) => make("div", { textContent: line, className: i ? "muted" : "" }))),
  );
}

/** The tiles of highest (or lowest) value; a click goes there. */
export function showTop(pane, { lowest }) {
  const word = pane.layer === "disagreement" ? (lowest ? "Most agreed" : "Most disputed") : lowest ? "Lowest" : "Highest";
  const { statistics } = pane.page;
  byId("top-title").textContent = statistics || lowest ? `${word} tiles` : "Look here first";
  byId("flip").textContent = lowest ? "highest" : "lowest";
  if (!pane.values) return byId("tiles").replaceChildren();
  const order = pane.ranks.order;
  const some = lowest ? order.slice(0, SHOWN) : order.slice(-SHOWN).reverse();
  byId("tiles").replaceChildren(
    ...Array.from(some, (tile) => {
      const source = region(pane, tile);
      const picture = source ? make("img", { src: source, alt: "", width: 56, height: 56, loading: "lazy" }) : make("i", { className: "swatch" });
      if (!source) picture.style.background = pane.page.colours[pane.scale.colours][pane.overlay.colours[tile]];
      const { ranks } = pane;
      const evidence = pane.layer.startsWith("evidence-") && signed(pane.values[tile]);
      const value = evidence ? evidence : pane.layer === "disagreement" ? `±${digits(100 * pane.values[tile], 2)}` : `${digits(pane.values[tile] * pane.values.length, 4)}×`;
      const truth = pane.truth[tile] === 1 ? "positive" : "";
      const button = make("button", { className: truth, title: describe(pane, tile).join("\n") }, picture, make("span", { textContent: statistics ? value : ordinal(ranks.place[tile]) }));
      button.dataset.tile = tile;
      button.addEventListener("click", () => pane.choose(tile, true));
      return make("li", {}, button);
    }),
  );
}
