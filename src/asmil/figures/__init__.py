"""Numbers to pictures: heatmaps, curves, and their export; the only room that uses matplotlib."""

from typing import Any

from asmil._lazy import load

_HOMES = {
    "heatmap": (
        "colour_stops",
        "draw_outlines",
        "enlarge",
        "percentiles",
        "raw_limits",
        "times_uniform",
    ),
    "panels": ("heatmap_panels", "length_text", "range_text", "scale_bar_um", "slide_maps", "tile_strip"),
    "curves": (
        "Curve",
        "calibration_figure",
        "confusion_figure",
        "dynamics_figure",
        "epochs_figure",
        "precision_recall_figure",
        "roc_figure",
        "score_histogram_figure",
        "weights_figure",
    ),
    "costs": ("cost_figure",),
    "decisions": ("decision_figure", "froc_figure", "reliability_figure", "two_runs_figure"),
    "export": ("figure_svg", "image_data_uri", "tile_scores_geojson", "write_figure", "write_png"),
    "paper": ("attention_by_epoch_figure", "embeddings_figure", "sharpness_figure", "tsne"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME_OF, name)
