"""The contract of a MIL model, checked on any model: ours, or a foreign one behind a factory."""

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.bags import Bag, BagBatch
from asmil.models import MILOutput, create_model, evidence
from asmil.testing.report import CheckReport, ContractError, require, run_checks

ModelFactory = Callable[[int, int], nn.Module]

LENGTHS = (9, 1, 33)  # several lengths in one batch, a bag of a single tile among them

TO_ADD = {
    "complete_output": "a forward(batch: BagBatch) that returns MILOutput(logits (bags, classes), attention (tiles,), "
    "embedding (bags, any), scores (tiles, rows) or None); asmil.wrap(TheClass, scores=...) puts that around a module "
    "that takes the tiles (tiles, dim) of one slide",
    "attention_is_a_distribution": "a normalisation over the tiles of each bag: asmil.attention.softmax(scores, "
    "batch.layout); several rows are averaged",
    "attention_scores_agree": "nothing: leave `attention_scores` out, or let forward take its scores from it",
    "order_of_tiles_is_irrelevant": "pooling that does not see where in the bag a tile stands; a position is in "
    "batch.level0_xy",
    "batch_equals_loop": "work by bag: batch.layout (sum, map, reduce, split) keeps apart what is of different bags; "
    "no batch normalisation over them",
    "repeated_bag_gives_equal_results": "nothing that depends on the place of a bag in the batch",
    "bag_of_one_tile": "a way for bags of one tile: no standard deviation, top-k or normalisation that needs two",
    "every_parameter_learns": "the way from these parameters to the logits or to a loss in MILOutput.losses; take out "
    "a detach, an argmax, or a layer that is not used",
    "half_precision_features": "batch.features.to(self.<layer>.weight.dtype) at the beginning of forward: feature "
    "files are float16",
    "bf16_autocast": "float32 for sums and softmax, and .to(x.dtype) where a buffer meets a tensor of autocast",
    "evidence_adds_up": "nothing: leave the method `evidence` out, or return (tiles, classes) that add up to the "
    "logits less the same rest in every bag",
    "large_features": "a subtracted maximum before exp, or a normalisation of the features",
    "evaluation_is_deterministic": "`if self.training` around dropout, masks and noise",
    "state_dict_round_trip": "register_buffer for tensors that the output depends on, and nothing drawn in __init__ "
    "beside parameters",
    "input_is_left_alone": "a copy before operations that end in _, such as relu_ or mul_",
}
"""By check, what a model lacks that fails it."""


def check_model(
    model: str | ModelFactory,
    *,
    in_dim: int = 24,
    n_classes: int = 3,
    seed: int = 0,
    expected_failures: Mapping[str, str] | None = None,
    **options: object,
) -> CheckReport:
    """Examine a model by name (with its `options`) or by a factory `(in_dim, n_classes) -> nn.Module`.

    The module takes a `BagBatch` and returns a `MILOutput`. The caller's random state is left as it was.
    `expected_failures` maps names of checks to the reason why the model cannot keep them; such a check that
    passes makes the report fail too, so that no stale excuse stays.

    Raises:
        UnknownPartError: no model of that name.
        ConfigError: a wrong option, or a failure expected of a check that does not exist.
    """
    if isinstance(model, str):
        factory, part = _by_name(model, options), f"model {model!r} {options or ''}".rstrip()
    else:
        factory, part = model, f"model {getattr(model, '__name__', type(model).__name__)}"
    checks = _ModelChecks(factory, in_dim, n_classes, seed=seed)
    with torch.random.fork_rng(devices=[]):
        factory(in_dim, n_classes)  # a wrong name or option is the caller's error, not a failed check
        return run_checks(part, checks.all(), expected_failures=expected_failures, fixes=TO_ADD)


def _by_name(name: str, options: dict[str, object]) -> ModelFactory:
    return lambda in_dim, n_classes: create_model(name, in_dim=in_dim, n_classes=n_classes, **options)


