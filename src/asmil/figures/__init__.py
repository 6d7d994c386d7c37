"""Numbers to pictures: heatmaps, curves, and their export; the only room that uses matplotlib. Loaded when used."""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.figures.curves import (
        Curve,
        confusion_figure,
        cost_figure,
        deletion_figure,
        dynamics_figure,
        epochs_figure,
        precision_recall_figure,
        roc_figure,
        score_histogram_figure,
        weights_figure,
    )
    from asmil.figures.decisions import (
        agreement_figure,
        decision_figure,
        froc_figure,
        kaplan_meier_figure,
        predicted_survival_figure,
        reliability_figure,
        two_runs_figure,
    )
    from asmil.figures.export import figure_svg, image_data_uri, made_of, tile_scores_geojson, write_figure, write_png
    from asmil.figures.heatmap import colour_stops, draw_outlines, enlarge, percentiles, raw_limits, times_uniform
    from asmil.figures.panels import (
        EVEN_MAP,
        EVEN_WORDS,
        EVIDENCE_MAP,
        evidence_limit,
        heatmap_panels,
        length_text,
        panels_figure,
        range_text,
        scale_bar_um,
        slide_maps,
        tile_strip,
    )
    from asmil.figures.study import (
        Difference,
        critical_difference_figure,
        embeddings_figure,
        forest_figure,
        learning_figure,
        maps_figure,
        stability_figure,
        tsne,
    )
    from asmil.figures.style import plain_number
else:
    __all__, __getattr__ = door(__name__)
