"""The values of colour-texture by compiled loops over the planes of `texture_planes`.

`colour_texture` has the definitions; these are their sums without a large array for each of the terms. Sums alone are
reordered; whatever is compared with a threshold is rounded as torch rounds it.
"""

import math

import numpy as np

from asmil.encoders.families.colour_texture import GREY_LEVELS, STAIN_EDGES
from asmil.encoders.families.texture_planes import F, compiled, exact

_EDGES = tuple(F(edge) for edge in STAIN_EDGES)
_STEPS, _BINS, _CLASSES, _REACH = GREY_LEVELS, len(STAIN_EDGES) + 1, 10, 4
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
summed = compiled({"reassoc", "contract", "nsz"})  # sums in any order; nothing is taken for finite


@summed
def _sum(r):
    s = _ZERO
    for x in range(r.size):
        s += r[x]
    return s


@summed
def _rest(r):
    s = _ZERO
    for x in range(r.size):
        s += _ONE - r[x]  # far smaller than the number of pixels, whose rounding it must not have
    return s


@summed
def _squares(r, mean):
    s = _ZERO
    for x in range(r.size):
        d = r[x] - mean
        s += d * d
    return s


@summed
def _masked_squares(r, mask, mean):
    s = _ZERO
    for x in range(r.size):
        d = (r[x] - mean) * mask[x]
        s += d * d
    return s


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


@exact
def distribution(planes, out):
    """Means, spreads and the histogram of stains of (tiles, 7, pixels): out (tiles, 14 + 25)."""
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
            out[t, 2 * kinds + k] = np.sqrt(F(both) / F(n))


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
    s = _ZERO
    for x in range(a.size):
        s += abs(a[x] - b[x])
    return s


@summed
def _weighted_sums(r, weight):
    a, b = _ZERO, _ZERO
    for i in range(r.size):
        a += r[i] * weight[i]
        b += r[i] * (_ONE - weight[i])
    return a, b


@summed
def _weighted_squares(r, weight, inner, outer):
    a, b = _ZERO, _ZERO
    for i in range(r.size):
        d, e = r[i] - inner, r[i] - outer
        a += d * d * weight[i]
        b += e * e * (_ONE - weight[i])
    return a, b


@exact
def nuclei(planes, smooth, width, out):
    """As `colour_texture.nuclei`: 62 values of planes (tiles, 7, pixels) and smoothed haematoxylin (tiles, pixels)."""
    count, kinds, n = planes.shape
    inside, powers = np.empty(n, F), np.empty(n, np.int32)
    floats, height = powers.view(np.float32), n // width
    for t in range(count):
        flat, s = planes[t], smooth[t]
        mean = _sum(s) / F(n)
        relative = mean + _HALF * np.sqrt(_squares(s, mean) / F(n))
        for k in range(2):
            o = out[t, 30 * k :]
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
        out[t, 60], out[t, 61] = _rest(inside) / F(n), np.sqrt(_squares(inside, mean) / F(n))


@exact
def _largest(source, apart, out):
    """Of three pixels of a flat plane that lie `apart`; all but `apart` at either end."""
    n = source.size - 2 * apart
    a, b, c, o = source[:n], source[apart:], source[2 * apart :], out[apart:]
    for x in range(n):
        o[x] = max(max(a[x], b[x]), c[x])


@exact
def _negative(source, within, out):
    for x in range(out.size):
        out[x] = -source[x] if within[x] else -_FAR


@summed
def _sum_within(r, within):
    s = _ZERO
    for x in range(r.size):
        s += r[x] if within[x] else _ZERO
    return s


