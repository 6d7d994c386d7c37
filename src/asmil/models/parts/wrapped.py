"""Models of other people: a plain module that takes the tiles of one slide, made a model of asmil; files of them."""

import hashlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from asmil.attention import find_part, softmax
from asmil.bags import Bag, BagBatch
from asmil.errors import AsmilError, ConfigError, as_typed
from asmil.machine import TRUSTED, trusted
from asmil.models import MODELS, create_model
from asmil.models.parts.layers import MILOutput

Read = Callable[..., Tensor]
Maker = Callable[..., nn.Module]

_FIX = "asmil.wrap(module, scores=..., output=...) says what is what: docs/own_parts.md"
_CHECK = "asmil.testing.check_model says what a model has to do: docs/own_parts.md"
_MORE = "a module that wants more than the tiles gets it from a function, which asmil.wrap takes: docs/own_parts.md"
_WIDTH, _CLASSES = ("in_dim", "input_dim", "feature_dim", "in_features"), ("n_classes", "num_classes", "out_dim")


class Wrapped(nn.Module):
    """A module that takes the tiles (tiles, dim) of one bag, and gives its logits, as a model of a `BagBatch`.

    Its attention is the mean over the rows of the softmax of what `scores` gives; without it the map is even. The
    logits stand for the embedding.

    Raises:
        ConfigError: in a forward, where what the module gives is not what is needed.
        AttentionError: there is no submodule of that name.
    """

    in_dim: Tensor

    def __init__(
        self,
        module: nn.Module,
        n_classes: int,
        *,
        in_dim: int = 0,
        scores: str | Read | None = None,
        output: Read | None = None,
        batched: bool = False,
    ):
        super().__init__()
        self.module, self.n_classes, self.scores, self.output, self.batched = module, n_classes, scores, output, batched
        self.register_buffer("in_dim", torch.tensor(in_dim))
        if isinstance(scores, str):
            find_part(module, scores)

    def forward(self, batch: BagBatch) -> MILOutput:
        bags = batch.split(batch.features) if len(batch) > 1 else (batch.features,)  # of any size, where it is traced
        several = [self._of_bag(tiles) for tiles in bags]
        logits = torch.stack([own for own, _ in several])
        if self.scores is None:
            attention = softmax(torch.zeros_like(batch.features[:, 0]), batch.layout)
            return MILOutput(logits, attention, logits)
        scores = torch.cat([own for _, own in several])
        return MILOutput(logits, softmax(scores, batch.layout).mean(1), logits, scores)

    def _of_bag(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (classes,), and scores (tiles, rows; without attention none)."""
        heard: list[object] = []
        hook = None
        if isinstance(self.scores, str):
            hook = find_part(self.module, self.scores).register_forward_hook(lambda part, given, own: heard.append(own))
        try:
            result = self.module(tiles.float()[None] if self.batched else tiles.float())
        finally:
            if hook:
                hook.remove()
        if self.scores is None:
            return self._logits(result), tiles[:, :0]
        if not isinstance(self.scores, str):
            heard = [self.scores(result)]
        if len(heard) != 1:
            raise ConfigError(f"{self._name} calls {self.scores!r} {len(heard)} times for a bag, not once", fix=_FIX)
        return self._logits(result), self._rows(heard[0], tiles.shape[0])  # len() would fix the size of a trace

    def _logits(self, result: object) -> Tensor:
        if self.output is not None:
            found: object = self.output(result)
        elif isinstance(result, dict):
            if own := [name for name, value in result.items() if "loss" in str(name).lower() and value is not None]:
                fix = "output=lambda result: result['logits'] trains without it; a model of a BagBatch has `losses`"
                raise ConfigError(f"{self._name} gives {own[0]!r} too, which nothing would train", fix=fix)
            found = result.get("logits")
        else:
            found = result[0] if isinstance(result, tuple | list) and result else getattr(result, "logits", result)
        if not isinstance(found, Tensor) or found.numel() != self.n_classes or not found.is_floating_point():
            shape = f"{tuple(found.shape)} of {found.dtype}" if isinstance(found, Tensor) else type(found).__name__
            raise ConfigError(
                f"{self._name} gives no logits of {self.n_classes} classes for a bag",
                found=f"{shape}, of an output that is {type(result).__name__}",
                fix=f"output=lambda result: ... says where they are. {_FIX}",
            )
        return found.reshape(-1)

    def _rows(self, scores: object, tiles: int) -> Tensor:
        """Scores as (tiles, rows): one row in any shape; several only as they are, or behind an axis of one."""
        if not isinstance(scores, Tensor) or not scores.is_floating_point():
            raise ConfigError(f"{self._name}: the scores are no tensor", found=type(scores).__name__, fix=_FIX)
        if scores.numel() == tiles:
            return scores.reshape(tiles, 1)
        rows = scores[0] if scores.dim() == 3 and scores.shape[0] == 1 else scores
        if rows.dim() == 2 and rows.shape[0] == tiles:
            return rows
        raise ConfigError(
            f"{self._name}: the scores are not (tiles, rows)",
            found=f"{tuple(scores.shape)} of a bag of {tiles} tiles",
            fix="scores=lambda result: ... takes them from what the module gives, before they are normalised",
        )

    @property
    def _name(self) -> str:
        return type(self.module).__name__


class Wrap:
    """What `wrap` makes of a class: called like a model of ours, (in_dim, n_classes, options by keyword)."""

    def __init__(self, maker: Maker, *, scores: str | Read | None = None, output: Read | None = None, batched=False):
        self.maker, self.scores, self.output, self.batched = maker, scores, output, batched
        self.__name__ = getattr(maker, "__name__", "model")
        self.aligned = "The attention that its scores make." if scores is not None else ""
        self.__doc__ = inspect.getdoc(maker)
        parameters = inspect.signature(maker).parameters
        self._width = next((name for name in _WIDTH if name in parameters), None)
        self._classes = next((name for name in _CLASSES if name in parameters), None)
        if self._width is None or self._classes is None:
            raise ConfigError(
                f"{getattr(maker, '__name__', maker)} does not say how it is made for features and classes",
                found=f"parameters {', '.join(parameters) or 'none'}",
                fix="wrap a function (in_dim, n_classes) that returns the module",
            )
        own = [p.replace(kind=p.KEYWORD_ONLY) for n, p in parameters.items() if n not in (self._width, self._classes)]
        given = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("in_dim", "n_classes")]
        self.__signature__ = inspect.Signature([*given, *own])

    def __call__(self, in_dim: int, n_classes: int, **options: object) -> Wrapped:
        module = self.maker(**{str(self._width): in_dim, str(self._classes): n_classes}, **options)
        return Wrapped(module, n_classes, scores=self.scores, output=self.output, in_dim=in_dim, batched=self.batched)


def wrap(
    module: nn.Module | Maker,
    *,
    n_classes: int | None = None,
    scores: str | Read | None = None,
    output: Read | None = None,
    batched: bool = False,
) -> Wrapped | Wrap:
    """Make a plain module a model of asmil: for fit, crossval, study, predict, ONNX and the viewer.

    Args:
        module: a class (or function) of the width of the features and the number of classes that gives a module, for
            cross-validation; or a module, with `n_classes`. The module takes the tiles of one slide (tiles, dim).
        n_classes: of a module that is made already.
        scores: the submodule whose output the attention is made of by softmax, by its dotted name; or where in the
            module's output these scores are, (tiles, rows). Before they are normalised. None: it has no attention.
        output: where in the module's output the logits are; not given: the output itself, or its first part, or what
            it calls `logits`.
        batched: the module takes (1, tiles, dim).

    Raises:
        ConfigError: a class that does not take `in_dim` and `n_classes` by these names or the usual others.
    """
    if not isinstance(module, nn.Module):
        return Wrap(module, scores=scores, output=output, batched=batched)
    if n_classes is None:
        raise ConfigError("a module that is made already is wrapped with its number of classes", fix="n_classes=2")
    return Wrapped(module, n_classes, scores=scores, output=output, batched=batched)


def of_others(name: str) -> bool:
    """Whether a model is code of somebody else: of a file, or of an installed package."""
    return ".py:" in name or name.replace("-", "_").lower() in MODELS.packaged()


def try_out(name: str, *, in_dim: int, n_classes: int, **options: object) -> None:
    """Whether a model does what training, and everything after it, needs of it: made and run on two small bags.

    Raises:
        ConfigError: it does not; what is wrong is said, also of an error in its own code.
    """
    with torch.random.fork_rng(devices=[]):
        bags = [Bag(torch.randn(n, in_dim), _places(n), f"{n}", label=i) for i, n in enumerate((24, 32))]
        batch = BagBatch.from_bags(bags)
        before = batch.features.clone()
        try:
            model = create_model(name, in_dim=in_dim, n_classes=n_classes, **options).train()
            lazy = any(map(is_lazy, model.parameters()))
            for _ in range(2):
                model(batch).logits.sum().backward()
            trained = [parameter for parameter in model.parameters() if parameter.grad is not None]
            with torch.no_grad():
                logits, again = model.eval()(batch).logits, model(batch).logits
                other = model if lazy else create_model(name, in_dim=in_dim, n_classes=n_classes, **options).eval()
                other.load_state_dict(model.state_dict(), strict=False)
                read = other(batch).logits
                steady = _answers_alike(model, Bag(torch.randn(_MANY, in_dim), _places(_MANY), "large", label=0))
        except AsmilError:
            raise
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = [f"{Path(f.filename).name} line {f.lineno}: " for f in frames if f.filename in trusted()]
            found = f"{own[-1] if own else ''}{type(error).__name__}: {error}"
            more = isinstance(error, TypeError) and "forward() missing" in str(error)
            raise ConfigError(
                f"the model {name} cannot be trained", found=found, fix=_MORE if more else _CHECK
            ) from error
    weights = [value.data_ptr() for value in model.state_dict().values() if value.numel()]
    of_one = (logits >= 0).all() and torch.allclose(logits.sum(1), torch.ones(len(logits)), atol=1e-4)
    for wrong, what in (
        (lazy, "has parameters whose size is not known before the first bag"),
        (not trained, "has no parameters that can be trained"),
        (not torch.equal(batch.features, before), "changes the features that it is given"),
        (not logits.isfinite().all(), "gives logits that are not finite"),
        (not _alike(logits, again), "gives other logits for the same bag again, in evaluation mode"),
        (not steady, f"gives other logits for the same bag of {_MANY:,} tiles again, in evaluation mode"),
        (not _alike(logits, read), "answers by what is not saved: a tensor that it keeps has to be a buffer"),
        (of_one and n_classes > 1, "gives probabilities, which add up to 1, and logits are meant"),
        (len(set(weights)) < len(weights), "has the same weights under two names, and cannot be saved"),
    ):
        if wrong:
            raise ConfigError(f"the model {name} {what}", found="two bags of random features", fix=_CHECK)


_MANY = 1500
"""Tiles of a bag that many samplers of tiles would sample of."""


def _places(tiles: int) -> Tensor:
    return torch.stack([torch.arange(tiles), torch.zeros(tiles, dtype=torch.int64)], 1) * 256


def _alike(logits: Tensor, others: Tensor) -> bool:
    """But for rounding: tiles that come in another order are added up in another one."""
    return torch.allclose(logits, others, atol=1e-6)


def _answers_alike(model: nn.Module, bag: Bag) -> bool:
    """Whether a large bag has the same answer twice; a model may have a largest bag, and raise for this one."""
    batch = BagBatch.from_bags([bag])
    try:
        return _alike(model(batch).logits, model(batch).logits)
    except (AsmilError, RuntimeError, ValueError, IndexError):
        return True


_made: dict[tuple[Path, str], Maker] = {}
_being_read = set[Path]()


def trust(name: str) -> None:
    """A person named this model: that of a file may be made from now on, here and in the processes that are begun."""
    if ".py:" not in name:
        return
    file = str(Path(name.rpartition(":")[0]).resolve())
    os.environ[TRUSTED] = os.pathsep.join([file, *(path for path in trusted() if path != file)])


def require_trust(name: str) -> None:
    """Raise a `ConfigError` unless a person named the file of this model; a run folder alone never runs code."""
    if ".py:" in name and _file_of(name) is None:
        file = Path(name.rpartition(":")[0])
        raise ConfigError(
            f"the model is code of yours, in {file.name}, which is run only if you say so",
            found=name,
            fix=f"{TRUSTED}={as_typed('/path/to/' + file.name)} asmil ... (several files: {os.pathsep} between them)",
        )


def _file_of(name: str) -> Path | None:
    if ".py:" not in name:
        return None
    wanted = Path(name.rpartition(":")[0]).name
    named = (Path(path).resolve() for path in trusted())
    return next((path for path in named if path.name == wanted), None)


def code_of(name: str) -> str | None:
    """The digest of the file that a model is in; None of a model of asmil's.

    Raises:
        ConfigError: as `require_trust`.
    """
    require_trust(name)
    file = _file_of(name)
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file and file.is_file() else None


def model_of(name: str) -> Maker | None:
    """What is called NAME in `FILE.py:NAME`: of `wrap`, a class that takes a `BagBatch`, or one that is wrapped here.

    Raises:
        ConfigError: nobody named the file, it is not there, it cannot be run, or has no such class.
    """
    require_trust(name)
    file, part = _file_of(name), name.rpartition(":")[2]
    if file is None:
        return None
    if (file, part) not in _made:
        _made[file, part] = as_model(_found(file, part))
    return _made[file, part]


def _found(file: Path, part: str) -> Maker:
    fix = "give FILE.py:NAME, where NAME is a class of a module or what asmil.wrap gave"
    spec = importlib.util.spec_from_file_location(f"asmil_model_of_{file.stem}", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ConfigError(f"there is no file {file}", fix=fix)
    if file in _being_read:
        below = 'call asmil below `if __name__ == "__main__":` in it'
        raise ConfigError(f"{file.name} uses a model of its own while it is read", found=part, fix=below)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    try:
        _being_read.add(file)
        spec.loader.exec_module(module)
    except ConfigError:
        raise
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        alone = "put the model into this one file; what it imports has to be an installed package"
        fix = alone if isinstance(error, ModuleNotFoundError) else "try it with python alone"
        raise ConfigError(f"{file} cannot be run", found=found, fix=fix) from error
    finally:
        _being_read.discard(file)
    if not callable(getattr(module, part, None)):
        known = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
        raise ConfigError(f"{file.name} has no model {part!r}", found=", ".join(known) or "no class", fix=fix)
    return getattr(module, part)


def as_model(found: object) -> Maker:
    """What of somebody else's code is to be a model: of `wrap`, a class that takes a `BagBatch`, or wrapped here.

    Raises:
        ConfigError: it is nothing that makes a module.
    """
    if isinstance(found, Wrap):
        return found
    if not callable(found) or isinstance(found, nn.Module):
        what = f"a made {type(found).__name__}" if isinstance(found, nn.Module) else repr(found)
        raise ConfigError("a model is a class, or a function that makes a module", found=what, fix=_FIX)
    if not inspect.isclass(found):
        return Wrap(cast(Maker, found))
    if not issubclass(found, nn.Module):
        raise ConfigError(f"{found.__name__} is no torch module", fix=_FIX)
    takes = list(inspect.signature(found.forward).parameters.values())[1:2]
    ours = bool(takes) and getattr(takes[0].annotation, "__name__", takes[0].annotation) == "BagBatch"
    return found if ours else Wrap(found)
