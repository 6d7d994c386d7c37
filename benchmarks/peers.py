"""Peers: a training step of every method that others share with us, beside theirs; a whole job beside CLAM's.

`python -m benchmarks.peers` makes an environment of its own with asmil, torchmil and soma-pathology, pinned, and runs
itself in it. MIL-Lab and CLAM are no packages: give folders of their repositories to compare with them as well.
"""

import argparse
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
PINS = ["torchmil==1.0.2", "soma-pathology==2.2.0"]
PINS_OF_FOLDERS = ["timm==1.0.31", "torchvision==0.28.0", "nystrom-attention==0.0.14",
                   "loguru==0.7.3", "omegaconf==2.3.0", "tensorboardX==2.6.4", "scikit-image"]  # fmt: skip
IN_DIM, DIM, HIDDEN = 1024, 512, 128
RATE = 1e-7
"""So small that many steps on one bag change nothing: with large scores torchmil's loss of tiles is another one."""
OURS: dict[str, dict[str, object]] = {
    "mean": {},
    "max": {},
    "abmil": {"hidden": HIDDEN},
    "clam_sb": {"hidden": 256, "instance_loss": "ce"},
    "clam_mb": {"hidden": 256, "instance_loss": "ce"},
    "dsmil": {"hidden": HIDDEN, "dropout": 0.0},
    "dtfd": {"hidden": HIDDEN, "groups": 8, "distill": "maxmins"},
    "transmil": {"heads": 8, "landmarks": 256, "feature_dropout": 0.0},
    "ilra": {"layers": 2, "latents": 64},
}
"""Options of our models with which they have the widths of the peers'."""
ALSO: dict[tuple[str, str], dict[str, object]] = {("clam_sb", "torchmil"): {"instance_loss": "svm"}}
"""What a peer offers only."""
CLAM_MAIN = """
import runpy, sys
import pandas
from asmil.machine import prepare_torchvision
prepare_torchvision()
pandas.set_option("future.infer_string", False)  # it writes numbers into columns of words, which pandas 3 refuses
folder = sys.argv.pop(1)
sys.path.insert(0, folder)
runpy.run_path(f"{folder}/main.py", run_name="__main__")
"""
OUR_MAIN = "import sys; from asmil.cli import main; sys.argv[0] = 'asmil'; main()"
Step = Callable[[], object]


def embedded() -> nn.Sequential:
    """The projection before the pooling, where a peer leaves it to the user."""
    return nn.Sequential(nn.Linear(IN_DIM, DIM), nn.ReLU(), nn.Dropout(0.25))


def stepping(parameters: Iterator[nn.Parameter], loss: Callable[[], Tensor]) -> Step:
    """A whole step as every peer's training loop has it: gradients, clipping as ours, AdamW."""
    listed = list(parameters)
    optimizer = torch.optim.AdamW(listed, lr=RATE)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(listed, 5.0)
        optimizer.step()

    return step


def our_step(method: str, features: Tensor, **other: object) -> Step:
    """What `fit` does in a step on one bag, with `other` options than those above."""
    from asmil.bags import Bag, BagBatch
    from asmil.models import create_model
    from asmil.training import Stack, TrainSettings

    settings = TrainSettings()
    model = create_model(method, in_dim=IN_DIM, n_classes=2, dim=DIM, **OURS[method] | other)
    stack = Stack([model], [None], keys=[("seed", 0)], settings=settings)
    model.train()
    return partial(stack.step, BagBatch.from_bags(Bag(features, label=1)), [RATE], at=(0, 1), measure=False)


