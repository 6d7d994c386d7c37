"""One training step (forward, backward) of asmil against its textbook form, token by token."""

import argparse
import time
from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy

from asmil.bags.bag import Bag, BagBatch
from asmil.models import create_model
from benchmarks._textbook import TextbookASMIL

SIZES = ((1_000, 384, 128), (10_000, 384, 128), (10_000, 384, 512), (1_000, 1024, 512), (10_000, 1024, 512))


def milliseconds(step: Callable[[], None], *, seconds: float) -> float:
    """Fastest of three runs or more, after one to warm up: on a shared machine the least disturbed."""
    step()
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def ours(features: torch.Tensor, dim: int, variant: str) -> Callable[[], None]:
    """A step of the production model."""
    model = create_model("asmil", in_dim=features.shape[1], n_classes=2, dim=dim, variant=variant, feature_dropout=0)
    batch = BagBatch.from_bags(Bag(features, label=0))

    def step() -> None:
        model.zero_grad()
        cross_entropy(model(batch).logits, batch.labels).backward()

    return step


def published(features: torch.Tensor, dim: int) -> Callable[[], None]:
    """A step of eight tokens with projections of their own, in textbook order."""
    model, label = TextbookASMIL(features.shape[1], 2, dim=dim, shared=False), torch.tensor([0])

    def step() -> None:
        model.zero_grad()
        cross_entropy(model(features)[0], label).backward()

    return step


def limit(features: torch.Tensor, dim: int) -> Callable[[], None]:
    """The products no form can avoid: two of the projection, and six skinny ones of 64 columns."""
    weight, rows = torch.randn(features.shape[1], dim), torch.randn(dim, 64)
    tiles, scores = torch.randn(features.shape[0], dim), torch.randn(features.shape[0], 64)
    hidden, back = torch.empty_like(tiles), torch.empty(features.shape[1], dim)
    by_tile, by_row = torch.empty_like(scores), torch.empty(64, dim)

    def step() -> None:
        torch.mm(features, weight, out=hidden)
        torch.mm(features.T, tiles, out=back)
        for _ in range(2):  # forward scores and the gradient of the pooling weights
            torch.mm(tiles, rows, out=by_tile)
        for _ in range(2):  # forward pooling and the gradient of the folded query
            torch.mm(scores.T, tiles, out=by_row)
        for _ in range(2):  # gradients of the tiles through scores and through pooling
            torch.mm(scores, rows.T, out=hidden)

    return step


def main() -> None:
    """Print one line per size: milliseconds of the published form, and the others' speed relative to it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="time per measurement")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    print(f"{torch.get_num_threads()} thread(s), torch {torch.__version__}")
    print(f"{'tiles':>7} {'in':>5} {'dim':>4} {'published ms':>13} {'per_token':>10} {'shared':>7} {'limit':>6}")
    for tiles, in_dim, dim in SIZES:
        features = torch.randn(tiles, in_dim)
        steps = [published(features, dim), *(ours(features, dim, v) for v in ("per_token", "shared"))]
        base, *others = (milliseconds(s, seconds=arguments.seconds) for s in [*steps, limit(features, dim)])
        ratios = [base / other for other in others]
        line = f"{tiles:7} {in_dim:5} {dim:4} {base:13.1f}"
        print(line + "".join(f"{r:{w}.1f}x" for r, w in zip(ratios, (10, 7, 6), strict=True)), flush=True)


if __name__ == "__main__":
    main()
