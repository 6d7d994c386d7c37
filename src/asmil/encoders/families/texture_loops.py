"""The values of colour-texture by compiled loops over the planes of `texture_planes`.

`colour_texture` has the definitions; these are their sums without a large array for each of the terms. Sums alone are
reordered; whatever is compared with a threshold is rounded as torch rounds it.
"""

import math

import numpy as np

from asmil.encoders.families.colour_texture import GREY_LEVELS, STAIN_EDGES, percentiles_of
from asmil.encoders.families.texture_planes import F, entry, exact, granulometry, pyramid, stain_planes, summed

VALUES, _NUCLEI = 284, 60
_EDGES = tuple(F(edge) for edge in STAIN_EDGES)
_STEPS, _BINS, _CLASSES = GREY_LEVELS, len(STAIN_EDGES) + 1, 10
_HALF, _QUARTER, _TWO, _FOUR, _ONE, _ZERO, _FAR = F(0.5), F(0.25), F(2), F(4), F(1), F(0), F(np.inf)
_SLOPE, _WHITE, _WHITE_SLOPE = F(0.03), F(0.07), F(0.015)
_CLEARLY, _PEAK = F(0.01), F(-0.03)
# exp(x) = 2^n exp(r), |r| <= ln 2 / 2: ln 2 in two parts, and Taylor's coefficients of exp(r)
_LOG2E, _LN2, _LN2_REST, _MOST = F(1.4426950408889634), F(0.693359375), F(-2.12194440e-4), F(80)
_TAYLOR = tuple(F(1 / math.factorial(n)) for n in range(7))


