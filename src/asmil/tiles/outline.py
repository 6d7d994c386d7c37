"""A mask's outline as polygons, exactly along the edges of its pixels."""

import numpy as np
import shapely


def mask_polygons(mask: np.ndarray, *, px_size: tuple[float, float] = (1.0, 1.0)) -> shapely.MultiPolygon:
    """Trace a boolean mask (h, w) into valid polygons; pixels touching at a corner only stay apart.

    Args:
        mask: boolean (h, w).
        px_size: width and height of a mask pixel in the units of the result.
    """
    padded = np.pad(np.asarray(mask, bool), 1)
    horizontal = padded[1:, 1:-1] != padded[:-1, 1:-1]  # (h + 1, w): edge from (x, y) to (x + 1, y)
    vertical = padded[1:-1, 1:] != padded[1:-1, :-1]  # (h, w + 1): edge from (x, y) to (x, y + 1)
    rows, starts, ends = _runs(horizontal, _ends(vertical.T).T)
    columns, tops, bottoms = _runs(vertical.T, _ends(horizontal).T)
    lines = np.concatenate(
        [
            np.stack([starts, rows, ends, rows], axis=1).reshape(-1, 2, 2),
            np.stack([columns, tops, columns, bottoms], axis=1).reshape(-1, 2, 2),
        ]
    )
    if len(lines) == 0:
        return shapely.MultiPolygon()
    faces = shapely.get_parts(shapely.polygonize(shapely.linestrings(lines.astype(float))))
    inside = shapely.get_coordinates(shapely.point_on_surface(faces)).astype(int)
    tissue = faces[np.asarray(mask, bool)[inside[:, 1], inside[:, 0]]]
    return shapely.transform(shapely.multipolygons(tissue), lambda xy: xy * px_size)


def _ends(edges: np.ndarray) -> np.ndarray:
    """Whether a vertex has an edge along the second axis: (n, m) edges, (n, m + 1) vertices."""
    return np.pad(edges, ((0, 0), (0, 1))) | np.pad(edges, ((0, 0), (1, 0)))


def _runs(edges: np.ndarray, crossing: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join unit edges along the second axis into runs that end where an edge across meets them."""
    before, after = np.pad(edges, ((0, 0), (1, 0)))[:, :-1], np.pad(edges, ((0, 0), (0, 1)))[:, 1:]
    line, start = np.nonzero(edges & (~before | crossing[:, :-1]))
    _, last = np.nonzero(edges & (~after | crossing[:, 1:]))
    return line, start, last + 1
