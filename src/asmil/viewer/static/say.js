// What a person says of a slide: a verdict and a note, and the outlines drawn on it. Kept beside the run at once.

import { byId, make, send } from "./page.js";

/** A verdict in few words, for the list. */
export function verdictText({ verdict, label, note }) {
  const said = { agree: "agreed", relabel: `now ${label}`, exclude: "excluded" }[verdict];
  return said ?? (note ? "note" : "");
}

export class Say {
  /** `onSaid(pane)` is called when something was kept. */
  constructor(page, onSaid) {
    Object.assign(this, { page, onSaid });
    for (const radio of this.#radios()) radio.addEventListener("change", () => this.#keep());
    byId("relabel").addEventListener("change", () => this.choose("relabel"));
    byId("note").addEventListener("change", () => this.#keep());
    byId("unsay").addEventListener("click", () => this.choose(""));
    byId("outline-class").addEventListener("keydown", (event) => event.key === "Enter" && event.target.blur());
  }

  #radios() {
    return document.querySelectorAll("#verdict input[type=radio]");
  }

  /** Shows what was said of the slide of a pane. */
  show(pane) {
    const { row, run } = pane;
    this.pane = pane;
    const { verdict, label, note } = row.said;
    for (const radio of this.#radios()) radio.checked = radio.value === verdict;
    const known = row.label || row.predicted;
    byId("agreed").textContent = row.label ? `Label is right: ${known}` : `Agree: ${known}`;
    const others = run.classes.filter((name) => name !== known);
    byId("relabel").replaceChildren(...others.map((name) => make("option", { value: name, textContent: name })));
    if (others.includes(label)) byId("relabel").value = label;
    byId("note").value = note;
    byId("unsay").hidden = !verdict;
    byId("kept").textContent = this.page.writes ? "" : "Taken only in a browser on the machine that the viewer runs on";
    byId("verdict").disabled = !this.page.writes;
    this.#showOutlines();
  }

  /** As if a verdict had been clicked; "" takes it back. */
  choose(verdict) {
    if (byId("verdict").disabled || !this.pane) return;
    for (const radio of this.#radios()) radio.checked = radio.value === verdict;
    this.#keep();
  }

  async #keep() {
    const { pane } = this;
    const { row, base } = pane;
    const verdict = Array.from(this.#radios()).find((radio) => radio.checked)?.value ?? "";
    const said = { verdict, label: byId("relabel").value, note: byId("note").value.trim() };
    try {
      row.said = await send("PUT", `${base}/verdict`, said);
      if (pane.row !== row) return this.onSaid(row);
      byId("kept").textContent = "Saved in verdicts.csv";
      byId("unsay").hidden = !verdict;
    } catch (error) {
      byId("kept").textContent = `Not saved. ${error.message}`;
    }
    this.onSaid(row);
  }

  // Outlines.

  /** The class of the next outline, as it stands in the field. */
  get outlineClass() {
    return byId("outline-class").value.trim() || this.pane.run.classes.at(-1);
  }

  async draw(pane, ring) {
    await this.#change(pane, send("POST", `${pane.base}/outlines`, { class: this.outlineClass, ring }));
  }

  async #change(pane, sent) {
    const { row } = pane;
    try {
      const outlines = await sent;
      if (pane.row !== row) return;
      pane.overlay.setOutlines(outlines);
      byId("drawn").textContent = "Saved for QuPath";
    } catch (error) {
      byId("drawn").textContent = `Not saved. ${error.message}`;
    }
    pane.draw();
    if (pane === this.pane) this.#showOutlines();
  }

  #showOutlines() {
    const { pane } = this;
    const { outlines } = pane.overlay;
    const named = [...new Set([...pane.run.classes, ...outlines.map((one) => one.class)])];
    byId("outline-classes").replaceChildren(...named.map((value) => make("option", { value })));
    byId("outlines").hidden = !outlines.length && this.page.tool !== "outline";
    byId("outline-list").replaceChildren(...outlines.map((outline, i) => {
      const erase = make("button", { className: "quiet", textContent: "Remove", ariaLabel: `Remove outline ${i + 1}, ${outline.class}` });
      erase.addEventListener("click", () => this.#change(pane, send("DELETE", `${pane.base}/outlines/${outline.id}`)));
      const go = make("button", { className: "quiet", textContent: `${i + 1} ${outline.class}`, title: "Go there" });
      go.addEventListener("click", () => pane.flyTo(outline.rings[0]));
      const mark = (id) => () => (Object.assign(pane.overlay, { marked: id }), pane.draw());
      for (const [name, id] of [["pointerenter", outline.id], ["focus", outline.id], ["pointerleave", null], ["blur", null]]) go.addEventListener(name, mark(id));
      return make("li", {}, go, this.page.writes ? erase : null);
    }));
  }

  /** The tool for outlines was taken up or laid down. */
  tool() {
    byId("drawn").textContent = this.page.tool === "outline" ? "Drag around it; or set corners by clicks, or by arrows and Space, and press Enter" : "";
    if (this.pane?.row) this.#showOutlines();
  }
}
