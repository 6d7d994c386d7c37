// The page: what is shown, and what happens when something is chosen.

import { describe, showSlide, showTile, showTop } from "./detail.js";
import { Epochs } from "./epochs.js";
import { saveGeojson, savePng } from "./export.js";
import { SlideList } from "./list.js";
import { byId, digits, getJson, report, server, settle } from "./page.js";
import { Pane } from "./pane.js";
import { Say } from "./say.js";

const { runs, colours, tile_px: tilePx, token, writes } = await getJson("/api/runs");
server.token = token;

const page = {
  runs, colours, tilePx, describe, writes,
  statistics: localStorage.getItem("statistics") === "1", tool: "",
  panes: [], active: null, tables: new Map(),
  epoch: 0, opacity: 0.55, scale: "percentile", heat: true, marks: true, lowest: false,
};

async function tableOf(run) {
  if (!page.tables.has(run.id)) page.tables.set(run.id, await getJson(`/api/${run.id}/slides`));
  return page.tables.get(run.id);
}

function addPane(run) {
  const pane = new Pane(byId("panes"), page);
  pane.run = run;
  page.panes.push(pane);
  page.active ??= pane;
  pane.addEventListener("enter", () => activate(pane));
  pane.addEventListener("run", () => showIn(pane, runs[pane.runs.selectedIndex], list.current.slide).catch(report));
  pane.addEventListener("layer", () => pane === page.active && epochs.follow(pane).catch(report));
  pane.addEventListener("values", () => pane === page.active && showTiles());
  pane.addEventListener("choose", () => {
    const other = page.panes.find((one) => one !== pane);
    if (other?.row?.slide === pane.row.slide && other.facts.tiles === pane.facts.tiles) {
      other.overlay.chosen = pane.overlay.chosen;
      other.draw();
    }
    showTile(pane);
  });
  pane.addEventListener("outline", ({ detail }) => say.draw(pane, detail));
  pane.viewer.addHandler("viewport-change", () => pane === page.active && link(pane));
  return pane;
}

/** Other panes follow the one under the pointer. */
function link(leader) {
  const { viewport } = leader.viewer;
  for (const pane of page.panes.filter((one) => one !== leader)) {
    const { viewer } = pane;
    if (!viewer.world.getItemCount()) continue;
    pane.moved = leader.moved;
    viewer.viewport.setRotation(viewport.getRotation(true), true);
    viewer.viewport.zoomTo(viewport.getZoom(true), undefined, true);
    viewer.viewport.panTo(viewport.getCenter(true), true);
  }
}

function activate(pane) {
  if (page.active === pane) return;
  page.active = pane;
  if (!pane.facts) return;
  showSlide(pane);
  say.show(pane);
  showTiles();
  epochs.follow(pane).catch(report);
}

function showTiles() {
  byId("geojson").disabled = !page.active.values || page.active.layer === "disagreement" || page.active.facts.unit !== "px";
  showTile(page.active);
  showTop(page.active, page);
}

/** The slide of that name in a run; a run that lacks it says so. */
async function showIn(pane, run, slide, wanted = pane.layer) {
  const row = (await tableOf(run)).find((one) => one.slide === slide);
  pane.runs.value = run.id;
  if (!row) throw new Error(`The run ${run.name} has no slide ${slide}.`);
  await pane.show(run, row, wanted);
  if (pane === page.active) {
    showSlide(pane);
    say.show(pane);
    showTiles();
    setTool(page.tool);
  }
}

async function choose(row) {
  settle();
  epochs.leave();
  document.title = `${row.slide} · asmil view`;
  history.replaceState(null, "", `#${encodeURIComponent(row.slide)}`);
  await Promise.all(page.panes.map((pane) => showIn(pane, pane.run, row.slide)));
  document.body.dataset.ready = row.slide;
}

function press(id, on) {
  byId(id).setAttribute("aria-pressed", String(on));
}

function redraw() {
  for (const pane of page.panes) pane.draw();
}

function toggle(name) {
  page[name] = !page[name];
  press(name, page[name]);
  redraw();
}

/** What the pointer does: "measure", "outline", or "" to move the slide. */
function setTool(tool) {
  const drawable = page.active?.drawable && page.writes;
  byId("outline").disabled = !drawable;
  if (tool !== page.tool) for (const pane of page.panes) if (pane.facts) pane.hand.leave();
  page.tool = tool === "outline" && !drawable ? "" : tool;
  for (const name of ["measure", "outline"]) press(name, name === page.tool);
  byId("panes").dataset.tool = page.tool;
  say.tool();
}

function takeUp(tool) {
  setTool(page.tool === tool ? "" : tool);
  if (page.tool) byId("main").focus({ preventScroll: true }); // else Space and Enter would press the tool's button again
}

/** Shows or hides what is for statisticians; this browser remembers it. */
async function showStatistics(on) {
  page.statistics = on;
  localStorage.setItem("statistics", on ? "1" : "0");
  document.body.classList.toggle("statistics", on);
  press("statistics", on);
  byId("run-facts").textContent = facts(runs[0], list.rows);
  list.offer();
  await list.arrange();
  for (const pane of page.panes.filter((one) => one.facts)) {
    pane.offer();
    if (pane.layers.selectedIndex < 0) await pane.setLayer(pane.layers.options[0]?.value);
    else pane.recolour();
  }
  if (!page.active?.facts) return;
  showSlide(page.active);
  showTiles();
}