def _classes() -> np.ndarray:
    """Of each of 256 patterns of eight neighbours: how many are set, 9 where the circle turns more than twice."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    turns = (bits != np.roll(bits, -1, axis=1)).sum(1)
    return np.where(turns <= 2, bits.sum(1), _CLASSES - 1).astype(np.uint8)


_CLASS = _classes()


# Sums are of 64 bits: over 12 544 equal pixels those of 32 are off by a hundred thousandth, which a sigmoid multiplies.
@summed
def _sum(r):
    s = 0.0
    for x in range(r.size):
        s += r[x]
    return F(s)


@summed
def _rest(r):
    s = 0.0
    for x in range(r.size):
        s += _ONE - r[x]  # far smaller than the number of pixels, whose rounding it must not have
    return F(s)


@summed
def _squares(r, mean):
    s = 0.0
    for x in range(r.size):
        d = r[x] - mean
        s += d * d
    return F(s)


@summed
def _masked_sum(r, mask):
    s = 0.0
    for x in range(r.size):
        s += r[x] * mask[x]
    return F(s)


@summed
def _masked_squares(r, mask, mean):
    s = 0.0
    for x in range(r.size):
        d = (r[x] - mean) * mask[x]
        s += d * d
    return F(s)


@exact
def _stain_codes(h, e, out):
    a, b, c, d = _EDGES
    for x in range(out.size):
        i = np.uint8(h[x] > a) + np.uint8(h[x] > b) + np.uint8(h[x] > c) + np.uint8(h[x] > d)
        j = np.uint8(e[x] > a) + np.uint8(e[x] > b) + np.uint8(e[x] > c) + np.uint8(e[x] > d)
        out[x] = i * _BINS + j


@exact
def _tally(codes, counts):
    """Counts of codes, in four parts: two equal codes after each other do not wait for one another."""
    counts[:] = 0
    for x in range(codes.size):
        counts[x & 3, codes[x]] += 1


@entry
def distribution(planes, out, at):
    """Of (tiles, 7, pixels): means and spreads first, and the histogram of stains from `at` on."""
    count, kinds, n = planes.shape
    codes, counts = np.empty(n, np.uint8), np.empty((4, 256), np.int32)
    for t in range(count):
        for p in range(kinds):
            mean = _sum(planes[t, p]) / F(n)
            out[t, p], out[t, kinds + p] = _TWO * mean, _FOUR * np.sqrt(_squares(planes[t, p], mean) / F(n))
        _stain_codes(planes[t, 0], planes[t, 1], codes)
        _tally(codes, counts)
        for k in range(_BINS * _BINS):
            both = counts[0, k] + counts[1, k] + counts[2, k] + counts[3, k]
            out[t, at + k] = np.sqrt(F(both) / F(n))


@exact
def _sigmoid(source, threshold, slope, out, powers, floats):
    """1 / (1 + exp((threshold - x) / slope)), to some 1e-7 of itself; `floats` is the memory of `powers`."""
    t0, t1, t2, t3, t4, t5, t6 = _TAYLOR
    for x in range(source.size):
        v = min(max((threshold - source[x]) / slope, -_MOST), _MOST)
        n = np.floor(v * _LOG2E + _HALF)
        r = v - n * _LN2 - n * _LN2_REST
        out[x] = t0 + r * (t1 + r * (t2 + r * (t3 + r * (t4 + r * (t5 + r * t6)))))
        powers[x] = (np.int32(n) + np.int32(127)) << np.int32(23)
    for x in range(source.size):
        out[x] = _ONE / (_ONE + out[x] * floats[x])


@summed
def _steps(a, b):
    """Sum of the differences of two rows."""
    s = 0.0
    for x in range(a.size):
        s += abs(a[x] - b[x])
    return F(s)


@summed
def _weighted_sums(r, weight):
    a, b = 0.0, 0.0
    for i in range(r.size):
        a += r[i] * weight[i]
        b += r[i] * (_ONE - weight[i])
    return F(a), F(b)


@summed
def _weighted_squares(r, weight, inner, outer):
    a, b = 0.0, 0.0
    for i in range(r.size):
        d, e = r[i] - inner, r[i] - outer
        a += d * d * weight[i]
        b += e * e * (_ONE - weight[i])
    return F(a), F(b)


@entry
def nuclei(planes, smooth, out):
    """As `colour_texture.nuclei`: 62 values of planes (tiles, 7, pixels) and haematoxylin, to their place."""
    (count, kinds, n), width = planes.shape, smooth.shape[2]
    inside, powers = np.empty(n, F), np.empty(n, np.int32)
    floats, height = powers.view(np.float32), n // width
    for t in range(count):
        flat, s, values = planes[t], smooth[t].reshape(n), out[t, _NUCLEI:]
        mean = _sum(s) / F(n)
        relative = mean + _HALF * np.sqrt(_squares(s, mean) / F(n))
        for k in range(2):
            o = values[30 * k :]
            _sigmoid(s, F(0.25) if k == 0 else relative, _SLOPE, inside, powers, floats)
            weight, rest = _sum(inside), _rest(inside)
            outline = _steps(inside[width:], inside[: n - width]) / F(n - width)
            across = _steps(inside[1:], inside[: n - 1])
            for y in range(1, height):  # of the end of a row and the beginning of the next
                across -= abs(inside[y * width] - inside[y * width - 1])
            outline += across / F(height * (width - 1))
            o[0], o[1] = weight / F(n), outline / (weight / F(n) + F(0.05))
            for p in range(kinds):
                a, b = _weighted_sums(flat[p], inside)
                inner, outer = a / (weight + _ONE), b / (rest + _ONE)
                a, b = _weighted_squares(flat[p], inside, inner, outer)
                o[2 + p], o[9 + p] = _TWO * inner, _FOUR * np.sqrt(a / (weight + _ONE))
                o[16 + p], o[23 + p] = _TWO * outer, _FOUR * np.sqrt(b / (rest + _ONE))
        _sigmoid(flat[3], _WHITE, _WHITE_SLOPE, inside, powers, floats)  # what is not white
        mean = _sum(inside) / F(n)
        values[60], values[61] = _rest(inside) / F(n), np.sqrt(_squares(inside, mean) / F(n))


@exact
def _laplacian(plane, stride, out):
    n = plane.size - 2 * stride
    up, down, to = plane[:n], plane[2 * stride :], out[stride:]
    left, here, right = plane[stride - 1 :], plane[stride:], plane[stride + 1 :]
    for x in range(n):
        to[x] = (right[x] + left[x] - _TWO * here[x]) + (down[x] + up[x] - _TWO * here[x])


@summed
def _tensor(u, m, d, mask, steep):
    """Sums of the structure tensor's three terms and of the gradient, which is written to `steep`."""
    jxx, jyy, jxy, total = 0.0, 0.0, 0.0, 0.0
    for x in range(steep.size):
        dx, dy = (m[x + 2] - m[x]) * _HALF * mask[x], (d[x + 1] - u[x + 1]) * _HALF * mask[x]
        xx, yy = dx * dx, dy * dy
        g = np.sqrt(xx + yy)
        steep[x] = g
        total += g
        jxx += xx
        jyy += yy
        jxy += dx * dy
    return F(jxx), F(jyy), F(jxy), F(total)


