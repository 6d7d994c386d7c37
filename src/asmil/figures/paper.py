"""The figures of the ASMIL paper for runs of one's own: attention by epoch (1), its sharpness (3), embeddings (5).

Source: ASMIL, arXiv 2603.06658, figures 1, 3 and 5.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from asmil.figures.curves import epochs_figure, weights_figure
from asmil.figures.style import INK, MUTED, SERIES, SMALL_PT, TEXT_PT, style_axes


def attention_by_epoch_figure(jsd: Mapping[str, Sequence[np.ndarray]]) -> Figure:
    """Fig. 1: how far the attention on validation slides moves from one epoch to the next.

    Args:
        jsd: run to one (epochs,) array per training: Jensen-Shannon divergence in nats, mean over slides.
    """
    return epochs_figure(jsd, ylabel="JSD of successive epochs (nats)", log=True)


def sharpness_figure(weights: Mapping[str, np.ndarray]) -> Figure:
    """Fig. 3: weight times tiles under the model's softmax and the anchor's NSF; arguments as `weights_figure`."""
    return weights_figure(weights)


def embeddings_figure(
    embeddings: Mapping[str, np.ndarray], *, epochs: Sequence[int], labels: Mapping[str, np.ndarray]
) -> Figure:
    """Fig. 5: t-SNE of the embeddings of validation slides, a row per run and a column per epoch, by class.

    Every panel is a map of its own (`tsne`): distances within a panel mean something, places and axes do not.

    Args:
        embeddings: run to (epochs, slides, dim).
        epochs: the epochs, from 0.
        labels: run to the class of its slides, text (slides,).
    """
    rows, columns = len(embeddings), len(epochs)
    size = (1.9 * columns + 0.3, 1.9 * rows + 0.5)
    figure = Figure(figsize=size, layout="constrained", facecolor="none")
    panels = figure.subplots(rows, columns, squeeze=False)
    classes = sorted({str(label) for several in labels.values() for label in several})
    for row, (name, by_epoch) in zip(panels, embeddings.items(), strict=True):
        for axes, epoch, vectors in zip(row, epochs, by_epoch, strict=True):
            style_axes(axes)
            axes.grid(False)
            axes.set(xticks=[], yticks=[])
            x, y = tsne(vectors).T
            for label, colour in zip(classes, SERIES * (len(classes) // len(SERIES) + 1), strict=False):
                chosen = np.asarray(labels[name]) == label
                axes.scatter(x[chosen], y[chosen], s=14, color=colour, linewidths=0, alpha=0.8, label=label)
            if axes in panels[0]:
                axes.set_title(f"epoch {epoch}", size=TEXT_PT, color=MUTED)
        row[0].set_ylabel(name)
    handles, names = panels[0, 0].get_legend_handles_labels()
    legend = figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=min(len(names), 6),
        frameon=False,
        fontsize=SMALL_PT,
        labelcolor=INK,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def tsne(vectors: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Two dimensions (n, 2) for n >= 3 vectors (n, dim), the same for the same seed; perplexity at most (n - 1) / 3."""
    from sklearn.manifold import TSNE  # here, because its import takes a second

    vectors = np.asarray(vectors, dtype=np.float64)
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(vectors)