@exact
def granulometry(level, out):
    """As `colour_texture.granulometry`, of (tiles, 2, h + 4, w + 4): what four openings take away, out (tiles, 16).

    A plane lies in a border of minus infinity, and is one line of pixels: after four steps nothing has come from the
    end of a row to the beginning of the next.
    """
    h, w = level.shape[2] - 4, level.shape[3] - 4
    s, n, pixels = w + _REACH, (h + 2 * _REACH) * (w + _REACH), F(h * w)
    a, b, c, within = np.full(n, -_FAR), np.full(n, -_FAR), np.full(n, -_FAR), np.zeros(n, np.bool_)
    for y in range(h):
        for x in range(w):
            within[(y + _REACH) * s + x] = True
    for t in range(level.shape[0]):
        for k in range(4):
            plane, sign, o = level[t, k % 2], -_ONE if k < 2 else _ONE, out[t, 8 * (k // 2) + k % 2 :]
            a[:] = -_FAR
            for y in range(h):
                for x in range(w):
                    a[(y + _REACH) * s + x] = sign * plane[y + 2, x + 2]  # negative: its dilation is an erosion
            before = -_sum_within(a, within) / pixels
            for radius in range(1, _REACH + 1):
                _largest(a, 1, b)
                _largest(b, s, a)
                _negative(a, within, c)
                _largest(c, 1, b)
                _largest(b, s, c)
                if radius > 1:  # three windows of three pixels, side by side or overlapping, are one of 5, 7 or 9
                    _largest(c, radius - 1, b)
                    _largest(b, (radius - 1) * s, c)
                now = _sum_within(c, within) / pixels
                o[2 * (radius - 1)] = F(10) * (before - now)
                before = now


@exact
def _laplacian(plane, stride, out):
    n = plane.size - 2 * stride
    u, l, m, r, d, o = plane, plane[stride - 1 :], plane[stride:], plane[stride + 1 :], plane[2 * stride :], out[stride:]
    for x in range(n):
        o[x] = (r[x] + l[x] - _TWO * m[x]) + (d[x] + u[x] - _TWO * m[x])


@summed
def _tensor(u, m, d, mask, steep):
    """Sums of the structure tensor's three terms and of the gradient, which is written to `steep`."""
    jxx, jyy, jxy, total = _ZERO, _ZERO, _ZERO, _ZERO
    for x in range(steep.size):
        dx, dy = (m[x + 2] - m[x]) * _HALF * mask[x], (d[x + 1] - u[x + 1]) * _HALF * mask[x]
        xx, yy = dx * dx, dy * dy
        g = np.sqrt(xx + yy)
        steep[x] = g
        total += g
        jxx += xx
        jyy += yy
        jxy += dx * dy
    return jxx, jyy, jxy, total


@summed
def _curvatures(u, m, d, mask):
    """Sums of blobs, lines and hollows, and the strongest blob."""
    blobs, lines, hollows, strongest = _ZERO, _ZERO, _ZERO, _ZERO
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
    return blobs, lines, hollows, strongest


@exact
def _smallest(source, apart, out):
    n = source.size - 2 * apart
    a, b, c, o = source[:n], source[apart:], source[2 * apart :], out[apart:]
    for x in range(n):
        o[x] = min(min(a[x], b[x]), c[x])


@summed
def _peaks(lap, lowest):
    """How many pixels are the lowest of their nine, and the sum of their depths."""
    count, depth = _ZERO, _ZERO
    for x in range(lap.size):
        here = lap[x] if (lap[x] <= lowest[x]) & (lap[x] < _PEAK) else _ZERO
        count += _ONE if here < _ZERO else _ZERO
        depth -= here
    return count, depth


@exact
def _structure(level, pixels, mask, steep, lap, a, b, out):
    """13 values of a plane with its border, at every second place of `out`; all else is scratch of its size."""
    s, n, flat = level.shape[1], F(pixels), level.reshape(level.size)
    inner = slice(2 * s, level.size - 2 * s)  # the rows of the plane; `mask` is 0 in the columns of the border
    u, m, d = flat[s - 1 : -s], flat[2 * s - 1 :], flat[3 * s - 1 :]
    jxx, jyy, jxy, edges = _tensor(u, m, d, mask[inner], steep[inner])
    blobs, lines, hollows, top = _curvatures(u, m, d, mask[inner])
    _laplacian(flat, s, lap)
    mean = _masked_sum(flat[inner], mask[inner]) / n
    std = np.sqrt(_masked_squares(flat[inner], mask[inner], mean) / n) + F(0.02)
    mean = _masked_sum(lap[inner], mask[inner]) / n
    curved = np.sqrt(_masked_squares(lap[inner], mask[inner], mean) / n)
    for x in range(lap.size):
        lap[x] = lap[x] if mask[x] > _ZERO else _FAR
    _smallest(lap, 1, a)
    _smallest(a, s, b)
    count, depth = _peaks(lap[inner], b[inner])
    edges, jxx, jyy, jxy, blobs, lines = edges / n, jxx / n, jyy / n, jxy / n, blobs / n, lines / n
    spread = np.sqrt(_masked_squares(steep[inner], mask[inner], edges) / n)
    out[0], out[2], out[4] = _FOUR * edges, _FOUR * spread, edges / std
    out[6] = math.sqrt((jxx - jyy) ** 2 + _FOUR * jxy**2) / (jxx + jyy + F(1e-4))
    out[8], out[10], out[12], out[14] = F(8) * blobs, F(8) * lines, F(8) * hollows / n, blobs / (lines + F(0.005))
    out[16], out[18], out[20] = _FOUR * curved, curved / std, _FOUR * top
    out[22], out[24] = F(20) * count / n, F(20) * depth / n


@summed
def _masked_sum(r, mask):
    s = _ZERO
    for x in range(r.size):
        s += r[x] * mask[x]
    return s


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


@exact
def octave(level, out):
    """`structure` and `grain` of one octave (tiles, 2, h + 4, w + 4): out (tiles, 26 + 20)."""
    h, w = level.shape[2] - 4, level.shape[3] - 4
    n = level.shape[2] * level.shape[3]
    mask, steep, lap, a, b = np.zeros(n, F), np.zeros(n, F), np.zeros(n, F), np.full(n, _FAR), np.full(n, _FAR)
    codes, counts = np.empty(n, np.uint8), np.empty((4, 256), np.int32)
    for y in range(2, h + 2):
        for x in range(2, w + 2):
            mask[y * (w + 4) + x] = _ONE
    for t in range(level.shape[0]):
        for k in range(2):
            _structure(level[t, k], h * w, mask, steep, lap, a, b, out[t, k:])
            _grain(level[t, k], codes, counts, out[t, 26 + _CLASSES * k :])


@exact
def _greys(line, out):
    for x in range(out.size):
        out[x] = np.uint8(min(max(line[x] * F(10), _ZERO), F(_STEPS - 1)))


@exact
def cooccurrence(level, out):
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
        n, o = h * (w - 1) + (h - 1) * w, out[t]
        o[0] = o[1] = o[2] = o[3] = _ZERO
        for code in range(_STEPS * _STEPS):
            p = F(counts[0, code] + counts[1, code] + counts[2, code] + counts[3, code]) / F(n)
            step = F(abs(code // _STEPS - code % _STEPS))
            o[0], o[1], o[2] = o[0] + p * step / _TWO, o[1] + p / (_ONE + step), o[2] + p * p
            if p > _ZERO:
                o[3] -= p * math.log(p) / _FOUR
        o[2] = np.sqrt(o[2])