def torchmil_step(method: str, features: Tensor) -> Step | None:
    """Methods of torchmil, by its own loss."""
    import torchmil.models as peer

    projection, shape = embedded(), (IN_DIM,)
    makers: dict[str, Callable[[], nn.Module]] = {
        "abmil": lambda: peer.ABMIL(shape, HIDDEN, gated=True, feat_ext=projection),
        "clam_sb": lambda: peer.CLAM_SB(
            shape, 256, k_sample=8, gated=True, inst_loss_name="SmoothTop1SVM", feat_ext=projection
        ),
        "dsmil": lambda: peer.DSMIL(shape, HIDDEN, feat_ext=projection),
        "dtfd": lambda: peer.DTFDMIL(shape, HIDDEN, n_groups=8, feat_ext=projection),
        "transmil": lambda: peer.TransMIL(
            shape, DIM, n_layers=2, n_heads=8, n_landmarks=256, dropout=0.1,
            feat_ext=nn.Sequential(nn.Linear(IN_DIM, DIM), nn.ReLU()),
        ),
    }  # fmt: skip
    if method not in makers:
        return None
    model = makers[method]().train()
    given = [torch.ones(1), features[None]]
    if method == "dtfd":  # it cannot do without
        given.append(torch.ones(1, len(features), dtype=torch.bool))
    return stepping(model.parameters(), lambda: sum(model.compute_loss(*given)[1].values()))


def soma_step(method: str, features: Tensor) -> Step | None:
    """Methods of soma-pathology: its aggregator and losses, a linear head."""
    from asmil.machine import prepare_torchvision

    prepare_torchvision()
    import soma.models.aggregators as peer

    makers: dict[str, Callable[[], nn.Module]] = {
        "mean": lambda: peer.MeanPool(DIM),
        "max": lambda: peer.MaxPool(DIM),
        "abmil": lambda: peer.ABMIL(DIM, HIDDEN),
        "clam_sb": lambda: peer.CLAM_SB(IN_DIM, DIM, 256, dropout=0.25),
        "clam_mb": lambda: peer.CLAM_MB(IN_DIM, DIM, 256, dropout=0.25),
        "dsmil": lambda: peer.DSMIL(DIM, HIDDEN),
        "transmil": lambda: peer.TransMIL(DIM, DIM, n_heads=8, n_landmarks=256, dropout=0.1),
    }
    if method not in makers:
        return None
    model = makers[method]().train()
    before = nn.Identity() if method.startswith("clam") else embedded()
    head = nn.Linear(DIM, 2)
    bag, label = features[None], torch.ones(1, dtype=torch.long)

    def loss() -> Tensor:
        out = model(before(bag))
        task = nn.functional.cross_entropy(head(out.bag_representation).reshape(1, -1)[:, :2], label)
        return model.combine_losses(task, out.auxiliary, {"label": label})

    return stepping((p for part in (before, model, head) for p in part.parameters()), loss)


def mil_lab_step(method: str, features: Tensor) -> Step | None:
    """Methods of MIL-Lab, from a folder of its repository that is on the path."""
    from asmil.machine import prepare_torchvision

    prepare_torchvision()
    widths = {"in_dim": IN_DIM, "embed_dim": DIM, "num_classes": 2}
    makers: dict[str, Callable[[], nn.Module]] = {
        "abmil": lambda: _of("abmil", "ABMIL")(**widths, attn_dim=HIDDEN),
        "clam_sb": lambda: _of("clam", "CLAMSB")(**widths, attention_dim=256, instance_loss_fn="ce"),
        "dsmil": lambda: _of("dsmil", "DSMIL")(**widths, attn_dim=HIDDEN),
        "transmil": lambda: _of("transmil", "TransMIL")(
            **widths, num_fc_layers=1, dropout=0.25, num_attention_layers=2
        ),
        "ilra": lambda: _of("ilra", "ILRA")(**widths, num_heads=8, topk=64, num_attention_layers=2),
    }
    if method not in makers:
        return None
    model, score = makers[method]().train(), nn.CrossEntropyLoss()
    bag, label = features[None], torch.ones(1, dtype=torch.long)
    return stepping(model.parameters(), lambda: model(bag, loss_fn=score, label=label)[0]["loss"])


