"""Weights: found in a file, a folder, a map of names or on the hub, read without running code, fitted to a model."""

import hashlib
import importlib.util
import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from asmil.encoders.cards import PROCESSORS, EncoderCard
from asmil.errors import EncoderError, blaming
from asmil.files import suffix_of

if TYPE_CHECKING:
    from torch import Tensor, nn

# Whether an encoder can run on this machine, and what is missing.

PACKAGES = ("timm", "torchvision", "huggingface_hub")
ROOM_FOR_TILES = 0.8
"""The share of a GPU's memory that weights may take; the rest is for the tiles on their way."""


@dataclass(frozen=True)
class Readiness:
    """`state` is "ready", "downloads" (the weights come with the first use) or "missing"; `detail` says from where, or
    what to do; `weights_gib` is the memory of the weights in float32."""

    state: Literal["ready", "downloads", "missing"]
    detail: str
    weights_gib: float = 0.0


def readiness(card: EncoderCard, *, weights: str | Path | None = None, gpu_bytes: int | None = None) -> Readiness:
    """Whether the encoder of a card can run here; downloads nothing.

    `weights` is a folder or map as for `create_encoder`, looked at before the hub's cache; `gpu_bytes` the memory
    of the GPU, None where there is none.
    """
    if card.repository is None:
        return Readiness("ready", "needs no weights")
    gib = (card.millions or 0) * 1e6 * 4 / 1024**3
    absent = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if absent:
        return Readiness("missing", f"{', '.join(absent)}: pip install 'asmil[encoders]'", gib)
    if gpu_bytes is not None and gib > ROOM_FOR_TILES * gpu_bytes / 1024**3:
        return Readiness("missing", f"GPU memory: {gpu_bytes / 1024**3:.1f} GiB are too little", gib)

    file = cached_weights(card)
    if weights is not None:
        try:
            file = find_weights(card, weights)
        except EncoderError as error:
            if file is None:
                return Readiness("missing", f"{error.what}: {error.found}", gib)
    if file is not None:
        return Readiness("ready", str(file), gib)
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        return Readiness("missing", how_to_get(card), gib)
    page = f"https://huggingface.co/{card.repository}"
    if card.gated and get_token() is None:
        return Readiness("missing", f"accept the licence at {page}, then `hf auth login`; or --weights", gib)
    return Readiness("downloads", f"{page}{' (licence accepted?)' if card.gated else ''}", gib)


# Names of weights as timm has them, from those of transformers (ViT, DINOv2, CLIP), of DINOv2 and of an older timm.

_PARTS = (
    ("vision_model.", ""),
    ("embeddings.patch_embeddings.projection.", "patch_embed.proj."),
    ("embeddings.patch_embedding.", "patch_embed.proj."),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.position_embedding.weight", "pos_embed"),
    ("embeddings.cls_token", "cls_token"),
    ("embeddings.class_embedding", "cls_token"),
    ("embeddings.register_tokens", "reg_token"),
    ("register_tokens", "reg_token"),
    ("encoder.layers.", "blocks."),
    ("encoder.layer.", "blocks."),
    ("attention.attention.", "attn."),
    ("attention.output.dense.", "attn.proj."),
    ("self_attn.out_proj.", "attn.proj."),
    ("self_attn.", "attn."),
    ("intermediate.dense.", "mlp.fc1."),
    (".output.dense.", ".mlp.fc2."),
    ("mlp.weights_in.", "mlp.fc1."),
    ("mlp.weights_out.", "mlp.fc2."),
    ("mlp.w12.", "mlp.fc1."),
    ("mlp.w3.", "mlp.fc2."),
    ("layer_scale1.lambda1", "ls1.gamma"),
    ("layer_scale2.lambda1", "ls2.gamma"),
    ("layernorm_before.", "norm1."),
    ("layernorm_after.", "norm2."),
    ("layer_norm1.", "norm1."),
    ("layer_norm2.", "norm2."),
    ("pre_layrnorm.", "norm_pre."),
    ("post_layernorm.", "norm."),
    ("layernorm.", "norm."),
    ("visual_projection.", "head."),
)
_UNUSED = ("mask_token", "embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")
_COMPUTED = ("attn_mask", "relative_position_index")  # Swin makes these when it is built
_DINOV2 = re.compile(r"(^|\.)(register_tokens|mask_token|mlp\.w12\.weight)$|blocks\.\d+\.\d+\.")
_CHUNK = re.compile(r"blocks\.\d+\.(\d+)\.")  # DINOv2 trains its blocks in chunks and numbers them through
_QUERY = re.compile(r"attn\.(q_proj|query)\.(weight|bias)$")


