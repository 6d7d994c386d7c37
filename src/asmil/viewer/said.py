"""What a person says of slides in the viewer: verdicts, a table that `--labels` reads, and outlines, for QuPath."""

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
from shapely.geometry import Polygon, mapping

from asmil.annotations import AnnotationError, class_name
from asmil.errors import NotOfferedError, RunError, blaming
from asmil.files import Facts, write_json, write_text
from asmil.runs import outlines_file, verdicts_file
from asmil.tiles import ORIGIN, Bounds, origin_of, repaired

COLUMNS = ("slide", "case", "label", "verdict", "note", "date")
OF_THE_COHORT = ("site", "mpp")
"""Columns beside them where the run's cohort has them: sites, and scales that no file says, are read from a table."""
VERDICTS = ("agree", "relabel", "exclude")
"""The label is right, it is another one, or the slide is not to be learned from."""
NOTHING: Facts = {"verdict": "", "label": "", "note": "", "date": ""}
MOST_NOTE = 4000


class Verdicts:
    """verdicts.csv of a folder: a row per slide with its label as it should be, which `--labels` reads.

    Safe for many threads. A row that somebody added is kept as it is.
    """

    def __init__(self, folder: Path):
        self.path = verdicts_file(folder)
        self._lock = threading.Lock()

    def read(self) -> dict[str, Facts]:
        """Verdict, label, note and date by slide, of those of which something was said.

        Raises:
            RunError: the file is no such table.
        """
        with self._lock:
            rows = self._table().to_dict("records")
        return {row["slide"]: {name: row[name] for name in NOTHING} for row in rows if row["verdict"] or row["note"]}

    def _table(self) -> pd.DataFrame:
        if not self.path.exists():
            return pd.DataFrame(columns=list(COLUMNS), dtype=str)
        fix = f"mend it, or move it away: it is a csv of {', '.join(COLUMNS)}"
        with blaming(RunError, f"{self.path} cannot be read", fix=fix):
            table = pd.read_csv(self.path, dtype=str, na_filter=False)
        if lacking := [name for name in COLUMNS if name not in table]:
            raise RunError(f"{self.path} is no table of verdicts", found=f"no column {lacking[0]}", fix=fix)
        return table

    def say(self, slide: str, said: Mapping[str, object], *, rows: Sequence[Facts], classes: Sequence[str]) -> Facts:
        """Keep what is said of a slide: `verdict` ("" takes it back), `note`, and with "relabel" the `label`.

        The table has a row for every slide of `rows` (slide, case, label, predicted, maybe site and mpp). "agree" is
        with the label or, where there is none, with the prediction, which becomes the label.

        Raises:
            RunError: it is no verdict, no class, or a note that is too long; or the file is no such table.
        """
        verdict, note, label = (str(said.get(name) or "") for name in ("verdict", "note", "label"))
        if verdict not in ("", *VERDICTS):
            raise RunError("there is no such verdict", found=verdict[:40], fix=f"say one of {', '.join(VERDICTS)}")
        if verdict == "relabel" and label not in classes:
            raise RunError("there is no such class", found=label[:40] or "none", fix=f"one of {', '.join(classes)}")
        if len(note) > MOST_NOTE:
            raise RunError("the note is too long", found=f"{len(note):,} letters", fix=f"at most {MOST_NOTE:,}")
        if "\0" in note:
            raise RunError("the note holds a sign that no table can", found="U+0000", fix="write it again, by hand")
        own = next(row for row in rows if row["slide"] == slide)
        known = own["label"] or (own["predicted"] if verdict == "agree" else "")
        now = datetime.now(UTC).isoformat(timespec="seconds") if verdict or note else ""
        row = {"verdict": verdict, "label": label if verdict == "relabel" else known, "note": note, "date": now}
        with self._lock:
            table = self._table()
            unknown = [one for one in rows if one["slide"] not in set(table["slide"])]
            added = pd.DataFrame([dict.fromkeys(COLUMNS, "") | _known(one) for one in unknown])
            table = pd.concat([table, added], ignore_index=True).fillna("")
            table.loc[table["slide"] == slide, list(row)] = list(row.values())
            write_text(self.path, table.to_csv(index=False))
        return row


def _known(row: Facts) -> Facts:
    known = {name: row[name] for name in ("slide", "case", "label")}
    return known | {name: str(row[name]) for name in OF_THE_COHORT if str(row.get(name, ""))}


# Outlines: areas that are drawn, as annotations for QuPath.

MOST_CORNERS, MOST_OUTLINES = 20_000, 5_000
_COLOURS = ((200, 0, 0), (0, 120, 200), (0, 150, 90), (190, 120, 0), (130, 60, 180))
_WRITING = threading.Lock()