def _of(file: str, name: str) -> type[nn.Module]:
    return getattr(importlib.import_module(f"src.models.{file}"), name)


def clam_step(method: str, features: Tensor) -> Step | None:
    """CLAM's own models, from a folder of its repository."""
    names = {"clam_sb": "CLAM_SB", "clam_mb": "CLAM_MB", "max": "MIL_fc"}
    if method not in names:
        return None
    file = "model_mil" if method == "max" else "model_clam"
    model = getattr(importlib.import_module(f"models.{file}"), names[method])(dropout=0.25, embed_dim=IN_DIM).train()
    label = torch.ones(1, dtype=torch.long)

    def loss() -> Tensor:
        if method == "max":
            return nn.functional.cross_entropy(model(features)[0], label)
        logits, _, _, _, extra = model(features, label=label, instance_eval=True)
        return 0.7 * nn.functional.cross_entropy(logits, label) + 0.3 * extra["instance_loss"]

    return stepping(model.parameters(), loss)


PEERS = {"torchmil": torchmil_step, "soma-pathology": soma_step, "MIL-Lab": mil_lab_step, "CLAM": clam_step}


def steps(methods: list[str], sizes: list[int], *, seconds: float, given: list[str]) -> None:
    """Print ours over theirs, time and peak memory of a step, for each method and peer."""
    from asmil.bench.timing import best_seconds, first_call

    torch.set_num_threads(1)
    heads = " | ".join(f"{size:,} tiles: time; memory" for size in sizes)
    print(f"| method | peer | {heads} |\n|---|---|" + "---|" * len(sizes))
    for method in methods:
        for peer in given:
            cells = []
            for size in sizes:
                torch.manual_seed(0)
                features = torch.randn(size, IN_DIM)
                try:
                    theirs = PEERS[peer](method, features)
                    if theirs is None:
                        break
                    ours = our_step(method, features, **ALSO.get((method, peer), {}))
                    peak = [first_call(step)[1] for step in (ours, theirs)]
                    taken = best_seconds([ours, theirs], seconds=seconds)
                except Exception as error:  # noqa: BLE001  whatever a peer raises is its cell
                    cells.append(f"{type(error).__name__}: {str(error)[:60]}")
                    continue
                cells.append(f"{taken[0] / taken[1]:.2f} ({taken[0] * 1e3:.1f} ms); {peak[0] / peak[1]:.2f}")
            if cells:
                print(f"| {method} | {peer} | " + " | ".join(cells) + " |", flush=True)