def timm_names(state: Mapping[str, "Tensor"], wanted: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Weights of transformers' models, of DINOv2's, or of timm's own of before 0.9, under today's names of timm.

    Others are left as they are. `wanted` are the weights of the model they are for: where its positions leave the class
    token out, that of the class token is added to the token itself, which is the same sum; where they are of another
    grid, they are resampled as transformers does it on every call (bicubic).
    """
    state = {name: value for name, value in state.items() if not name.endswith(_COMPUTED)}
    if any("embeddings." in name or _DINOV2.search(name) for name in state):
        state = _of_transformers(state, wanted)
    if any(".0.downsample." in name for name in state) and not any(".3.downsample." in name for name in state):
        later = re.compile(r"layers\.(\d)\.downsample\.")  # once the end of a stage, now the beginning of the next
        state = {later.sub(lambda m: f"layers.{int(m[1]) + 1}.downsample.", name): v for name, v in state.items()}
    return state


def _of_transformers(state: Mapping[str, "Tensor"], wanted: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    import torch

    named: dict[str, Tensor] = {}
    for name, value in state.items():
        if not name.endswith(_UNUSED):
            for theirs, ours in _PARTS:
                name = name.replace(theirs, ours)
            named[_CHUNK.sub(r"blocks.\1.", name)] = value
    for query in [name for name in named if _QUERY.search(name)]:
        parts = [
            query.replace("query", part).replace("q_proj", f"{part[0]}_proj") for part in ("query", "key", "value")
        ]
        if all(part in named for part in parts):
            named[_QUERY.sub(r"attn.qkv.\2", query)] = torch.cat([named.pop(part) for part in parts])
    for name in [name for name in named if name.endswith("cls_token")]:
        named[name] = named[name].reshape(1, 1, -1)  # CLIP's has one axis, its positions two
        position = name.removesuffix("cls_token") + "pos_embed"
        if position not in named:
            continue
        named[position] = named[position].reshape(1, -1, named[name].shape[-1])
        if "pos_embed" in wanted and named[position].shape[1] == wanted["pos_embed"].shape[1] + 1:
            named[name] = named[name] + named[position][:, :1]
            named[position] = named[position][:, 1:]
        named[position] = _resampled(named[position], wanted.get("pos_embed"))
    if "head.weight" in named and "head.bias" in wanted and "head.bias" not in named:
        named["head.bias"] = torch.zeros(len(named["head.weight"]))  # CLIP projects without a bias, timm with one
    return named


def _resampled(positions: "Tensor", wanted: "Tensor | None") -> "Tensor":
    """Positions (1, token and patches, width) on the square grid of the model; as they are, where they are on it."""
    if wanted is None or positions.shape == wanted.shape:
        return positions
    old, new = (math.isqrt(one.shape[1]) for one in (positions, wanted))
    import torch

    first = positions.shape[1] - old**2
    if first != wanted.shape[1] - new**2 or positions.shape[2] != wanted.shape[2]:
        return positions  # another model's, as `fitted` will say
    grid = positions[:, first:].float().reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, (new, new), mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :first].float(), grid.flatten(2).transpose(1, 2)], dim=1)


SUFFIXES = (".safetensors", ".pth", ".bin", ".pt")
WRAPPERS = ("teacher", "model_ema", "ema", "state_dict", "model_state_dict", "model")
"""Keys under which training programs keep the weights; of a teacher and a student the teacher is the encoder."""


def find_weights(card: EncoderCard, weights: str | Path | None) -> Path:
    """The weights file of an encoder: `weights` itself, what a folder or map says, or the hub's, downloaded once.

    A folder holds `NAME.safetensors` (`.pth`, `.bin`, `.pt`) or the hub's own files in `NAME/`; a map is a json of
    names and paths, relative to where it lies.

    Raises:
        EncoderError: there is none, or the hub does not give it.
    """
    if weights is None:
        return _of_hub(card)
    path = Path(weights)
    if path.is_dir():
        return _in_folder(card, path)
    if suffix_of(path) == ".json":
        return _in_map(card, path)
    if not path.is_file():
        raise EncoderError("the weights file does not exist", found=path, fix="give a .safetensors or .pth file")
    return path


def cached_weights(card: EncoderCard) -> Path | None:
    """The weights file in the hub's cache on this machine, if it was downloaded."""
    from huggingface_hub import try_to_load_from_cache

    for file in card.files if card.repository else ():
        found = try_to_load_from_cache(cast(str, card.repository), file)
        if isinstance(found, str):
            return Path(found)
    return None


def read_weights(path: str | Path) -> dict[str, "Tensor"]:
    """Read a state dict from `.safetensors`, or from a pickle that holds tensors only.

    Raises:
        EncoderError: no such file, or it holds something else.
    """
    import torch

    path, fix = Path(path), "save its state dict as .safetensors; pickles that run code are refused"
    if not path.exists():
        raise EncoderError("the weights file does not exist", found=path)
    with blaming(EncoderError, f"{path.name} is not a readable weights file", fix=fix):
        if suffix_of(path) == ".safetensors":
            from safetensors.torch import load_file

            state: object = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    while isinstance(state, dict) and (inner := next((w for w in WRAPPERS if isinstance(state.get(w), dict)), None)):
        state = state[inner]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise EncoderError(f"{path.name} holds no state dict", found=type(state).__name__)
    return state


def fitted(
    state: Mapping[str, "Tensor"], model: "nn.Module", *, card: EncoderCard, file: str, of_timm: bool = True
) -> dict[str, "Tensor"]:
    """The weights under the names of the model: prefixes, classifiers and what the card ignores are taken off.

    `of_timm`: the model has timm's names, and the weights may have those of transformers or of an older timm.

    Raises:
        EncoderError: names or shapes are left over or missing; it says which.
    """
    wanted = model.state_dict()
    state = timm_names(state, wanted) if of_timm else state
    prefix = _prefix(state, wanted)
    state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    adapt = getattr(model, "adapt", None)  # what only this model knows of its files
    state = adapt(state) if adapt else state
    classifier = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    heads = tuple(f"{name}." for name in ([classifier] if isinstance(classifier, str) else classifier))
    dropped = (*heads, *card.ignored)
    state = {name: value for name, value in state.items() if name in wanted or not name.startswith(dropped)}
    faults = {
        "missing": sorted(wanted.keys() - state.keys()),
        "unexpected": sorted(state.keys() - wanted.keys()),
        "of another shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(value.shape)}"
            for name, value in wanted.items()
            if name in state and state[name].shape != value.shape
        ],
    }
    if any(faults.values()):
        found = "; ".join(f"{len(names)} {what}: {', '.join(names[:4])}" for what, names in faults.items() if names)
        raise EncoderError(
            f"{file} does not fit {card.name}",
            found=found,
            fix="give the weights of this architecture, or name the encoder they belong to",
        )
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def weight_hash(state: Mapping[str, "Tensor"]) -> str:
    """Sixteen hexadecimal digits of the SHA-256 over names and bytes of all weights."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _prefix(state: Mapping[str, "Tensor"], wanted: Mapping[str, "Tensor"]) -> str:
    """What stands before the model's names in the file (`module.`, `teacher.backbone.`): where most of them are."""
    probes = sorted(wanted, key=len)[-3:]
    prefixes = {name[: -len(p)] for p in probes for name in state if name == p or name.endswith("." + p)} | {""}

    def fit(prefix: str) -> tuple[int, bool, int]:
        return sum(prefix + name in state for name in wanted), "teacher" in prefix, -len(prefix)

    return max(sorted(prefixes), key=fit)


