// The page: what is shown, and what happens when something is chosen.

import { describe, showSlide, showTile, showTop } from "./detail.js";
import { Epochs } from "./epochs.js";
import { saveGeojson, savePng } from "./export.js";
import { SlideList } from "./list.js";
import { byId, digits, getJson, report, settle } from "./page.js";
import { Pane } from "./pane.js";

const { runs, colours, tile_px: tilePx } = await getJson("/api/runs");

const page = {
  runs, colours, tilePx, describe,
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
    viewer.viewport.zoomTo(viewport.getZoom(true), undefined, true);
    viewer.viewport.panTo(viewport.getCenter(true), true);
  }
}

function activate(pane) {
  if (page.active === pane) return;
  page.active = pane;
  if (!pane.facts) return;
  showSlide(pane);
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
    showTiles();
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
  ArrowLeft: () => epochs.set(page.epoch - 1),
  ArrowRight: () => epochs.set(page.epoch + 1),
  h: () => toggle("heat"),
  a: () => toggle("marks"),
  c: () => compare().catch(report),
  p: () => byId("play").click(),
  0: () => page.active.fit(),
  "+": () => page.active.zoom(1.5),
  "=": () => page.active.zoom(1.5),
  "-": () => page.active.zoom(1 / 1.5),
  "/": () => byId("filter").focus(),
  "?": () => byId("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input[type=search], select");
  if (typing && event.key === "Escape") event.target.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS) || !page.active?.facts) return;
  event.preventDefault();
  KEYS[event.key]();
});

byId("heat").addEventListener("click", () => toggle("heat"));
byId("marks").addEventListener("click", () => toggle("marks"));
byId("percentile").addEventListener("click", () => setScale("percentile"));
byId("raw").addEventListener("click", () => setScale("raw"));
byId("compare").addEventListener("click", () => compare().catch(report));
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
const auroc = run.auroc === null ? null : `AUROC ${digits(run.auroc)} (${run.ci95.map((x) => digits(x)).join(" – ")})`;
byId("run-facts").textContent = [run.says, run.model + (run.stabilised ? ", stabilised" : ""), run.encoder, auroc].filter(Boolean).join(" · ");

const epochs = new Epochs(page);
const list = new SlideList(run, await tableOf(run), (row) => choose(row).catch(report));
addPane(run);
await list.arrange();
const asked = decodeURIComponent(location.hash.slice(1));
list.choose(list.rows.find((row) => row.slide === asked) ?? list.shown[0]);
if (runs.length > 1) await compare();