class Outlines:
    """The outlines that were drawn on one slide: a GeoJSON file of annotations in QuPath's frame.

    What other programs put into the file is kept as it is. `bounds` is the scanned part of the slide, as elsewhere.
    """

    def __init__(self, folder: Path, slide: str, *, size: tuple[int, int], bounds: Bounds | None):
        self.path, self._size, self._bounds = outlines_file(folder, slide), size, bounds

    def read(self) -> list[Facts]:
        """Every area: `id`, `class`, and `rings`, each a flat list x, y, x, y ... in level-0 pixels.

        Raises:
            AnnotationError: the file is not GeoJSON of outlines.
        """
        return self._shown(self._content())

    def add(self, name: str, ring: Iterable[float]) -> list[Facts]:
        """Draw an area of a class, by its corners x, y, x, y ... in level-0 pixels; what leaves the slide is cut off.

        Raises:
            AnnotationError: no area, one that cannot be on the slide, too many, or the file is not GeoJSON of outlines.
        """
        area = self._area(ring)
        with _WRITING:
            content = self._content()
            features = content["features"]
            if len(features) >= MOST_OUTLINES:
                raise AnnotationError("there are too many outlines", found=f"{len(features):,}", fix="draw in QuPath")
            x, y = self._origin(content)
            named = [class_name(one.get("properties") or {}) for one in features]
            kinds = list(dict.fromkeys([*named, name]))
            properties = {
                "objectType": "annotation",
                "classification": {"name": name, "color": list(_COLOURS[kinds.index(name) % len(_COLOURS)])},
            }
            moved = shapely.transform(area, lambda xy: np.round(xy - (x, y), 1))
            if self._bounds:  # said from now on: with the next outline it might be guessed otherwise
                content["asmil"] = content.get("asmil", {}) | {ORIGIN: [x, y]}
            features.append({"type": "Feature", "geometry": mapping(moved), "properties": properties})
            write_json(self.path, content)
        return self._shown(content)

    def remove(self, name: str) -> list[Facts]:
        """Take out the area with this `id`; with the last one the file goes too, as nobody said that nothing is there.

        Raises:
            NotOfferedError: there is none. AnnotationError: the file is not GeoJSON of outlines.
        """
        with _WRITING:
            content = self._content()
            kept = [one for one in content["features"] if _id(one) != name]
            if name not in {one["id"] for one in self._shown(content)}:
                raise NotOfferedError("there is no such outline", fix="load the page again")
            content["features"] = kept
            if kept:
                write_json(self.path, content)
            else:
                self.path.unlink()
        return self._shown(content)

    def _content(self) -> Facts:
        """A FeatureCollection, empty where there is no file."""
        if not self.path.exists():
            said = {"asmil": {ORIGIN: list(self._bounds[:2])}} if self._bounds else {}
            return {"type": "FeatureCollection", **said, "features": []}
        fix = "export it from QuPath again, or move it away"
        with blaming(AnnotationError, f"{self.path} is not a GeoJSON file of outlines", fix=fix):
            found = json.loads(self.path.read_text(encoding="utf-8"))
            whole = found if isinstance(found, dict) else {"type": "FeatureCollection", "features": found}
            if not all(one["type"] == "Feature" for one in whole["features"]):
                raise ValueError("what is no feature")
            return whole

    def _shown(self, content: Facts) -> list[Facts]:
        x, y = self._origin(content)
        with blaming(AnnotationError, f"{self.path} has an outline that cannot be read", fix="draw it again in QuPath"):
            shown = []
            for one in content["features"]:
                rings = [np.asarray(ring, float)[:, :2] + (x, y) for ring in _rings(one.get("geometry") or {})]
                if not all(np.isfinite(ring).all() for ring in rings):
                    raise ValueError("corners that are no numbers")
                if rings:
                    kind = class_name(one.get("properties") or {})
                    flat = [np.round(ring, 1).ravel().tolist() for ring in rings]
                    shown.append({"id": _id(one), "class": kind, "rings": flat})
            return shown

    def _origin(self, content: Facts) -> tuple[float, float]:
        with blaming(AnnotationError, f"{self.path} has an outline that cannot be read", fix="draw it again in QuPath"):
            rings = [ring for one in content["features"] for ring in _rings(one.get("geometry") or {})]
            reach = (
                np.max([np.max(np.asarray(ring, float)[:, :2], axis=0) for ring in rings], axis=0) if rings else (0, 0)
            )
            return origin_of(content, self._bounds, reach=reach)

    def _area(self, ring: Iterable[float]) -> shapely.Geometry:
        numbers = list(ring)
        if not all(isinstance(number, int | float) for number in numbers) or len(numbers) % 2:
            raise AnnotationError("an outline is a list of x, y, x, y ...", found="something else")
        corners = np.array(numbers, dtype=np.float64).reshape(-1, 2)
        if not 3 <= len(corners) <= MOST_CORNERS or not np.isfinite(corners).all():
            raise AnnotationError(
                "an outline has 3 corners or more", found=f"{len(corners):,} corners", fix="draw it again"
            )
        width, height = self._size
        area = repaired(Polygon(corners), self.path, AnnotationError).intersection(shapely.box(0, 0, width, height))
        parts = [part for part in shapely.get_parts(area) if part.geom_type == "Polygon" and part.area >= 1]
        if not parts:
            raise AnnotationError("the outline holds no part of the slide", found="no area", fix="draw it again")
        return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _rings(geometry: Facts) -> list[list[Sequence[float]]]:
    """The rings of an area, holes among them; none of points and lines, which are drawn elsewhere."""
    polygons = {"Polygon": lambda c: [c], "MultiPolygon": lambda c: c}.get(geometry.get("type", ""), lambda c: [])
    return [ring for polygon in polygons(geometry.get("coordinates")) for ring in polygon]


def _id(feature: Facts) -> str:
    return hashlib.sha256(json.dumps(feature, sort_keys=True).encode()).hexdigest()[:16]
