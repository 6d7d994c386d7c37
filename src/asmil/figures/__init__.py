"""Numbers to pictures: heatmaps, curves, and their export; the only room that uses matplotlib."""

from typing import TYPE_CHECKING, Any

from asmil._lazy import load

if TYPE_CHECKING:
    from asmil.figures.costs import cost_figure as cost_figure
    from asmil.figures.curves import Curve as Curve
    from asmil.figures.curves import calibration_figure as calibration_figure
    from asmil.figures.curves import confusion_figure as confusion_figure
    from asmil.figures.curves import dynamics_figure as dynamics_figure
    from asmil.figures.curves import epochs_figure as epochs_figure
    from asmil.figures.curves import precision_recall_figure as precision_recall_figure
    from asmil.figures.curves import roc_figure as roc_figure
    from asmil.figures.curves import score_histogram_figure as score_histogram_figure
    from asmil.figures.curves import weights_figure as weights_figure
    from asmil.figures.decisions import decision_figure as decision_figure
    from asmil.figures.decisions import froc_figure as froc_figure
    from asmil.figures.decisions import reliability_figure as reliability_figure
    from asmil.figures.decisions import two_runs_figure as two_runs_figure
    from asmil.figures.export import figure_svg as figure_svg
    from asmil.figures.export import image_data_uri as image_data_uri
    from asmil.figures.export import tile_scores_geojson as tile_scores_geojson
    from asmil.figures.export import write_figure as write_figure
    from asmil.figures.export import write_png as write_png
    from asmil.figures.heatmap import colour_stops as colour_stops
    from asmil.figures.heatmap import draw_outlines as draw_outlines
    from asmil.figures.heatmap import enlarge as enlarge
    from asmil.figures.heatmap import percentiles as percentiles
    from asmil.figures.heatmap import raw_limits as raw_limits
    from asmil.figures.heatmap import times_uniform as times_uniform
    from asmil.figures.panels import heatmap_panels as heatmap_panels
    from asmil.figures.panels import length_text as length_text
    from asmil.figures.panels import range_text as range_text
    from asmil.figures.panels import scale_bar_um as scale_bar_um
    from asmil.figures.panels import slide_maps as slide_maps
    from asmil.figures.panels import tile_strip as tile_strip
    from asmil.figures.paper import attention_by_epoch_figure as attention_by_epoch_figure
    from asmil.figures.paper import embeddings_figure as embeddings_figure
    from asmil.figures.paper import sharpness_figure as sharpness_figure
    from asmil.figures.paper import tsne as tsne
    from asmil.figures.survival import agreement_figure as agreement_figure
    from asmil.figures.survival import kaplan_meier_figure as kaplan_meier_figure
    from asmil.figures.survival import predicted_survival_figure as predicted_survival_figure

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
    "survival": ("agreement_figure", "kaplan_meier_figure", "predicted_survival_figure"),
    "paper": ("attention_by_epoch_figure", "embeddings_figure", "sharpness_figure", "tsne"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME_OF, name)
