"""Models of a run as one ONNX file for any number of tiles, which is only left where ONNX Runtime agrees with torch."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from asmil.attention import Packed
from asmil.bags import BagBatch
from asmil.deploy.card import write_card
from asmil.deploy.ensemble import Ensemble
from asmil.errors import AsmilError, ConfigError, FeatureError, blaming
from asmil.files import Facts, write_json, written_beside
from asmil.training import Standardized

if TYPE_CHECKING:
    import onnxruntime

# Models of bags as one function of plain tensors, the form in which they leave asmil.

INPUT = "features"
OUTPUTS = ("probabilities", "attention", "logits")


class Deployed(nn.Module):
    """The mean of models on one slide, for models that do not ask where the tiles are.

    Features (tiles, dim) become probabilities (classes,), attention (tiles,), both means over the models, and the
    logits of each (models, classes). Of no tiles at all probabilities and logits are NaN: attention over nothing sums
    to nothing, and the classifier's bias alone would look like an answer.
    """

    def __init__(self, models: Sequence[nn.Module]):
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, features: Float[Tensor, "tiles dim"]) -> tuple[Tensor, Tensor, Tensor]:
        batch = BagBatch(features, Packed([features.shape[0]]), tile_level0_px=(None,))
        outputs = [model(batch) for model in self.models]
        logits = torch.cat([output.logits.float() for output in outputs])
        attention = torch.stack([output.attention.float() for output in outputs]).mean(0)
        tiles = torch.ones_like(features[:, 0]).sum()  # of the data: the number in the shape is 1 or more when traced
        some = tiles / tiles
        return logits.softmax(1).mean(0) * some, attention, logits * some


def example(tiles: int, dim: int, *, like: nn.Module, seed: int = 0) -> Float[Tensor, "tiles dim"]:
    """Features of so many tiles, distributed as those that a standardised model was trained on."""
    features = torch.randn(tiles, dim, generator=torch.Generator().manual_seed(seed))
    if isinstance(like, Standardized):
        features = like.mean.cpu() + features * like.std.cpu().nan_to_num(posinf=0.0)
    return features


TOLERANCE = 1e-4
"""Largest difference: of probabilities and logits absolute, of attention relative to the largest of the slide."""

SIZES = (1, 2, 17, 500, 20_000)
MOST_TILES = 1_000_000
"""The number of tiles the graph is made for; larger ones are not refused by it."""

TRACED_TILES = 29  # of the example: no size that a model could mistake for one of its own

QUADRATIC = {"transformer": 2000}
"""Models in whose graph every tile attends to every tile at once: tiles that they are compared with at most."""

NOT_EXPORTABLE = {
    "camil": "it cuts the tiles into segments whose length depends on their number, and asks for their places",
    "dtfd": "it deals the tiles to pseudo-bags one by one, and their number depends on the slide",
    "rrt": "it cuts the slide into regions whose number and size depend on its number of tiles",
    "transmil": "it lays the tiles out as a square whose side depends on their number",
}
"""Models whose computation is laid out anew for every slide, in Python: no fixed graph does the same."""


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file, and by number of tiles its largest difference from torch."""

    path: Path
    differences: dict[int, float]


def export_onnx(
    models: Sequence[nn.Module],
    path: str | Path,
    *,
    in_dim: int,
    name: str,
    facts: dict[str, object] | None = None,
    sizes: Sequence[int] = SIZES,
) -> OnnxFile:
    """Write the mean of models in evaluation mode as one ONNX file, and `facts` into it and as JSON beside it.

    Input: `features` float32 (tiles, in_dim). Outputs: `probabilities` (classes,), `attention` (tiles,), `logits`
    (models, classes).

    Args:
        name: of the kind of model, as in `asmil list models`.
        sizes: numbers of tiles with which ONNX Runtime is compared with torch.

    Raises:
        AsmilError: the packages are missing, the model cannot be a fixed graph, or the file does not agree with torch;
            no file is left then.
    """
    path = Path(path)
    if name in NOT_EXPORTABLE:
        raise AsmilError(
            f"{name} cannot be an ONNX file", found=NOT_EXPORTABLE[name], fix="use `asmil predict`, or another model"
        )
    _require_packages()
    module = Deployed([model.cpu() for model in models]).eval()
    sizes = [size for size in sizes if size <= QUADRATIC.get(name, MOST_TILES)]
    program = _program(module, example(TRACED_TILES, in_dim, like=models[0]), name)
    program.model.metadata_props.update({key: _text(value) for key, value in (facts or {}).items()})
    with written_beside(path) as partial:
        program.save(partial, external_data=False)
        differences = _compare(module, partial, sizes=sizes, in_dim=in_dim)
    stated = {"inputs": [INPUT], "outputs": list(OUTPUTS), "largest_difference_by_tiles": differences}
    write_json(path.with_suffix(".json"), dict(facts or {}) | stated)
    return OnnxFile(path, differences)


