// What is on screen as a picture, and the tiles of a layer as a file for QuPath.

import { byId, getBuffer, report, save } from "./page.js";

const FOOT = 46;

const clean = (text) => text.replaceAll(/[^\w.-]+/g, "_");

/** The panes as they are on screen, each with a line of words and its colours below. */
export async function savePng(page) {
  const { panes } = page;
  const ratio = window.devicePixelRatio || 1;
  const sizes = panes.map(({ viewer }) => [viewer.canvas.clientWidth, viewer.canvas.clientHeight]);
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(ratio * (sizes.reduce((sum, [w]) => sum + w, 0) + 8 * (panes.length - 1)));
  canvas.height = Math.round(ratio * (sizes[0][1] + FOOT));
  const context = canvas.getContext("2d");
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.scale(ratio, ratio);
  let left = 0;
  panes.forEach((pane, i) => {
    const [width, height] = sizes[i];
    context.drawImage(pane.viewer.drawer.canvas, left, 0, width, height);
    if (page.heat) {
      context.globalAlpha = page.opacity;
      context.drawImage(pane.overlay.tiles, left, 0, width, height);
      context.globalAlpha = 1;
    }
    context.drawImage(pane.overlay.marks, left, 0, width, height);
    words(context, pane, { left, top: height, width });
    left += width + 8;
  });
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  save(blob, `${clean(panes[0].row.slide)}.png`);
}

function words(context, pane, { left, top, width }) {
  const layer = pane.layers.selectedOptions[0];
  const said = [pane.row.slide, pane.run.name, layer?.textContent, pane.layer?.startsWith("epoch-") && byId("epoch-text").value];
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.fillStyle = "#1d2023";
  context.fillText(said.filter(Boolean).join(" · "), left + 6, top + 13, width - 12);
  if (!pane.values || !pane.page.heat) return;
  const [low, high] = pane.scale.ends;
  context.fillStyle = "#646a70";
  context.fillText(low, left + 6, top + 33);
  const from = left + 12 + context.measureText(low).width;
  context.drawImage(pane.ramp, from, top + 28, 110, 9);
  context.fillText(high, from + 116, top + 33);
  if (!pane.bar.hidden) {
    const length = parseFloat(pane.bar.style.width);
    context.fillStyle = "#1d2023";
    context.fillRect(left + width - 8 - length, top + 26, length, 3);
    context.textAlign = "right";
    context.fillText(pane.bar.textContent, left + width - 8, top + 37);
    context.textAlign = "left";
  }
}

/** The layer of the active pane as GeoJSON. */
export async function saveGeojson(pane) {
  try {
    const content = await getBuffer(`${pane.base}/geojson/${pane.address}`);
    save(new Blob([content], { type: "application/geo+json" }), `${clean(pane.row.slide)}_${pane.address}.geojson`);
  } catch (error) {
    report(error);
  }
}