@summed
def _curvatures(u, m, d, mask):
    """Sums of blobs, lines and hollows, and the strongest blob."""
    blobs, lines, hollows, strongest = 0.0, 0.0, 0.0, _ZERO
    for x in range(mask.size):
        xx = (m[x + 2] + m[x] - _TWO * m[x + 1]) * mask[x]
        yy = (d[x + 1] + u[x + 1] - _TWO * m[x + 1]) * mask[x]
        xy = (d[x + 2] + u[x] - u[x + 2] - d[x]) * _QUARTER * mask[x]
        bend = xx - yy
        ridge = np.sqrt(bend * bend + _FOUR * xy * xy)
        upper, lower = (xx + yy + ridge) * _HALF, (xx + yy - ridge) * _HALF
        blob = max(-upper, _ZERO)
        blobs += blob
        lines += max(-lower, _ZERO) - blob
        hollows += max(upper, _ZERO)
        strongest = max(strongest, blob)
    return F(blobs), F(lines), F(hollows), strongest


@exact
def _smallest(a, b, c, out):
    for x in range(out.size):
        out[x] = min(min(a[x], b[x]), c[x])


@summed
def _peaks(lap, stride, lowest):
    """How many pixels are the lowest of their nine, and the sum of their depths."""
    n = lap.size - 2 * stride
    _smallest(lap[:n], lap[stride:], lap[2 * stride :], lowest[:n])  # of columns, a row higher
    count, depth, here = _ZERO, 0.0, lap[stride + 1 :]
    for x in range(n - 2):
        least = min(min(lowest[x], lowest[x + 1]), lowest[x + 2])
        peak = here[x] if (here[x] <= least) & (here[x] < _PEAK) else _ZERO
        count += _ONE if peak < _ZERO else _ZERO
        depth -= float(peak)
    return count, F(depth)


@exact
def _structure(level, pixels, whole_mask, lap, lowest, out):
    """13 values of a plane with its border, at every second place of `out`; `lap`, `lowest`: scratch of its size."""
    s, n, flat = level.shape[1], F(pixels), level.reshape(level.size)
    first, last = 2 * s, level.size - 2 * s  # the rows of the plane; the mask is 0 in the columns of the border
    u, m, d, here = flat[s - 1 :], flat[first - 1 :], flat[3 * s - 1 :], flat[first:last]
    mask, curve, steep = whole_mask[first:last], lap[first:last], lowest[first:last]
    jxx, jyy, jxy, edges = _tensor(u, m, d, mask, steep)
    spread = np.sqrt(_masked_squares(steep, mask, edges / n) / n)
    blobs, lines, hollows, top = _curvatures(u, m, d, mask)
    std = np.sqrt(_masked_squares(here, mask, _masked_sum(here, mask) / n) / n) + F(0.02)
    _laplacian(flat, s, lap)
    curved = np.sqrt(_masked_squares(curve, mask, _masked_sum(curve, mask) / n) / n)
    for x in range(lap.size):
        lap[x] = lap[x] if whole_mask[x] > _ZERO else _FAR
    count, depth = _peaks(lap, s, lowest)
    edges, jxx, jyy, jxy, blobs, lines = edges / n, jxx / n, jyy / n, jxy / n, blobs / n, lines / n
    out[0], out[2], out[4] = _FOUR * edges, _FOUR * spread, edges / std
    out[6] = math.sqrt((jxx - jyy) ** 2 + _FOUR * jxy**2) / (jxx + jyy + F(1e-4))
    out[8], out[10], out[12], out[14] = F(8) * blobs, F(8) * lines, F(8) * hollows / n, blobs / (lines + F(0.005))
    out[16], out[18], out[20] = _FOUR * curved, curved / std, _FOUR * top
    out[22], out[24] = F(20) * count / n, F(20) * depth / n


@exact
def _patterns(u, m, d, out):
    """Which of eight neighbours are clearly denser, a bit each."""
    for x in range(out.size):
        t = m[x + 1] + _CLEARLY
        bits = np.uint8(u[x] > t) | (np.uint8(u[x + 1] > t) << 1) | (np.uint8(u[x + 2] > t) << 2)
        bits |= (np.uint8(m[x + 2] > t) << 3) | (np.uint8(d[x + 2] > t) << 4) | (np.uint8(d[x + 1] > t) << 5)
        out[x] = bits | (np.uint8(d[x] > t) << 6) | (np.uint8(m[x] > t) << 7)


@exact
def _grain(level, codes, counts, out):
    """Roots of the shares of the ten classes of patterns, of a plane with its border."""
    s, flat, h, w = level.shape[1], level.reshape(level.size), level.shape[0] - 6, level.shape[1] - 6
    _patterns(flat[2 * s + 2 :], flat[3 * s + 2 :], flat[4 * s + 2 :], codes[: s * h - 6])
    counts[:] = 0
    for y in range(h):
        for x in range(y * s, y * s + w):
            counts[x & 3, codes[x]] += 1
    for k in range(_CLASSES):
        out[k] = _ZERO
    for code in range(256):
        out[_CLASS[code]] += F(counts[0, code] + counts[1, code] + counts[2, code] + counts[3, code])
    for k in range(_CLASSES):
        out[k] = np.sqrt(out[k] / F(h * w))