function facts({ says, model, stabilised, encoder, auroc, ci95, predicts_new: fresh }, rows) {
  const about = auroc === null ? null : `AUROC ${digits(auroc)} (${ci95.map((x) => digits(x)).join(" – ")})`;
  if (page.statistics) return [says, model && model + (stabilised ? ", stabilised" : ""), encoder, about].filter(Boolean).join(" · ");
  const known = rows.filter((row) => row.error !== null);
  const right = known.filter((row) => row.label === row.predicted).length;
  return [says, fresh ? `${rows.length} new slides` : `${right} of ${known.length} slides predicted rightly`].filter(Boolean).join(" · ");
}

function setScale(scale) {
  page.scale = scale;
  for (const name of ["percentile", "raw"]) press(name, name === scale);
  for (const pane of page.panes) if (pane.facts) pane.recolour();
}

async function compare() {
  const [first, second] = page.panes;
  press("compare", !second);
  document.body.classList.toggle("compared", !second);
  if (second) {
    page.panes.pop();
    second.destroy();
    page.active = first;
    activate(first);
  } else {
    const pane = addPane(runs[1] ?? runs[0]);
    // another run shows the same layer; the same run what is most telling: its seeds' disagreement, or another fold
    const layers = first.facts?.layers.map((layer) => layer.id) ?? [];
    const wanted = runs[1] ? first.layer : layers.find((id) => id === "disagreement" && id !== first.layer) ?? layers[1];
    await showIn(pane, pane.run, list.current.slide, wanted);
    link(first);
  }
}

const KEYS = {
  "[": () => list.move(-1),
  "]": () => list.move(1),
  ArrowLeft: () => page.statistics && epochs.set(page.epoch - 1),
  ArrowRight: () => page.statistics && epochs.set(page.epoch + 1),
  h: () => toggle("heat"),
  a: () => toggle("marks"),
  c: () => compare().catch(report),
  p: () => page.statistics && byId("play").click(),
  r: () => page.active.turn(90),
  R: () => page.active.turn(-90),
  m: () => takeUp("measure"),
  o: () => takeUp("outline"),
  s: () => showStatistics(!page.statistics).catch(report),
  1: () => say.choose("agree"),
  2: () => say.choose("relabel"),
  3: () => say.choose("exclude"),
  n: () => byId("note").focus(),
  0: () => page.active.fit(),
  "+": () => page.active.zoom(1.5),
  "=": () => page.active.zoom(1.5),
  "-": () => page.active.zoom(1 / 1.5),
  "/": () => byId("filter").focus(),
  "?": () => byId("keys").showModal(),
};

const MOVES = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2] };
const AT_WORK = {
  Escape: () => setTool(""),
  Enter: () => page.active.hand.finish(),
  Backspace: () => page.active.hand.back(),
  " ": () => page.active.hand.set(),
  ArrowLeft: () => page.active.hand.step(-8, 0),
  ArrowRight: () => page.active.hand.step(8, 0),
  ArrowUp: () => page.active.hand.step(0, -8),
  ArrowDown: () => page.active.hand.step(0, 8),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input[type=search], input:not([type]), textarea, select");
  const slider = event.target.matches("input[type=range], input[type=radio]") && event.key.startsWith("Arrow");
  if (typing && event.key === "Escape") event.target.blur();
  if (typing || slider || event.ctrlKey || event.metaKey || event.altKey || !page.active?.facts || byId("keys").open) return;
  const pressed = ["Enter", " "].includes(event.key) && event.target.matches("button, a, input");
  const act = (page.tool && !pressed && AT_WORK[event.key]) || KEYS[event.key];
  const move = event.shiftKey && MOVES[event.key];
  if (!move && !act) return;
  event.preventDefault();
  if (move) page.active.pan(...move);
  else act();
});

byId("before").addEventListener("click", () => list.move(-1));
byId("after").addEventListener("click", () => list.move(1));
byId("heat").addEventListener("click", () => toggle("heat"));
byId("marks").addEventListener("click", () => toggle("marks"));
byId("percentile").addEventListener("click", () => setScale("percentile"));
byId("raw").addEventListener("click", () => setScale("raw"));
byId("compare").addEventListener("click", () => compare().catch(report));
byId("measure").addEventListener("click", () => takeUp("measure"));
byId("outline").addEventListener("click", () => takeUp("outline"));
byId("turn").addEventListener("click", () => page.active.turn(90));
byId("statistics").addEventListener("click", () => showStatistics(!page.statistics).catch(report));
byId("fit").addEventListener("click", () => page.active.fit());
byId("png").addEventListener("click", () => savePng(page).catch(report));
byId("geojson").addEventListener("click", () => saveGeojson(page.active));
byId("help").addEventListener("click", () => byId("keys").showModal());
byId("keys-close").addEventListener("click", () => byId("keys").close());
byId("opacity").addEventListener("input", () => {
  page.opacity = byId("opacity").value / 100;
  redraw();
});
byId("flip").addEventListener("click", () => {
  page.lowest = !page.lowest;
  showTop(page.active, page);
});

const [run] = runs;
byId("run-name").textContent = runs.map((one) => one.name).join(" and ");
const epochs = new Epochs(page);
const list = new SlideList(page, run, await tableOf(run), (row) => choose(row).catch(report));
const say = new Say(page, (row) => list.items.has(row) && list.said(row));
addPane(run);
await showStatistics(page.statistics);
const asked = () => list.rows.find((row) => row.slide === decodeURIComponent(location.hash.slice(1)));
list.choose(asked() ?? list.shown[0] ?? list.rows[0]);
window.addEventListener("hashchange", () => asked() && list.choose(asked()));
if (runs.length > 1) await compare();