def job(clam: Path, folder: Path, *, epochs: int, slides: int = 40, tiles: int = 1_000, folds: int = 5) -> None:
    """Print processor and wall seconds and peak memory of CLAM's main.py and of ours: one model, the same splits."""
    lists, splits = folder / "dataset_csv", folder / "splits" / "five"
    files = folder / "tumor_vs_normal_resnet_features" / "pt_files"
    for made in (lists, splits, files):
        made.mkdir(parents=True)
    names, random = [f"s{i}" for i in range(slides)], torch.Generator().manual_seed(0)
    kinds = ["tumor_tissue" if i % 2 else "normal_tissue" for i in range(slides)]
    for name, kind in zip(names, kinds, strict=True):
        bag = torch.randn(tiles, IN_DIM, generator=random)
        bag[: tiles // 10, :8] += float(kind == "tumor_tissue")
        torch.save(bag, files / f"{name}.pt")
    rows = [f"p{name},{name},{kind}" for name, kind in zip(names, kinds, strict=True)]
    table = "\n".join(["case_id,slide_id,label", *rows])
    (lists / "tumor_vs_normal_dummy_clean.csv").write_text(table)
    (folder / "labels.csv").write_text(table)
    for fold in range(folds):
        test = names[fold::folds]
        rest = [name for name in names if name not in test]
        parts = [rest[len(test) :], rest[: len(test)], test]
        lines = [f"{i}," + ",".join(part[i] if i < len(part) else "" for part in parts) for i in range(len(parts[0]))]
        (splits / f"splits_{fold}.csv").write_text("\n".join([",train,val,test", *lines]))
    theirs = [
        sys.executable, "-c", CLAM_MAIN, clam, "--task", "task_1_tumor_vs_normal", "--data_root_dir", folder,
        "--split_dir", "five", "--k", folds, "--max_epochs", epochs, "--model_type", "clam_sb", "--inst_loss", "ce",
        "--exp_code", "one", "--lr", "1e-4",
    ]  # fmt: skip
    ours = [
        sys.executable, "-c", OUR_MAIN, "crossval", "--features", files, "--labels", folder / "labels.csv",
        "--splits", splits, "--model", "clam_sb", "--no-stabilize", "--seeds", 1, "--epochs", epochs,
        "--patience", epochs, "--no-refit", "--workers", 1, "--out", folder / "run",
    ]  # fmt: skip
    what = f"{slides} slides of {tiles:,} x {IN_DIM}, {folds} folds, {epochs} epochs"
    print(f"| {what} | processor, s | wall, s | peak, MB |")
    print("|---|---|---|---|")
    for name, command in {"CLAM's main.py": theirs, "asmil crossval": ours}.items():
        start = time.perf_counter()
        with (folder / "said.txt").open("w+") as said:
            process = subprocess.Popen([str(word) for word in command], cwd=folder, stdout=said, stderr=said)
            _, status, usage = os.wait4(process.pid, 0)
            said.seek(0)
            if status:
                raise SystemExit(f"{name}: {said.read()[-2000:]}")
        wall = time.perf_counter() - start
        print(
            f"| {name} | {usage.ru_utime + usage.ru_stime:.1f} | {wall:.1f} | {usage.ru_maxrss / 1024:.0f} |",
            flush=True,
        )


def main() -> None:
    """Make the environment and run in it what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="folder to keep the environment in; without it, it is made anew")
    parser.add_argument("--mil-lab", type=Path, help="a folder of the repository of MIL-Lab")
    parser.add_argument("--clam", type=Path, help="a folder of the repository of CLAM")
    parser.add_argument("--methods", nargs="+", choices=OURS, default=list(OURS))
    parser.add_argument("--no-job", action="store_true", help="the steps alone")
    parser.add_argument("--tiles", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--seconds", type=float, default=3.0, help="for each step")
    parser.add_argument("--epochs", type=int, default=20, help="of the whole job")
    parser.add_argument("--inside", choices=("steps", "job"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside == "steps":
        folders = {"MIL-Lab": options.mil_lab, "CLAM": options.clam}
        sys.path += [str(folder) for folder in folders.values() if folder]
        given = [peer for peer in PEERS if peer not in folders or folders[peer]]
        steps(options.methods, options.tiles, seconds=options.seconds, given=given)
        return
    if options.inside:
        with tempfile.TemporaryDirectory() as folder:
            job(options.clam.resolve(), Path(folder), epochs=options.epochs)
        return
    with tempfile.TemporaryDirectory() as temporary:
        home = options.home or Path(temporary)
        uv = shutil.which("uv", path=Path(sys.executable).parent) or "uv"
        wanted = PINS + (PINS_OF_FOLDERS if options.mil_lab or options.clam else [])
        found = {"VIRTUAL_ENV": str(home), "UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "")}
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, "--allow-existing", home], check=True)
        install = [uv, "pip", "install", "-q", "torch==2.13.0", "-e", ROOT, *wanted]
        subprocess.run(install, check=True, env=os.environ | found)
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        # The job in a process of its own: the peak that is told of a child is never below its parent's.
        parts = ["steps"] + ["job"] * (options.clam is not None and not options.no_job)
        for part in parts:
            command = [home / "bin" / "python", "-m", "benchmarks.peers", "--inside", part, *sys.argv[1:]]
            subprocess.run(command, check=True, env=environment)


if __name__ == "__main__":
    main()
