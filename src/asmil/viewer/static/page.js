// Small tools of the page: elements, numbers in words, requests.

/** An element with properties and children. Text is always text, never markup: names come from strangers. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";

export function drawing(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A number with four digits that matter; small ones as 1.2e-6. */
export function digits(value, count = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(1);
  return String(Number(value.toPrecision(count)));
}

/** A share in whole per cent, with decimals where these would be a 0 or 100 that it is not: `percent` in shown.py. */
export function percent(share) {
  for (const places of [0, 1, 2]) {
    const text = (100 * share).toFixed(places);
    if (share === 0 || share === 1 || (Number(text) !== 0 && Number(text) !== 100)) return `${text} %`;
  }
  return share > 0.5 ? "> 99.99 %" : "< 0.01 %";
}

/** A probability with so many decimals, and with up to six where these would be a 0 or 1 that it is not. */
export function probability(value, places = 3) {
  for (let more = places; more <= 6; more++) {
    const text = value.toFixed(more);
    if (value === 0 || value === 1 || (Number(text) !== 0 && Number(text) !== 1)) return text;
  }
  return value > 0.5 ? "> 0.999999" : "< 0.000001";
}

/** 1st, 2nd, 3rd, 4th, 11th ... */
export function ordinal(n) {
  const last = n % 100 >= 11 && n % 100 <= 13 ? 0 : n % 10;
  return `${n.toLocaleString("en")}${["th", "st", "nd", "rd"][last] ?? "th"}`;
}

/** A length in um as it is written beside a scale bar. */
export function lengthText(um) {
  return um >= 1000 ? `${digits(um / 1000)} mm` : `${digits(um)} µm`;
}

export function report(error) {
  if (error.name === "AbortError") return;
  const bar = byId("problem");
  bar.textContent = error.message;
  bar.hidden = false;
}

export function settle() {
  byId("problem").hidden = true;
}

/** What the server wants to hear from whoever writes: it comes with the runs. */
export const server = { token: "" };

/** Says something to the server, as JSON; returns its answer. */
export async function send(method, path, value = {}) {
  const headers = { "content-type": "application/json", "x-asmil-token": server.token };
  return (await answer(path, null, { method, headers, body: JSON.stringify(value) })).json();
}

async function answer(path, signal, options = {}) {
  const response = await fetch(path, { signal, ...options });
  if (response.ok) return response;
  let text = `The server answered ${response.status}.`;
  if (response.headers.get("content-type")?.includes("json")) {
    const { what, found, fix } = await response.json();
    text = [`${what}.`, found && `Found: ${found}.`, fix && `To fix: ${fix}.`].filter(Boolean).join(" ");
  }
  throw new Error(text);
}

export const getJson = async (path, signal) => (await answer(path, signal)).json();
export const getBuffer = async (path, signal) => (await answer(path, signal)).arrayBuffer();

/** Hands a blob to the user as a file. */
export function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