def _require_packages() -> None:
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise AsmilError("ONNX export needs packages", found=error, fix="pip install 'asmil[onnx]'") from error


def _program(module: Deployed, features: Tensor, name: str) -> "torch.onnx.ONNXProgram":
    """The graph of any number of tiles."""
    tiles = torch.export.Dim("tiles", min=1, max=MOST_TILES)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                (features,),
                dynamo=True,
                dynamic_shapes=({0: tiles},),
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                custom_translation_table={torch.ops.aten.scaled_dot_product_attention.default: _attention},
                verbose=False,
            )
    except Exception as error:  # the exporter raises whatever a model's code makes it raise
        reason: BaseException = error
        while reason.__cause__ is not None:
            reason = reason.__cause__
        raise AsmilError(
            f"{name} cannot be an ONNX file",
            found=f"{type(reason).__name__}: {reason}"[:300],
            fix="use `asmil predict`",
        ) from error
    if program is None:
        raise AsmilError(f"{name} cannot be an ONNX file", found="the exporter gave nothing", fix="use `asmil predict`")
    shape = program.model.graph.inputs[0].shape
    length = shape[0] if shape else 0
    if isinstance(length, int):
        found = f"a graph of {length} tiles"
        raise AsmilError(f"{name} cannot be an ONNX file of any size", found=found, fix="use `asmil predict`")
    return program


def _attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    """Scaled dot-product attention of any rank: the exporter's own knows four axes only."""
    from onnxscript import opset18 as op

    axes = list(range(len(key.shape)))
    turned = op.Transpose(key, perm=[*axes[:-2], axes[-1], axes[-2]])
    factor = scale or query.shape[-1] ** -0.5
    scores = op.MatMul(op.Mul(query, op.Constant(value_float=float(factor))), turned)  # exported in float32
    if attn_mask is not None:
        scores = op.Add(scores, attn_mask)
    return op.MatMul(op.Softmax(scores, axis=-1), value)


