"""Every model as an ONNX file against torch, on slides of 1 to 20 000 tiles: the table of docs/deploy.md."""

import tempfile
from pathlib import Path

import torch

from asmil.bags import make_bags
from asmil.deploy.onnx_file import QUADRATIC, SIZES, export_onnx
from asmil.errors import AsmilError
from asmil.models import create_model, list_models
from asmil.training import Standardized

IN_DIM, CLASSES = 64, 3


def main() -> None:
    """Print a row per model; takes a minute and a half of one core."""
    bags, _ = make_bags(4, tiles=(20, 40), dim=IN_DIM, shift=1.0, seed=0)
    print("| model | " + " | ".join(f"{size:,} tiles".replace(",", " ") for size in SIZES) + " | kB |")
    print("|---|" + "---|" * (len(SIZES) + 1))
    for name in list_models():
        torch.manual_seed(0)
        model = Standardized(create_model(name, in_dim=IN_DIM, n_classes=CLASSES), IN_DIM).fit_statistics(bags).eval()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.onnx"
            try:
                made = export_onnx([model], path, in_dim=IN_DIM, name=name)
            except AsmilError as error:
                print(f"| {name} | no: {error.found} |" + " |" * len(SIZES))
                continue
            cells = [f"{made.differences[size]:.0e}" if size in made.differences else "–" for size in SIZES]
            print(f"| {name} | {' | '.join(cells)} | {path.stat().st_size / 1e3:.0f} |", flush=True)
    print(f"\n– : not compared, {QUADRATIC} tiles at most")


if __name__ == "__main__":
    main()