def _short(card: EncoderCard) -> str:
    return card.name.rpartition(":")[2].rpartition("/")[2]


def _in_folder(card: EncoderCard, folder: Path) -> Path:
    names = dict.fromkeys((_short(card), _short(card).replace("-", "_")))
    for name in names:
        for path in (*(folder / (name + suffix) for suffix in SUFFIXES), *(folder / name / f for f in card.files)):
            if path.is_file():
                return path
    raise EncoderError(
        f"no weights of {card.name} in the folder",
        found=folder,
        fix=f"put {_short(card)}.safetensors (.pth, .bin, .pt) or {_short(card)}/{card.files[0]} into it",
    )


def _in_map(card: EncoderCard, file: Path) -> Path:
    try:
        paths = json.loads(file.read_text(encoding="utf-8"))
        known = {name.replace("_", "-"): file.parent / path for name, path in paths.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise EncoderError(
            f"{file.name} is no map of weights", found=error, fix='write {"uni": "path/of/uni.safetensors", ...}'
        ) from error
    path = known.get(card.name.replace("_", "-"))
    if path is None:
        raise EncoderError(f"{file.name} has no entry for {card.name}", found=", ".join(sorted(known)) or "nothing")
    if not path.is_file():
        raise EncoderError(f"the weights file of {card.name} in {file.name} does not exist", found=path)
    return path


def _of_hub(card: EncoderCard) -> Path:
    if card.repository is None:
        raise EncoderError(f"the card of {card.name} names no weights", fix="give their file: --weights FILE")
    cached = cached_weights(card)
    if cached is not None:
        return cached
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    failure: Exception | None = None
    for file in card.files:
        try:
            path = Path(hf_hub_download(card.repository, file))
            for stated in ("config.json", *PROCESSORS):  # what the repository says of pixels, to compare with the card
                with suppress(EntryNotFoundError):
                    hf_hub_download(card.repository, stated)
            return path
        except LocalEntryNotFoundError as error:  # no network: the next name would wait for it as long
            raise _not_given(card, error) from error
        except EntryNotFoundError as error:
            failure = error
        except Exception as error:
            raise _not_given(card, error) from error
    raise _not_given(card, failure)


def _not_given(card: EncoderCard, failure: Exception | None) -> EncoderError:
    found = f"{type(failure).__name__}: {failure}"[:300]
    return EncoderError(f"the weights of {card.name} cannot be downloaded", found=found, fix=how_to_get(card))


def how_to_get(card: EncoderCard) -> str:
    """How a user comes by the weights of an encoder, in one sentence."""
    gated = f"accept the licence at https://huggingface.co/{card.repository} and log in (`hf auth login`, or HF_TOKEN)"
    offline = f"without network give {' or '.join(card.files)} of {card.repository}: --weights FILE or FOLDER"
    return f"{gated}; {offline}" if card.gated else offline