class _ModelChecks:
    """Each method is one check: it returns, or raises a `ContractError` that says what was seen."""

    def __init__(self, factory: ModelFactory, in_dim: int, n_classes: int, *, seed: int):
        self.factory, self.in_dim, self.n_classes, self.seed = factory, in_dim, n_classes, seed
        generator = torch.Generator().manual_seed(seed)
        self.bags = [
            Bag(
                torch.randn(length, in_dim, generator=generator),
                level0_xy=256 * torch.stack([torch.arange(length) % 5, torch.arange(length) // 5], 1),
                slide=f"slide{index}",
                label=index % n_classes,
                tile_level0_px=256.0,
            )
            for index, length in enumerate(LENGTHS)
        ]
        self.batch = BagBatch.from_bags(self.bags)
        self.orders = [torch.randperm(length, generator=generator) for length in LENGTHS]

    def all(self) -> list[Callable[[], None]]:
        """The checks in the order of the report: the shapes first, as the others rely on them."""
        return [
            self.complete_output,
            self.attention_is_a_distribution,
            self.attention_scores_agree,
            self.order_of_tiles_is_irrelevant,
            self.batch_equals_loop,
            self.repeated_bag_gives_equal_results,
            self.bag_of_one_tile,
            self.every_parameter_learns,
            self.half_precision_features,
            self.bf16_autocast,
            self.evidence_adds_up,
            self.large_features,
            self.evaluation_is_deterministic,
            self.state_dict_round_trip,
            self.input_is_left_alone,
        ]

    def complete_output(self) -> None:
        """A MILOutput of the promised shapes, finite, in training and in evaluation."""
        for mode in (True, False):
            try:
                output = self._model().train(mode)(self.batch)
            except Exception as error:
                raise ContractError(f"its forward(batch) failed: {type(error).__name__}: {error}") from error
            require(isinstance(output, MILOutput), f"returns a {type(output).__name__}, not a MILOutput")
            bags, tiles = len(LENGTHS), sum(LENGTHS)
            _shape("logits", output.logits, (bags, self.n_classes))
            _shape("attention", output.attention, (tiles,))
            _shape("embedding", output.embedding, (bags, None))
            if output.scores is not None:
                _shape("scores", output.scores, (tiles, None))
            for name, loss in output.losses.items():
                _shape(f"losses[{name!r}]", loss, (bags,))
            _finite(output)

    def attention_is_a_distribution(self) -> None:
        """Attention is >= 0 and sums to 1 over the tiles of each bag, in training and in evaluation."""
        for mode in (True, False):
            _distribution(self._model().train(mode)(self.batch), self.batch)

    def attention_scores_agree(self) -> None:
        """`attention_scores(batch)`, where a model has it, gives the scores of the output."""
        model = self._model()
        attention_scores = getattr(model, "attention_scores", None)
        if attention_scores is not None:
            _same("attention_scores", attention_scores(self.batch), model(self.batch).scores)

    def order_of_tiles_is_irrelevant(self) -> None:
        """Shuffled tiles give the same logits, and the attention shuffled alike."""
        bags = [
            replace(bag, features=bag.features[order], level0_xy=cast(Tensor, bag.level0_xy)[order])
            for bag, order in zip(self.bags, self.orders, strict=True)
        ]
        order = torch.cat([o + start for o, start in zip(self.orders, self.batch.starts, strict=False)])
        model = self._model()
        plain, shuffled = model(self.batch), model(BagBatch.from_bags(bags))
        _same("logits", shuffled.logits, plain.logits)
        _same("attention", shuffled.attention, plain.attention[order])
        if plain.scores is not None:
            _same("scores", shuffled.scores, plain.scores[order])

    def batch_equals_loop(self) -> None:
        """Bags of several lengths in one batch give what each gives alone."""
        model = self._model()
        together = model(self.batch)
        alone = [model(BagBatch.from_bags(bag)) for bag in self.bags]
        for name in ("logits", "attention", "embedding", "scores"):
            parts = [getattr(output, name) for output in alone]
            if getattr(together, name) is not None:
                _same(name, getattr(together, name), torch.cat(parts))

    def repeated_bag_gives_equal_results(self) -> None:
        """The same bag twice in a batch, apart from each other, gives the same logits twice."""
        bags = [self.bags[0], self.bags[2], self.bags[0]]
        output = self._model()(BagBatch.from_bags(bags))
        _same("logits of the repeated bag", output.logits[2], output.logits[0])

    def bag_of_one_tile(self) -> None:
        """A bag of a single tile works, trains, and that tile gets all attention."""
        batch = BagBatch.from_bags(self.bags[1])
        for mode in (False, True):
            output = self._model().train(mode)(batch)
            _finite(output)
            _same("attention of the only tile", output.attention, torch.ones(1))
        _loss(output, batch).backward()

    def every_parameter_learns(self) -> None:
        """In a few training steps every trainable parameter gets a finite gradient that is not all zero.

        A bias must get one, which may be zero: softmax does not see a shift of its scores, so that the gradient of such
        a bias is zero, or whatever rounding leaves of that.
        """
        model = self._model().train()
        silent = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        require(bool(silent), "no trainable parameters")
        step = torch.optim.SGD(model.parameters(), lr=1e-2)  # a part that starts at zero hides others at first
        for _ in range(8):
            step.zero_grad()
            _loss(model(self.batch), self.batch).backward()
            for name, parameter in model.named_parameters():
                if parameter.grad is not None:
                    require(bool(parameter.grad.isfinite().all()), f"gradient of {name} is not finite")
                    if parameter.grad.any() or name.rpartition(".")[2] == "bias":
                        silent.discard(name)
            step.step()
        require(not silent, f"no gradient reaches {', '.join(sorted(silent))}")

    def half_precision_features(self) -> None:
        """float16 features give what the same numbers in float32 give."""
        model = self._model()
        half = self.batch.with_features(self.batch.features.half())
        output = model(half)
        _finite(output)
        _same("logits", output.logits.float(), model(half.with_features(half.features.float())).logits)

    def evidence_adds_up(self) -> None:
        """The evidence of the tiles, and what is there without any, add up to the logits.

        A model's own method `evidence` leaves the same in every bag: what does not come from tiles.
        """
        model = self._model()
        found = [evidence(model, bag) for bag in self.bags]
        for bag, one in zip(self.bags, found, strict=True):
            _shape("evidence", one.tiles, (len(bag), self.n_classes))
            logits = model(BagBatch.from_bags(bag)).logits[0].detach().float()
            require(bool(one.tiles.isfinite().all()), "evidence is not finite")
            _same("what evidence adds up to", one.tiles.sum(0) + one.rest, logits)
            require(one.kind != "own" or torch.allclose(one.rest, found[0].rest, atol=1e-4), "rests that differ")

    def bf16_autocast(self) -> None:
        """Under bfloat16 autocast outputs and gradients are finite, for float32 and float16 features."""
        for features in (self.batch.features, self.batch.features.half()):
            model = self._model().train()
            batch = self.batch.with_features(features)
            with torch.autocast(features.device.type, dtype=torch.bfloat16):
                output = model(batch)
                loss = _loss(output, batch)
            _finite(output)
            _distribution(output, batch, tolerance=2e-2)
            loss.backward()
            _finite_gradients(model)

    def large_features(self) -> None:
        """Features a thousand times larger than usual keep outputs, attention and gradients finite."""
        model = self._model().train()
        batch = self.batch.with_features(self.batch.features * 1e3)
        output = model(batch)
        _finite(output)
        _distribution(output, batch)
        _loss(output, batch).backward()
        _finite_gradients(model)

    def evaluation_is_deterministic(self) -> None:
        """In evaluation the same bag gives the same bits, and no random number is drawn."""
        model = self._model()
        before = torch.get_rng_state()
        first = model(self.batch)
        require(torch.equal(before, torch.get_rng_state()), "evaluation draws random numbers")
        torch.manual_seed(self.seed + 1)
        second = model(self.batch)
        require(torch.equal(first.logits, second.logits), "the same bag gives other logits the second time")
        require(
            torch.equal(first.attention, second.attention),
            "the same bag gives other attention the second time",
        )

    def state_dict_round_trip(self) -> None:
        """A state dict saved and loaded into another instance reproduces the outputs bit by bit."""
        model, other = self._model(), self._model(seed=self.seed + 1)
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        file.seek(0)
        other.load_state_dict(torch.load(file, weights_only=True))
        ours, theirs = model(self.batch), other(self.batch)
        require(torch.equal(ours.logits, theirs.logits), "logits differ after loading the state dict")
        require(torch.equal(ours.attention, theirs.attention), "attention differs after loading the state dict")

    def input_is_left_alone(self) -> None:
        """The batch is not written to, in training or in evaluation."""
        for mode in (True, False):
            features, offsets = self.batch.features.clone(), self.batch.offsets.clone()
            batch = self.batch.with_features(self.batch.features.clone())
            self._model().train(mode)(batch)
            require(torch.equal(batch.features, features), "the features were changed in place")
            require(torch.equal(batch.offsets, offsets), "the offsets were changed in place")

    def _model(self, *, seed: int | None = None) -> nn.Module:
        torch.manual_seed(self.seed if seed is None else seed)
        return self.factory(self.in_dim, self.n_classes).eval()


def _shape(name: str, tensor: Tensor, shape: tuple[int | None, ...]) -> None:
    fits = tensor.dim() == len(shape) and all(s in (None, n) for n, s in zip(tensor.shape, shape, strict=True))
    require(fits, f"{name} has shape {tuple(tensor.shape)} instead of {shape}")


def _same(name: str, found: Tensor, wanted: Tensor) -> None:
    require(found.shape == wanted.shape, f"{name} has shape {tuple(found.shape)} instead of {tuple(wanted.shape)}")
    difference = float((found - wanted).detach().abs().max())
    require(difference <= 1e-5 * (1 + float(wanted.detach().abs().max())), f"{name} differ by {difference:.2g}")


def _finite(output: MILOutput) -> None:
    for name in ("logits", "attention", "embedding", "scores"):
        tensor = getattr(output, name)
        require(tensor is None or bool(tensor.isfinite().all()), f"{name} are not finite")
    for name, loss in output.losses.items():
        require(bool(loss.isfinite().all()), f"loss {name!r} is not finite")


def _finite_gradients(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        finite = parameter.grad is None or bool(parameter.grad.isfinite().all())
        require(finite, f"gradient of {name} is not finite")


def _distribution(output: MILOutput, batch: BagBatch, *, tolerance: float = 1e-4) -> None:
    require(bool((output.attention >= 0).all()), "attention is negative somewhere")
    for index, attention in enumerate(batch.split(output.attention)):
        total = float(attention.detach().float().sum())
        require(abs(total - 1) <= tolerance, f"attention of bag {index} sums to {total:.6g}")


def _loss(output: MILOutput, batch: BagBatch) -> Tensor:
    """The task loss plus the model's own: what training would minimise."""
    task = F.cross_entropy(output.logits.float(), cast(Tensor, batch.labels))
    return sum((loss.mean() for loss in output.losses.values()), start=task)