def _compare(module: Deployed, path: Path, *, sizes: Sequence[int], in_dim: int) -> dict[int, float]:
    """The largest difference between ONNX Runtime and torch for every number of tiles."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    if (answer := _answer_to_nothing(session, in_dim)) is not None:
        found = f"probabilities {answer}"
        raise AsmilError("the graph answers a bag of no tiles", found=found, fix="use `asmil predict`")
    differences = {}
    for tiles in sizes:
        features = example(tiles, in_dim, like=module.models[0], seed=tiles)
        with torch.no_grad():
            expected = [output.numpy() for output in module(features)]
        found = session.run(list(OUTPUTS), {INPUT: features.numpy()})
        differences[tiles] = max(
            float(np.abs(a - b).max() / (np.abs(b).max() if name == "attention" else 1.0))
            for name, a, b in zip(OUTPUTS, found, expected, strict=True)
        )
    worst = max(differences, key=lambda tiles: differences[tiles])
    if not differences[worst] <= TOLERANCE:
        raise AsmilError(
            "ONNX Runtime does not agree with torch, so the file is not left",
            found=f"a difference of {differences[worst]:.1e} on {worst} tiles, {TOLERANCE:.0e} is allowed",
            fix="use `asmil predict`",
        )
    return differences


def _answer_to_nothing(session: "onnxruntime.InferenceSession", in_dim: int) -> list[float] | None:
    """The probabilities that a graph gives without tiles; None where it refuses, or says that they are no numbers."""
    import onnxruntime

    quiet = onnxruntime.RunOptions()
    quiet.log_severity_level = 4  # a refusal, as it should be, would print
    try:
        probabilities = session.run([OUTPUTS[0]], {INPUT: np.empty((0, in_dim), np.float32)}, quiet)[0]
    except Exception:  # noqa: BLE001  ONNX Runtime raises errors of its own kinds: to refuse is what it should do
        return None
    return None if np.isnan(probabilities).all() else probabilities.tolist()


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's progress and hints, which are about its own parts."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch.fx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


# An exported file, used.


class OnnxModel:
    """An ONNX file that `export_onnx` wrote, in ONNX Runtime: `facts` are those it was exported with, as JSON texts."""

    def __init__(self, path: str | Path):
        """Open a file.

        Raises:
            AsmilError: ONNX Runtime is missing, or this is no file of asmil's.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise AsmilError("an ONNX file needs packages", found=error, fix="pip install 'asmil[onnx]'") from error
        fix = "give a file that `asmil export` wrote"
        with blaming(AsmilError, f"{path} cannot be opened by ONNX Runtime", fix=fix):
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        inputs, outputs = self._session.get_inputs(), [output.name for output in self._session.get_outputs()]
        if [value.name for value in inputs] != [INPUT] or tuple(outputs) != OUTPUTS or len(inputs[0].shape) != 2:
            raise AsmilError(f"{path} is no model that asmil exported", found=f"outputs {outputs}", fix=fix)
        self.path, self.dim = Path(path), int(inputs[0].shape[1])
        self.facts: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Predict one slide: probabilities (classes,), attention (tiles,), logits (models, classes), all float32.

        Args:
            features: (tiles, dim), of any floating type: float16, as features are stored, is computed in float32.

        Raises:
            FeatureError: no tiles, another dimension, no floating numbers, or NaN or infinities among them.
        """
        features = np.asarray(features)
        if features.ndim != 2 or features.shape[1] != self.dim or features.dtype.kind != "f":
            found = f"{features.dtype} {features.shape}"
            fix = f"give float (tiles, {self.dim}), of the encoder that the model was trained with"
            raise FeatureError("the features do not fit the model", found=found, fix=fix)
        if not len(features):
            fix = "a slide without tiles has no prediction: look at its tissue"
            raise FeatureError("there is nothing to predict from", found="0 tiles", fix=fix)
        with np.errstate(over="ignore"):  # what is too large for float32 is refused as infinite
            features = features.astype(np.float32)
        if not np.isfinite(features).all():
            raise FeatureError("the features are not finite", found="NaN or infinities", fix="extract the slide again")
        return tuple(self._session.run(list(OUTPUTS), {INPUT: features}))


# The models of a run.


@dataclass(frozen=True)
class Exported:
    """What `export` wrote: the ONNX file (none where only the card was asked for), of how many models, its largest
    difference from torch by number of tiles, and the card as markdown and JSON."""

    onnx: Path | None
    members: int
    differences: dict[int, float]
    card: tuple[Path, Path]


def export_run(ensemble: Ensemble, out: Path, *, fold: int | None, seed: int | None, card: bool) -> Exported:
    """The mean of a run's models, or of those of a fold or seed, as an ONNX file, and a card; with `card` that alone.

    Raises:
        ConfigError: the run is no classifier, or has no such model. AsmilError: as `export_onnx`.
        RunError: the run was not evaluated, which the card is made of; no file is left then.
    """
    if ensemble.task is not None:
        found, fix = f"a run of {ensemble.task.name}", "asmil predict takes such runs"
        raise ConfigError("only classifiers are exported", found=found, fix=fix)
    members = [m for m in ensemble.members if fold in (None, m.fold) and seed in (None, m.seed)]
    if not members:
        known = ", ".join(member.name for member in ensemble.members)
        raise ConfigError("the run has no such model", found=f"fold {fold}, seed {seed}", fix=f"one of {known}")
    ensemble.run.require_results(partial=bool(ensemble.partial))  # known before the file is made, not after
    if card:
        return Exported(None, len(members), {}, write_card(ensemble, out))
    made = export_onnx(
        [member.model for member in members],
        out,
        in_dim=ensemble.preprocessing.values["dim"][0],
        name=ensemble.run.settings.model,
        facts=_facts(ensemble) | {"members": [member.name for member in members]},
    )
    described = write_card(ensemble, out.with_name(f"{out.stem}_card.md"))
    return Exported(out, len(members), made.differences, described)


def _facts(ensemble: Ensemble) -> Facts:
    """What a program that uses the file has to know."""
    from importlib.metadata import version

    return {
        "asmil_version": version("asmil"),
        "model": ensemble.run.settings.model,
        "classes": list(ensemble.classes),
        "features": ensemble.preprocessing.values,
        "attention": "mean over the members and their attention rows; sums to 1 over the tiles",
        "digest_of_all_members": ensemble.digest,
    }
