"""Planes of tiles by compiled loops, as torch rounds them: stains, densities, hues, octaves, and their openings.

`colour_texture` has the definitions. What is compared with a threshold later is rounded here operation by operation
as torch rounds it, because a pixel that falls on the other side would move a rare share by a hundredth. Each loop
writes one thing, along whole planes with their borders, so that the compiler uses the vector units.
"""

import math
from collections.abc import Callable
from typing import TypeVar

import numba
import numpy as np

from asmil.encoders.families.colour_texture import unmixing

F = np.float32
Loop = TypeVar("Loop", bound=Callable[..., object])
_UNMIX = unmixing().astype(np.float32)
_REACH, _TWO, _ONE, _ZERO, _FAR = 4, F(2), F(1), F(0), F(np.inf)
_BLUR = F(0.0625), F(0.25), F(0.375)


_OPTIONS = {"nogil": True, "error_model": "numpy"}
_INNER = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
exact = numba.njit(**_INNER)
summed = numba.njit(fastmath={"reassoc", "contract", "nsz"}, **_INNER)  # sums in any order; nothing is taken for finite


def entry(function: Loop) -> Loop:
    """To machine code that Python may call, kept for the next process where a folder for it can be written."""
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # neither beside its file nor in the user's cache
        return numba.njit(**_OPTIONS)(function)


@exact
def _add_rows(tile, y, block, total):
    """Sums of `block` rows from row `y` on."""
    line = tile[y]
    for x in range(total.size):
        total[x] = line[x]
    for b in range(1, block):
        line = tile[y + b]
        for x in range(total.size):
            total[x] += line[x]


@exact
def _add_columns(total, block, sums):
    """Sums of `block` pixels side by side, a row for each colour."""
    for x in range(sums.shape[1]):
        for c in range(3):
            s = np.int32(0)
            for b in range(block):
                s += total[3 * (x * block + b) + c]
            sums[c, x] = s


@exact
def _mix(d0, d1, d2, unmix, out):
    a, b, c = unmix[0], unmix[1], unmix[2]
    for x in range(out.size):
        out[x] = d0[x] * a + d1[x] * b + d2[x] * c


@exact
def _hues(s0, s1, s2, share, out, y):
    o = out[4, y]
    for x in range(o.size):
        o[x] = (F(s0[x]) * share - F(s1[x]) * share) / F(64)
    o = out[5, y]
    for x in range(o.size):
        o[x] = (F(s0[x]) * share + F(s1[x]) * share - _TWO * (F(s2[x]) * share)) / F(128)
    o = out[6, y]
    for x in range(o.size):
        r, g, b = F(s0[x]) * share, F(s1[x]) * share, F(s2[x]) * share
        high, low = max(max(r, g), b), min(min(r, g), b)
        o[x] = (high - low) / (high + F(16))


@entry
def stain_planes(tiles, table, out):
    """`colour_texture.stain_planes` of tiles whose pixels are averaged in squares.

    Args:
        tiles: uint8 (tiles, height, 3 width). table: the density of every sum of a square's pixels, of which there are
            255 for each of its pixels, and none. out: (tiles, 7, H, W). Of squares of one pixel it does not matter
            what a row is.
    """
    block = int(math.sqrt(table.size // 255))
    w = out.shape[3]
    total, sums, d = np.empty(3 * w * block, np.int32), np.empty((3, w), np.int32), np.empty((3, w), F)
    share = F(1) / F(block * block)  # a power of two: the products are exact
    for t in range(out.shape[0]):
        for y in range(out.shape[2]):
            _add_rows(tiles[t], y * block, block, total)
            _add_columns(total, block, sums)
            for c in range(3):
                for x in range(w):
                    d[c, x] = table[sums[c, x]]
            for s in range(3):
                _mix(d[0], d[1], d[2], _UNMIX[s], out[t, s, y])
            o = out[t, 3, y]
            for x in range(w):
                o[x] = (d[0, x] + d[1, x] + d[2, x]) / F(3)
            _hues(sums[0], sums[1], sums[2], share, out[t], y)


@exact
def _fill(a, h, w):
    """The border of a plane (h + 4, w + 4)."""
    for y in range(2, h + 2):
        a[y, 0] = a[y, 1] = a[y, 2]
        a[y, w + 2] = a[y, w + 3] = a[y, w + 1]
    for x in range(w + 4):
        a[0, x] = a[1, x] = a[2, x]
        a[h + 2, x] = a[h + 3, x] = a[h + 1, x]


@exact
def _blur(a, apart, out):
    """Binomial smoothing of a flat plane along pixels that lie `apart`; all but 2 `apart` at either end."""
    p, q, r = _BLUR
    n = a.size - 4 * apart
    e, f, g, h, i, o = a[:n], a[apart:], a[2 * apart :], a[3 * apart :], a[4 * apart :], out[2 * apart :]
    for x in range(n):
        o[x] = (e[x] + i[x]) * p + (f[x] + h[x]) * q + g[x] * r


@exact
def _smooth(plane, wide, out):
    """Both sides of a plane with its border, rows first as torch does; the border of what returns means nothing."""
    n = plane.size
    _blur(plane.reshape(n), 1, wide[:n])
    _blur(wide[:n], plane.shape[1], out[:n])
    return out[:n].reshape(plane.shape)


@exact
def _halve(blurred, out):
    """Every second pixel of every second row, with a border."""
    h, w = out.shape[0] - 4, out.shape[1] - 4
    for y in range(h):
        for x in range(w):
            out[y + 2, x + 2] = blurred[2 * y + 2, 2 * x + 2]
    _fill(out, h, w)


@entry
def pyramid(planes, smooth, octaves):
    """Octaves of haematoxylin and density, from planes (tiles, 7, H, W).

    Args:
        smooth: out, haematoxylin smoothed, (tiles, H, W).
        octaves: out, three of (tiles, 2, h + 4, w + 4) with their borders.
    """
    first, second, third = octaves
    h, w = smooth.shape[1:]
    wide, out = np.zeros(first[0, 0].size, F), np.zeros(first[0, 0].size, F)
    for t in range(smooth.shape[0]):
        for k in range(2):
            for y in range(h):
                for x in range(w):
                    first[t, k, y + 2, x + 2] = planes[t, 3 * k, y, x]
            _fill(first[t, k], h, w)
            blurred = _smooth(first[t, k], wide, out)
            if k == 0:
                for y in range(h):
                    for x in range(w):
                        smooth[t, y, x] = blurred[y + 2, x + 2]
            _halve(blurred, second[t, k])
            _halve(_smooth(second[t, k], wide, out), third[t, k])


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
    s = 0.0
    for x in range(r.size):
        s += float(r[x]) if within[x] else 0.0
    return F(s)


@entry
def granulometry(level, out, at):
    """As `colour_texture.granulometry`, of (tiles, 2, h + 4, w + 4): what four openings take away, from `at` on.

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
            plane, sign, o = level[t, k % 2], -_ONE if k < 2 else _ONE, out[t, at + 8 * (k // 2) + k % 2 :]
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
