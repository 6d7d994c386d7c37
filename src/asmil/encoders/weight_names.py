"""Names of weights as timm has them, from those of transformers (ViT, DINOv2, CLIP) and of an older timm."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_PARTS = (
    ("vision_model.", ""),
    ("embeddings.patch_embeddings.projection.", "patch_embed.proj."),
    ("embeddings.patch_embedding.", "patch_embed.proj."),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.position_embedding.weight", "pos_embed"),
    ("embeddings.cls_token", "cls_token"),
    ("embeddings.class_embedding", "cls_token"),
    ("embeddings.register_tokens", "reg_token"),
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
_UNUSED = ("embeddings.mask_token", "embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")
_COMPUTED = ("attn_mask", "relative_position_index")  # Swin makes these when it is built
_QUERY = re.compile(r"attn\.(q_proj|query)\.(weight|bias)$")


def timm_names(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of transformers' models, or of timm's own of before 0.9, under today's names of timm; others as they are.

    `wanted` are the weights of the model they are for: where its positions leave the class token out, that of the
    class token is added to the token itself, which is the same sum.
    """
    state = {name: value for name, value in state.items() if not name.endswith(_COMPUTED)}
    if any("embeddings." in name for name in state):
        state = _of_transformers(state, wanted)
    if any(".0.downsample." in name for name in state) and not any(".3.downsample." in name for name in state):
        later = re.compile(r"layers\.(\d)\.downsample\.")  # once the end of a stage, now the beginning of the next
        state = {later.sub(lambda m: f"layers.{int(m[1]) + 1}.downsample.", name): v for name, v in state.items()}
    return state


def _of_transformers(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    for name, value in state.items():
        if not name.endswith(_UNUSED):
            for theirs, ours in _PARTS:
                name = name.replace(theirs, ours)
            named[name] = value
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
    if "head.weight" in named and "head.bias" in wanted and "head.bias" not in named:
        named["head.bias"] = torch.zeros(len(named["head.weight"]))  # CLIP projects without a bias, timm with one
    return named