@entry
def octave(level, out, at):
    """`structure` and `grain` of one octave (tiles, 2, h + 4, w + 4): 46 values of each tile from `at` on."""
    h, w = level.shape[2] - 4, level.shape[3] - 4
    n = level.shape[2] * level.shape[3]
    mask, lap, lowest = np.zeros(n, F), np.zeros(n, F), np.zeros(n, F)
    codes, counts = np.empty(n, np.uint8), np.empty((4, 256), np.int32)
    for y in range(2, h + 2):
        for x in range(2, w + 2):
            mask[y * (w + 4) + x] = _ONE
    for t in range(level.shape[0]):
        for k in range(2):
            _structure(level[t, k], h * w, mask, lap, lowest, out[t, at + k :])
            _grain(level[t, k], codes, counts, out[t, at + 26 + _CLASSES * k :])


@exact
def _greys(line, out):
    for x in range(out.size):
        out[x] = np.uint8(min(max(line[x] * F(10), _ZERO), F(_STEPS - 1)))


@entry
def cooccurrence(level, out, at):
    """Contrast, homogeneity, energy and entropy of haematoxylin, of an octave (tiles, 2, h + 4, w + 4)."""
    h, w, s = level.shape[2] - 4, level.shape[3] - 4, level.shape[3]
    grey, counts = np.empty(h * s, np.uint8), np.empty((4, _STEPS * _STEPS), np.int32)
    for t in range(level.shape[0]):
        _greys(level[t, 0].reshape(level[t, 0].size)[2 * s + 2 : (h + 2) * s], grey[: h * s - 2])
        counts[:] = 0
        for y in range(h):
            for x in range(y * s, y * s + w - 1):
                counts[x & 1, grey[x] * _STEPS + grey[x + 1]] += 1
            if y:
                for x in range(y * s, y * s + w):
                    counts[2 + (x & 1), grey[x - s] * _STEPS + grey[x]] += 1
        n, o = h * (w - 1) + (h - 1) * w, out[t, at:]
        o[0] = o[1] = o[2] = o[3] = _ZERO
        for code in range(_STEPS * _STEPS):
            p = F(counts[0, code] + counts[1, code] + counts[2, code] + counts[3, code]) / F(n)
            step = F(abs(code // _STEPS - code % _STEPS))
            o[0], o[1], o[2] = o[0] + p * step / _TWO, o[1] + p / (_ONE + step), o[2] + p * p
            if p > _ZERO:
                o[3] -= p * math.log(p) / _FOUR
        o[2] = np.sqrt(o[2])


def describe(tiles: np.ndarray, table: np.ndarray, out: np.ndarray, *, block: int, pixels: int) -> None:
    """`colour_texture.describe` of uint8 (tiles, height, width, 3), each by itself, written to float32 (tiles, 284).

    `table` holds the density of every sum of the pixels of a square of `block` (a power of two), which is averaged
    first. Tiles are worked on together up to `pixels` of such squares, which have to stay in a core's cache.
    """
    h, w = tiles.shape[1] // block, tiles.shape[2] // block
    most = max(1, min(len(tiles), pixels // (h * w)))
    step, ranks = percentiles_of(h, w)
    sizes = [(h, w), ((h + 1) // 2, (w + 1) // 2), ((h + 3) // 4, (w + 3) // 4)]
    all_planes, all_smooth = np.empty((most, 7, h, w), F), np.empty((most, h, w), F)
    all_octaves = [np.empty((most, 2, a + 4, b + 4), F) for a, b in sizes]
    for start in range(0, len(tiles), most):
        some, values = tiles[start : start + most], out[start : start + most]
        n = len(some)
        planes, smooth, octaves = all_planes[:n], all_smooth[:n], tuple(level[:n] for level in all_octaves)
        flat = planes.reshape(n, 7, h * w)
        if block == 1:  # a pixel for itself: one long row
            stain_planes(some.reshape(n, 1, -1), table, flat[:, :, None])
        else:
            stain_planes(some.reshape(n, len(some[0]), -1), table, planes)
        pyramid(planes, smooth, octaves)
        distribution(flat, values, 35)
        sample = np.sort(planes[:, :, ::step, ::step].reshape(n, 7, -1), axis=2)
        values[:, 14:35] = 2 * sample[:, :, ranks].reshape(n, -1)
        nuclei(flat, smooth, values)
        granulometry(octaves[1], values, 122)
        for index, level in enumerate(octaves):
            octave(level, values, 138 + 46 * index)
        for index, level in enumerate(octaves[:2]):
            cooccurrence(level, values, 276 + 4 * index)
