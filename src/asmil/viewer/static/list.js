// The list of slides: filtered by text, sorted by what should be looked at first.

import { byId, digits, getJson, make, percent, probability, report } from "./page.js";
import { verdictText } from "./say.js";

const WRONG = 1000; // more than any loss, so that what was decided wrongly comes before what was nearly

// `plain` is what an order is called without statistics; those that have none are for statisticians.
const SORTS = {
  error: { label: "largest error", plain: "wrong first", key: (row, statistics) => (statistics || row.error === null || row.label === row.predicted ? row.error : WRONG + row.error), text: (row) => `loss ${digits(row.error)}` },
  warned: { label: "with warnings", plain: "with warnings first", key: (row) => row.warnings.length || null, text: () => "" },
  uncertainty: { label: "most uncertain", plain: "least certain first", key: (row) => row.uncertainty, text: (row) => `entropy ${digits(row.uncertainty, 2)}` },
  spread: { label: "seeds differ in probability", plain: "models disagree first", key: (row) => row.spread, text: (row) => `± ${digits(row.spread, 2)}` },
  unsaid: { label: "without a verdict", plain: "without a verdict first", key: (row) => (row.said.verdict ? 0 : 1), text: () => "" },
  seeds: { label: "seeds differ in attention", key: (row) => row.unrest?.seeds, text: (row) => `JSD ${digits(row.unrest?.seeds)}` },
  epochs: { label: "attention not settled", key: (row) => row.unrest?.epochs, text: (row) => `JSD ${digits(row.unrest?.epochs)}` },
  name: { label: "name", plain: "by name", key: null, text: () => "" },
};

// Where there is a threshold, the class that it is about: the probability of what was called may be below one half.
const told = (row, run) => {
  const name = row.threshold === null ? row.predicted : run.classes[1];
  return { name, share: row.probabilities[run.classes.indexOf(name)] };
};

export class SlideList {
  constructor(page, run, rows, onChoose) {
    Object.assign(this, { page, run, rows, onChoose, shown: [], items: new Map() });
    byId("sort").addEventListener("change", () => this.arrange().catch(report));
    byId("filter").addEventListener("input", () => this.arrange().catch(report));
    byId("recorded").addEventListener("change", () => this.arrange().catch(report));
    byId("recorded").disabled = !rows.some((row) => row.recorded);
    byId("slides").addEventListener("keydown", (event) => this.#walk(event));
    for (const row of rows) this.items.set(row, this.#item(row));
  }

  /** The orders there are: those by something that is known of a slide at least. */
  offer() {
    const { statistics } = this.page;
    const asks = ["seeds", "epochs"]; // what is only fetched when it is asked for, of runs alone
    const offered = Object.entries(SORTS).filter(([name, { plain, key }]) => {
      if (!statistics && !plain) return false;
      return asks.includes(name) ? !this.run.predicts_new : !key || this.rows.some((row) => key(row) !== null && key(row) !== undefined);
    });
    const before = byId("sort").value;
    byId("sort").replaceChildren(...offered.map(([value, { label, plain }]) => make("option", { value, textContent: statistics ? label : plain })));
    if (offered.some(([name]) => name === before)) byId("sort").value = before;
    if (!statistics) byId("recorded").checked = false;
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
    const warned = row.warnings.length ? make("span", { className: "bad", textContent: `⚠ ${row.warnings.length} warning${row.warnings.length > 1 ? "s" : ""}` }) : null;
    const said = make("span", { className: "said", textContent: verdictText(row.said) });
    const words = make("span", { className: "words" }, name, verdict, warned, measure, said);
    const button = make("button", { className: "slide", tabIndex: -1 }, picture, words);
    button.addEventListener("click", () => this.choose(row));
    return { element: make("li", {}, button), button, measure, said };
  }

  /** The list is one stop of the Tab key; within it the arrows go on. */
  #walk(event) {
    const buttons = this.shown.map((row) => this.items.get(row).button);
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.#stop(buttons[Math.min(Math.max(to, 0), buttons.length - 1)]).focus();
  }

  /** Makes a button the one that Tab stops at. */
  #stop(button) {
    if (this.stopped) this.stopped.tabIndex = -1;
    this.stopped = button;
    button.tabIndex = 0;
    return button;
  }

  /** A verdict on a slide has changed. */
  said(row) {
    this.items.get(row).said.textContent = verdictText(row.said);
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
      const all = [row.slide, row.case, row.label, row.predicted, !row.label ? "" : row.label === row.predicted ? "right" : "wrong", row.said.verdict || "no verdict", row.said.note, ...row.warnings];
      const said = all.join(" ").toLowerCase();
      return words.every((word) => said.includes(word)) && (row.recorded || !only);
    });
    const value = (row) => key(row, this.page.statistics) ?? -Infinity;
    if (key) this.shown.sort((a, b) => value(b) - value(a) || a.slide.localeCompare(b.slide));
    else this.shown.sort((a, b) => a.slide.localeCompare(b.slide, undefined, { numeric: true }));
    for (const row of this.shown) this.items.get(row).measure.textContent = this.#measure(row, text);
    const none = make("li", { className: "muted none", textContent: "No slide fits the filter." });
    const stop = this.shown.includes(this.current) ? this.current : this.shown[0];
    if (stop) this.#stop(this.items.get(stop).button);
    byId("slides").replaceChildren(...(this.shown.length ? this.shown.map((row) => this.items.get(row).element) : [none]));
  }

  #measure(row, text) {
    const { name, share } = told(row, this.run);
    if (!this.page.statistics) return (share ?? null) === null ? "" : `${percent(share)} probability of ${name}`; // the number first: a long name is cut off
    return [`p(${name}) ${(share ?? null) === null ? "" : probability(share, 2)}`, text(row)].filter(Boolean).join(" · ");
  }

  choose(row) {
    this.items.get(this.current)?.button.removeAttribute("aria-current");
    this.current = row;
    const { button } = this.items.get(row);
    button.setAttribute("aria-current", "true");
    this.#stop(button);
    const list = byId("slides"); // which holds the button unless the filter keeps it out
    // on a phone the list is a part of the page, which must not leave the slide that was chosen
    if (list.scrollHeight > list.clientHeight + 1) button.scrollIntoView({ block: "nearest" });
    this.onChoose(row);
  }

  /** The slide `step` further down the list. */
  move(step) {
    const at = this.shown.indexOf(this.current);
    const next = this.shown[Math.min(Math.max(at + step, 0), this.shown.length - 1)];
    if (next && next !== this.current) this.choose(next);
  }
}
