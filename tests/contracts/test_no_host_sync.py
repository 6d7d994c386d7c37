"""A training step of every model makes the host wait for no device: shown without one, on tensors that have no data.

The step runs on the meta device, where whatever needs a value on the host raises, and says that it is on CUDA, so that
the code for CUDA is what runs. What CUDA would do, but a tensor without data does silently, is refused by hand.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, BagBatch
from asmil.models import create_model, list_models, model_info

LENGTHS = (40, 17, 65)
CREATES = (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor)
LOOKS = (torch.Tensor.__getitem__, torch.Tensor.__setitem__)
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
aten = torch.ops.aten
INDEXES = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)


class Waits(Exception):
    """The host would wait for the device here."""


class SaysCuda(TorchFunctionMode):
    """Tensors of the meta device say that they are on CUDA; none is made there of values of the host."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func == torch.Tensor.is_cuda.__get__:
            return args[0].is_meta
        if func in LOOKS and args[0].is_meta:
            parts = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(part, list) for part in parts):
                raise Waits("a list as an index becomes a tensor on the device")
        made = func(*args, **(kwargs or {}))
        values = args[-1] if func in CREATES else None
        if func in CREATES and made.is_meta and not (isinstance(values, torch.Tensor) and values.is_meta):
            raise Waits("values of the host become a tensor on the device: go by way of `on_device`")
        return made


class Refuses(TorchDispatchMode):
    """Refuses copies that wait, and indexing by masks or by what is still on the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func in COPIES:
            source, target = (args[0], result) if func is COPIES[0] else (args[1], args[0])
            waits = kwargs.get("non_blocking") or (func is COPIES[1] and len(args) > 2 and args[2])
            if source.is_cpu and target.is_meta and not waits:
                raise Waits("a copy from the host to the device waits for it: non_blocking, from pinned memory")
        if func in INDEXES and args[0].is_meta:
            for index in args[1]:
                if index is not None and (index.is_cpu or index.dtype in (torch.bool, torch.uint8)):
                    raise Waits(f"{func} by a tensor {index.dtype} on {index.device}")
        return result


@pytest.fixture
def device(monkeypatch):
    """The meta device in the guise of CUDA; autocast asks for the kind of a device by its name."""
    for name in ("is_autocast_enabled", "get_autocast_dtype", "autocast"):
        asked = getattr(torch, name)
        monkeypatch.setattr(
            torch, name, lambda kind, *a, asked=asked, **k: asked("cpu" if kind == "meta" else kind, *a, **k)
        )
    with SaysCuda(), Refuses():
        yield torch.device("meta")


def _batch(device, *, in_dim):
    bags = [
        Bag(
            torch.randn(tiles, in_dim),
            level0_xy=torch.zeros(tiles, 2, dtype=torch.int64),
            label=index % 2,
            tile_level0_px=side,
        )
        for index, (tiles, side) in enumerate(zip(LENGTHS, (256.0, None, 256.0), strict=True))
    ]
    return BagBatch.from_bags(bags).to(device)


def _step(model, batch, **options):
    """What `fit` does in a step, but for the optimiser, of which torch has the fused form on real devices only."""
    model.train()
    stabilizer = AttentionStabilizer(model, beta=0.1, **options) if model_info(_name(model)).aligned else None
    optimizer = torch.optim.AdamW(model.parameters(), foreach=True)
    output = model(batch)
    loss = F.cross_entropy(output.logits.float(), batch.labels) + sum(part.mean() for part in output.losses.values())
    if stabilizer:
        loss = loss + stabilizer.loss(loss)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
    if stabilizer:
        stabilizer.update()
    getattr(model, "after_step", lambda progress: None)(0.5)


def _name(model):
    return type(model).__module__.rsplit(".", 1)[-1]


@pytest.mark.parametrize("name", list_models())
def test_a_step_waits_for_no_device(name, device):
    model = create_model(name, in_dim=24, n_classes=2).to_empty(device=device)
    _step(model, _batch(device, in_dim=24), max_gradient_ratio=0.5)


def test_a_step_of_the_other_form_of_asmil(device):
    model = create_model("asmil", in_dim=24, n_classes=2, variant="per_token").to_empty(device=device)
    _step(model, _batch(device, in_dim=24))


@pytest.mark.parametrize(
    "options",
    [
        {"anchor": "frozen"},
        {"anchor_normalizer": "softmax", "reduction": "mean"},
        {"anchor_normalizer": "sparsemax"},
        {"anchor_normalizer": "entmax"},
    ],
    ids=str,
)
def test_other_stabilisers_wait_for_no_device(options, device):
    model = create_model("abmil", in_dim=24, n_classes=2).to_empty(device=device)
    _step(model, _batch(device, in_dim=24), **options)


def test_padding_and_splitting_a_batch_wait_for_no_device(device):
    batch = _batch(device, in_dim=3)
    padded, mask = batch.padded()
    assert padded.shape == (3, 65, 3)
    assert mask.shape == (3, 65)
    assert batch.layout.pack(padded).shape == batch.features.shape
    assert [len(part) for part in batch.split(batch.bag_of_tile)] == list(LENGTHS)


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: bool(x.sum() > 0),
        lambda x: x[x > 0],
        lambda x: x.masked_select(x > 0),
        lambda x: x.clone().index_put_((x > 0,), torch.zeros_like(x)),
        lambda x: x.nonzero(),
        lambda x: x.long().unique(),
        lambda x: x.long().bincount(),
        lambda x: x.repeat_interleave(x.long()),
        lambda x: torch.tensor([1, 2], device=x.device),
        lambda x: torch.as_tensor([1, 2], device=x.device),
        lambda x: x.new_tensor([1.0]),
        lambda x: torch.arange(2).to(x.device),
        lambda x: x.copy_(torch.ones(6)),
        lambda x: x[torch.tensor([1, 2])],
        lambda x: x[[1, 2]],
        lambda x: torch.equal(x, x + 1),
    ],
)
def test_whatever_waits_is_seen(waits, device):
    with pytest.raises((Waits, NotImplementedError, RuntimeError)):
        waits(torch.zeros(6, device=device))
