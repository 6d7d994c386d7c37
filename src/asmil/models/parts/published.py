"""Weights trained by the script that the authors of ASMIL published, on our ASMIL: their names to ours."""

import math
import zipfile
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from asmil.bags import listed
from asmil.draws import shapes_only
from asmil.errors import WeightsError
from asmil.models.asmil import ASMIL

LIMIT = 2**31
"""Bytes of a file, of what is packed in it, and of its tensors: 8 tokens of 768 values over 1536 features are 90 MB."""

WRAPPERS = ("model", "state_dict")
UNUSED = ("dimreduction.bn.", "classifier.")
"""What their module has and never uses: a normalisation, and a classifier for each token that is never trained."""

_TILES, _TOKENS, _CLASS, _HEAD = "dimreduction.fc1.weight", "q", "cls", "Slide_classifier.fc"
_PER_TOKEN, _BAG = "sub_attention", "bag_attention"
_SAVE = "give the state dict of their module: torch.save(model.state_dict(), 'weights.pt'), or as safetensors"


def load_published(path: str | Path, *, heads: int = 8) -> nn.Module:
    """Our ASMIL (`per_token`) with the weights of a file that the authors' script wrote, in evaluation mode.

    A safetensors file, or a torch file of tensors, also within `{"model": ...}` or `{"state_dict": ...}` and with
    `module.` before the names; nothing else is unpickled. What lies beside such a dict (an optimiser, an anchor) is not
    used: inference needs no anchor. All sizes are those of the weights but `heads`, which leave no trace in them:
    another number than that of training gives other outputs and no error. Features have to be as they were in training.

    Raises:
        WeightsError: no such file, one that is too large or no file of weights, or weights of another model.
        ConfigError: the width of the model is no multiple of `heads`.
    """
    path = Path(path)
    theirs = _used(path, _read(path))
    sizes = _sizes(path, theirs)
    _check(path, theirs, sizes)
    with shapes_only():
        model = ASMIL(
            sizes["in_dim"],
            sizes["classes"],
            dim=sizes["dim"],
            tokens=sizes["tokens"],
            heads=heads,
            variant="per_token",
            token_std=1e-6,
            score_scale=1,
            first_scale=None,
            even_start=False,
            feature_dropout=0,
        )
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    state = {
        ours: torch.stack([theirs[name].detach().float() for name in names]).reshape(shapes[ours])
        for ours, names in _sources(sizes["tokens"]).items()
    }
    model.load_state_dict(state, assign=True)
    return model.eval()


# Their names, and where they go.


def _sources(tokens: int) -> dict[str, list[str]]:
    """Our names, each with theirs: those of all tokens lie in one tensor."""
    found = {
        "projection.linear.weight": [_TILES],
        "feat.tokens": [_TOKENS],
        "cls.tokens": [_CLASS],
        "classifier.weight": [f"{_HEAD}.weight"],
        "classifier.bias": [f"{_HEAD}.bias"],
    }
    for ours, blocks in (("feat", [f"{_PER_TOKEN}.{t}" for t in range(tokens)]), ("cls", [_BAG])):
        for kind in ("weight", "bias"):
            for layer in ("query", "key", "value", "out"):
                short = layer if layer == "out" else layer[0]
                found[f"{ours}.{layer}.{kind}"] = [f"{block}.{short}_proj.{kind}" for block in blocks]
            found[f"{ours}.norm_{kind}"] = [f"{block}.layer_norm.{kind}" for block in blocks]
    return found


