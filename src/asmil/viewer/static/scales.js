// From values per tile to colours: ranks, the raw range, and words for both. Definitions as in the report.

const EMPTY = { low: 0, high: 1 };

/** Rank of each value in (0, 1], ties share their mean rank; the order, ascending; places from the top, 1 first. */
export function rank(values) {
  const n = values.length;
  const order = Uint32Array.from(values, (_, i) => i).sort((a, b) => values[a] - values[b]);
  const percentile = new Float32Array(n);
  const place = new Uint32Array(n);
  for (let start = 0; start < n; ) {
    let end = start + 1;
    while (end < n && values[order[end]] === values[order[start]]) end += 1;
    const mean = (start + 1 + end) / 2 / n;
    for (let i = start; i < end; i += 1) {
      percentile[order[i]] = mean;
      place[order[i]] = n - end + 1;
    }
    start = end;
  }
  return { order, percentile, place };
}

function quantile(sorted, share) {
  const at = share * (sorted.length - 1);
  const low = Math.floor(at);
  return sorted[low] + (at - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
}

/** Ends of the raw range: 1st and 99th percentile; values that do not vary get the middle colour. */
export function rawLimits(values) {
  if (!values.length) return EMPTY;
  const sorted = Float64Array.from(values).sort();
  const [low, high] = [quantile(sorted, 0.01), quantile(sorted, 0.99)];
  return high - low > 1e-9 * Math.abs(high) ? { low, high } : { low: 0, high: 2 * high || 2 };
}

const EVEN = 0.99; // effective share of tiles, as in asmil.attention.is_even

/** Whether attention prefers no tile, so that its ranks are noise. */
export function isEven(values) {
  let [sum, squares] = [0, 0];
  for (const v of values) [sum, squares] = [sum + v, squares + v * v];
  return sum * sum > EVEN * values.length * squares;
}

/** What is drawn of a layer: shown values, their range, the colours, and how a value reads. */
export function scaleOf(layer, values, ranks, kind, wholeRange) {
  if (layer === "disagreement") {
    const points = values.map((v) => 100 * v);
    const { high } = rawLimits(points);
    return { shown: points, low: 0, high, colours: "disagreement", ends: ["0", `${digitsOf(high)} percentile points`], plain: ["agree", "disagree"] };
  }
  if (layer.startsWith("evidence-")) {
    const end = quantile(Float64Array.from(values, Math.abs).sort(), 0.99) || 1;
    const text = digitsOf(end);
    return { shown: values, low: -end, high: end, colours: "evidence", ends: [`speaks against, −${text}`, `for, +${text} logit`], plain: ["speaks against", "speaks for it"] };
  }
  if (isEven(values)) {
    const ends = ["attention is even here:", "it prefers no tile"];
    return { shown: values.map(() => 0), low: 0, high: 1, colours: "even", ends, plain: ["the models preferred", "no place here"] };
  }
  if (kind === "percentile") {
    return { shown: ranks.percentile, low: 0, high: 1, colours: "attention", ends: ["lowest", "highest tile"], plain: ["looked at least", "most"] };
  }
  const shown = values.map((v) => v * values.length);
  const { low, high } = wholeRange ?? rawLimits(shown);
  return { shown, low, high, colours: "attention", ends: [`${digitsOf(low, high)}`, `${digitsOf(high, low)} × uniform`] };
}

/** As many digits as tell the two ends apart. */
function digitsOf(value, other = 0) {
  const apart = Math.abs(value - other) || Math.abs(value) || 1;
  const places = Math.min(Math.max(Math.ceil(-Math.log10(apart)) + 2, 0), 9);
  return Number(value.toFixed(places)).toString();
}

/** Index 0 ... 255 of each value in a table of colours. */
export function colourIndex({ shown, low, high }) {
  const factor = 255 / Math.max(high - low, 1e-300);
  return Uint8Array.from(shown, (v) => Math.min(Math.max(Math.round((v - low) * factor), 0), 255));
}
