"""Models in the style of other people's code, each stabilised in training: one table of claims, five styles."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asmil.attention import AttentionStabilizer

DIM, MOMENTUM = 6, 0.9


class ByName(nn.Module):
    """A sequence of layers; what the fourth returns are the scores (tiles, 1), which the output does not show."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(DIM, 8), nn.ReLU())
        self.scorer = nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Dropout(0.2), nn.Linear(4, 1))
        self.head = nn.Linear(8, 2)

    def forward(self, tiles: Tensor) -> Tensor:
        hidden = self.encoder(tiles)
        return self.head(self.scorer(hidden).softmax(0).T @ hidden)


class ReturnsTuple(ByName):
    """The same, with its scores (1, tiles) as the second of three outputs, the last a dict."""

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        hidden = self.encoder(tiles)
        scores = self.scorer(hidden).T
        pooled = scores.softmax(1) @ hidden
        return self.head(pooled), scores, {"features": pooled}


class Heads(nn.Module):
    """Multi-head attention of a class token: scores (heads, tiles) are the output of a submodule."""

    def __init__(self, heads: int = 3):
        super().__init__()
        self.token = nn.Parameter(torch.randn(heads, 4))
        self.key, self.attend, self.head = nn.Linear(DIM, heads * 4), nn.Identity(), nn.Linear(heads * DIM, 2)

    def forward(self, tiles: Tensor) -> Tensor:
        keys = self.key(tiles).unflatten(1, self.token.shape)
        scores = self.attend(torch.einsum("hd,thd->ht", self.token, keys))
        return self.head((scores.softmax(-1) @ tiles).flatten())[None]


class LowRank(nn.Module):
    """Rows of a few landmarks, each the mean of a stretch of tiles: (landmarks, tiles) per bag, as Nystrom has."""

    def __init__(self, landmarks: int = 4):
        super().__init__()
        self.landmarks, self.norm = landmarks, nn.LayerNorm(DIM)
        self.query, self.key, self.head = nn.Linear(DIM, 5), nn.Linear(DIM, 5), nn.Linear(DIM, 2)

    def forward(self, bags: list[Tensor]) -> tuple[Tensor, Tensor]:
        rows = []
        for bag in map(self.norm, bags):
            queries = torch.stack([part.mean(0) for part in self.query(bag).tensor_split(self.landmarks)])
            rows.append((queries @ self.key(bag).T).softmax(-1))
        pooled = torch.stack([(row @ bag).mean(0) for row, bag in zip(rows, bags, strict=True)])
        return self.head(pooled), nn.utils.rnn.pad_sequence([row.T for row in rows], batch_first=True)


class Padded(nn.Module):
    """A batch padded to its longest bag with a mask; scores (bags, tiles) are minus infinity on padding."""

    def __init__(self):
        super().__init__()
        self.hidden, self.score, self.head = nn.Linear(DIM, 4), nn.Linear(4, 1), nn.Linear(DIM, 2)

    def forward(self, tiles: Tensor, mask: Tensor) -> dict[str, Tensor]:
        scores = self.score(self.hidden(tiles).tanh()).squeeze(-1).masked_fill(~mask, -torch.inf)
        pooled = torch.einsum("bt,btd->bd", scores.softmax(1), tiles)
        return {"logits": self.head(pooled), "scores": scores}


@dataclass(frozen=True)
class Style:
    """How a model is made, called and stabilised; `attention` names the parameters that its scores depend on."""

    model: type[nn.Module]
    args: tuple[Any, ...]
    options: dict[str, Any]
    attention: tuple[str, ...]
    logits: Callable[[Any], Tensor] = lambda output: output


