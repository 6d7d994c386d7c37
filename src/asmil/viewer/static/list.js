// The list of slides: filtered by text, sorted by what should be looked at first.

import { byId, digits, getJson, make, report } from "./page.js";

const SORTS = {
  error: { label: "largest error", key: (row) => row.error, text: (row) => `loss ${digits(row.error)}` },
  uncertainty: { label: "most uncertain", key: (row) => row.uncertainty, text: (row) => `entropy ${digits(row.uncertainty, 2)}` },
  spread: { label: "seeds differ in probability", key: (row) => row.spread, text: (row) => `± ${digits(row.spread, 2)}` },
  seeds: { label: "seeds differ in attention", key: (row) => row.unrest?.seeds, text: (row) => `JSD ${digits(row.unrest?.seeds)}` },
  epochs: { label: "attention not settled", key: (row) => row.unrest?.epochs, text: (row) => `JSD ${digits(row.unrest?.epochs)}` },
  name: { label: "name", key: null, text: () => "" },
};

const probability = (row, run) => `p ${row.probabilities[run.classes.indexOf(row.predicted)]?.toFixed(2)}`;

export class SlideList {
  constructor(run, rows, onChoose) {
    Object.assign(this, { run, rows, onChoose, shown: [], items: new Map() });
    const offered = Object.entries(SORTS).filter(([name]) => name !== "spread" || rows.some((row) => row.spread !== null));
    byId("sort").replaceChildren(...offered.map(([value, { label }]) => make("option", { value, textContent: label })));
    byId("sort").addEventListener("change", () => this.arrange().catch(report));
    byId("filter").addEventListener("input", () => this.arrange().catch(report));
    byId("recorded").addEventListener("change", () => this.arrange().catch(report));
    byId("recorded").disabled = !rows.some((row) => row.recorded);
    for (const row of rows) this.items.set(row, this.#item(row));
  }

  #item(row) {
    const known = this.run.classes.includes(row.label);
    const right = row.label === row.predicted;
    const verdict = make(
      "span",
      { className: `verdict ${!known ? "muted" : right ? "good" : "bad"}` },
      known && !right ? `${row.label}, called ${row.predicted}` : row.predicted,
    );
    const picture = make("img", { alt: "", loading: "lazy", width: 44, height: 44, src: `/api/${this.run.id}/${row.number}/thumbnail.jpg` });
    const measure = make("span", { className: "measure muted" });
    const name = make("span", { className: "name", textContent: row.slide, title: row.slide });
    const button = make("button", { className: "slide" }, picture, make("span", { className: "words" }, name, verdict, measure));
    button.addEventListener("click", () => this.choose(row));
    return { element: make("li", {}, button), button, measure };
  }

  /** Filters and sorts by what the controls say. */
  async arrange() {
    if (["seeds", "epochs"].includes(byId("sort").value) && !("unrest" in this.rows[0])) {
      const unrest = await getJson(`/api/${this.run.id}/unrest`);
      this.rows.forEach((row, i) => (row.unrest = unrest[i]));
    }
    const { key, text } = SORTS[byId("sort").value]; // read now: while this was waiting, another may have been chosen
    const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const only = byId("recorded").checked;
    this.shown = this.rows.filter((row) => {
      const all = [row.slide, row.case, row.label, row.predicted, row.label === row.predicted ? "right" : "wrong"];
      const said = all.join(" ").toLowerCase();
      return words.every((word) => said.includes(word)) && (row.recorded || !only);
    });
    const value = (row) => key(row) ?? -Infinity;
    if (key) this.shown.sort((a, b) => value(b) - value(a) || a.slide.localeCompare(b.slide));
    else this.shown.sort((a, b) => a.slide.localeCompare(b.slide, undefined, { numeric: true }));
    for (const row of this.shown) this.items.get(row).measure.textContent = [probability(row, this.run), text(row)].filter(Boolean).join(" · ");
    const none = make("li", { className: "muted none", textContent: "No slide fits the filter." });
    byId("slides").replaceChildren(...(this.shown.length ? this.shown.map((row) => this.items.get(row).element) : [none]));
  }

  choose(row) {
    this.items.get(this.current)?.button.removeAttribute("aria-current");
    this.current = row;
    const { button } = this.items.get(row);
    button.setAttribute("aria-current", "true");
    button.scrollIntoView({ block: "nearest" });
    this.onChoose(row);
  }

  /** The slide `step` further down the list. */
  move(step) {
    const at = this.shown.indexOf(this.current);
    const next = this.shown[Math.min(Math.max(at + step, 0), this.shown.length - 1)];
    if (next && next !== this.current) this.choose(next);
  }
}