def _shapes(sizes: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """The shape of each of their tensors."""
    dim, classes = sizes["dim"], sizes["classes"]
    own = {
        _TILES: (dim, sizes["in_dim"]),
        _TOKENS: (1, sizes["tokens"], dim),
        _CLASS: (1, 1, dim),
        f"{_HEAD}.weight": (classes, dim),
        f"{_HEAD}.bias": (classes,),
    }
    names = [name for names in _sources(sizes["tokens"]).values() for name in names]
    return {name: own.get(name, (dim, dim) if name.endswith("_proj.weight") else (dim,)) for name in names}


def _sizes(path: Path, theirs: dict[str, Tensor]) -> dict[str, int]:
    """Width of the features and of the model, number of classes and tokens, as the weights say."""
    tiles, head = theirs.get(_TILES), theirs.get(f"{_HEAD}.weight")
    blocks = {name.split(".")[1] for name in theirs if name.startswith(f"{_PER_TOKEN}.")}
    if tiles is None or head is None or not blocks or {tiles.dim(), head.dim()} != {2} or 0 in tiles.shape + head.shape:
        raise WeightsError(
            f"{path} does not hold the weights of the authors' ASMIL",
            found=listed(sorted(theirs), 3) or "no tensors",
            fix=f"it needs {_TILES}, {_PER_TOKEN}.0 ... and {_HEAD}.weight; models of asmil itself open as a run",
        )
    return {
        "in_dim": tiles.shape[1],
        "dim": tiles.shape[0],
        "tokens": len(blocks),  # of names, of which there are no more than the file has; a shape may say anything
        "classes": head.shape[0],
    }


def _check(path: Path, theirs: dict[str, Tensor], sizes: dict[str, int]) -> None:
    found, expected = {name: tuple(value.shape) for name, value in theirs.items()}, _shapes(sizes)
    wrong = [
        f"{name} is {found.get(name, 'missing')}, expected {expected.get(name, 'none')}"
        for name in sorted({*expected, *found})
        if expected.get(name) != found.get(name)
    ]
    if wrong:
        raise WeightsError(
            f"{path} does not fit the authors' ASMIL of its sizes",
            found=f"{', '.join(f'{name} {size}' for name, size in sizes.items())}; {listed(wrong, 3)}",
            fix="give all weights of one model as their script saves it, unchanged",
        )
    if broken := [name for name, value in theirs.items() if not torch.isfinite(value).all()]:
        raise WeightsError(f"{path} holds NaN or infinite weights", found=listed(broken, 3), fix="train it again")


# A file to tensors, of which nothing is trusted.


def _read(path: Path) -> object:
    """What a file holds; tensors of a torch file stay in the file until they are used."""
    if not path.is_file():
        raise WeightsError(f"there is no file {path}", fix="give the file that their script saved")
    _require_small(path, path.stat().st_size, "the file")
    try:
        if zipfile.is_zipfile(path):  # as torch writes; what is packed in it may be far larger
            with zipfile.ZipFile(path) as packed:
                _require_small(path, sum(entry.file_size for entry in packed.infolist()), "unpacked")
            return torch.load(path, mmap=True, weights_only=True, map_location="cpu")
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (WeightsError, MemoryError):
        raise
    except Exception as error:  # what damaged bytes make a reader raise cannot be listed
        said = str(error).rpartition("WeightsUnpickler error: ")[2]  # before it torch advises to trust the file
        found = f"{type(error).__name__}: {said}".replace("\n", " ")[:200]
        raise WeightsError(f"{path} is no file of tensors alone", found=found, fix=_SAVE) from error


def _used(path: Path, content: object) -> dict[str, Tensor]:
    """The tensors of a file by their names, without those that are of no use."""
    if isinstance(content, dict):
        content = next((content[key] for key in WRAPPERS if isinstance(content.get(key), dict)), content)
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise WeightsError(f"{path} holds no tensors with names", found=type(content).__name__, fix=_SAVE)
    if all(name.startswith("module.") for name in content):
        content = {name.removeprefix("module."): value for name, value in content.items()}
    used = {name: value for name, value in content.items() if not name.startswith(UNUSED)}
    if odd := [name for name, value in used.items() if not _is_plain(value)]:
        raise WeightsError(f"{path} holds something else than weights", found=listed(odd, 3), fix=_SAVE)
    # a tensor may claim a shape that it has no memory for, by steps of nothing
    _require_small(path, sum(math.prod(value.shape) * value.element_size() for value in used.values()), "the tensors")
    return used


def _is_plain(value: object) -> bool:
    return (
        isinstance(value, Tensor)
        and not value.is_nested
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.is_floating_point()
    )


def _require_small(path: Path, size: int, what: str) -> None:
    if size > LIMIT:
        raise WeightsError(f"{path} is too large", found=f"{what}: {size:,} bytes, the limit is {LIMIT:,}", fix=_SAVE)