def _tiles(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


BAGS = [_tiles(9, DIM), _tiles(30, DIM), _tiles(5, DIM)]
MASK = torch.arange(30) < torch.tensor([[9], [30], [5]])
PADDED = nn.utils.rnn.pad_sequence(BAGS, batch_first=True)
STYLES = {
    "by name": Style(ByName, (_tiles(40, DIM),), {"scores": "scorer.3"}, ("encoder", "scorer")),
    "tuple": Style(ReturnsTuple, (_tiles(40, DIM),), {"scores": lambda o: o[1]}, ("encoder", "scorer"), lambda o: o[0]),
    "heads": Style(Heads, (_tiles(40, DIM),), {"scores": "attend", "tile_dim": -1}, ("token", "key")),
    "low rank": Style(
        LowRank,
        (BAGS,),
        {
            "scores": lambda o: o[1],
            "normalized": True,
            "tile_dim": 1,
            "mask": lambda bags: MASK[..., None],
        },
        ("norm", "query", "key"),
        lambda o: o[0],
    ),
    "padded": Style(
        Padded,
        (PADDED, MASK),
        {"scores": lambda o: o["scores"], "mask": lambda tiles, mask: mask},
        ("hidden", "score"),
        lambda o: o["logits"],
    ),
}
every_style = pytest.mark.parametrize("style", STYLES.values(), ids=STYLES.keys())


def make(style: Style, **options: Any) -> tuple[nn.Module, AttentionStabilizer]:
    torch.manual_seed(0)
    model = style.model().train()
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0  # with dropout the anchor, which has none, differs from the start
    options = {"beta": 1.0, "momentum": MOMENTUM, "anchor_normalizer": "softmax"} | style.options | options
    return model, AttentionStabilizer(model, gated=False, **options)


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


@every_style
def test_the_loss_is_zero_until_the_model_moves_and_its_gradient_reaches_the_attention(style):
    model, stabilizer = make(style)
    model(*style.args)
    assert abs(stabilizer.loss().item()) < 1e-6
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model(*style.args)
    loss = stabilizer.loss()
    assert loss.item() > 1e-4
    loss.backward()
    for name, parameter in model.named_parameters():
        reached = parameter.grad is not None and float(parameter.grad.abs().max()) > 1e-6
        # A shift of all scores of a row changes no weight: the last bias of a scorer has no gradient.
        expected = name.startswith(style.attention) and name not in SHIFTS
        assert reached == expected, name
    assert not any(p.grad is not None for p in stabilizer.anchor.module.parameters())


SHIFTS = {"scorer.3.bias", "score.bias", "key.bias"}


@every_style
def test_the_anchor_follows_by_its_momentum_and_the_host_keeps_its_state(style):
    model, stabilizer = make(style)
    names = list(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    expected = weights(model)
    for _ in range(4):
        loss = style.logits(model(*style.args)).square().sum() + stabilizer.loss()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        stabilizer.update()
        now = weights(model)
        expected = {name: MOMENTUM * expected[name] + (1 - MOMENTUM) * now[name] for name in names}
    anchored = weights(stabilizer.anchor.module)
    for name in names:
        torch.testing.assert_close(anchored[name], expected[name], rtol=1e-5, atol=1e-6)
    assert max(float((now[name] - anchored[name]).abs().max()) for name in names) > 1e-3
    assert list(model.state_dict()) == names


@every_style
def test_evaluation_is_that_of_a_model_without_stabilizer(style):
    model, stabilizer = make(style)
    plain = style.model()
    plain.load_state_dict(copy.deepcopy(model.state_dict()))
    found, wanted = (style.logits(m.eval()(*style.args)) for m in (model, plain))
    assert torch.equal(found, wanted)
    stabilizer.update()  # nothing was recorded, so there is nothing to align
    assert torch.isnan(torch.tensor(stabilizer.statistics()["kl"]))


@pytest.mark.parametrize("style", ["low rank", "padded"])
def test_padding_adds_nothing(style):
    style = STYLES[style]
    model, stabilizer = make(style, anchor_normalizer="nsf")
    model(*style.args)
    together, alone = stabilizer.loss().item(), []
    for index, bag in enumerate(BAGS):
        args = ([bag],) if style.model is LowRank else (bag[None], MASK[index : index + 1, : len(bag)])
        _, single = make(style, anchor_normalizer="nsf", **({"mask": None} if style.model is LowRank else {}))
        single.model(*args)
        alone.append(single.loss().item())
    assert together == pytest.approx(sum(alone) / 3, rel=1e-4)
