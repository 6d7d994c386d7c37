"""colour-texture by compiled loops against its torch form, and extraction with it against pixels alone."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from asmil.encoders import Encoder, create_encoder
from asmil.encoders.families import colour_texture as texture
from asmil.extraction import ExtractSettings, extract_slides
from asmil.slides import open_slide
from benchmarks.extraction import REAL, Mean

NO_LOOPS = {"NUMBA_DISABLE_JIT": "1"}
"""In the environment of a process that is to use the torch form."""


class TorchForm(texture.TextureEncoder):
    """The encoder as it is without numba."""

    @torch.inference_mode()
    def __call__(self, tiles: np.ndarray | torch.Tensor) -> torch.Tensor:
        """As the encoder does it: some tiles at once, in threads."""
        tiles = torch.as_tensor(tiles)
        at_once = max(1, (1 << 15) // (tiles.shape[1] * tiles.shape[2]))
        return torch.cat(texture._describe_side_by_side(tiles.split(at_once)))


def seconds(cases: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, tuple[float, float]]:
    """Processor and wall time of each case, the best of some rounds of all in turn."""
    best = dict.fromkeys(cases, (float("inf"), float("inf")))
    for _ in range(rounds):
        for name, case in cases.items():
            start, worked = time.perf_counter(), time.process_time()
            case()
            now = (time.process_time() - worked, time.perf_counter() - start)
            best[name] = (min(best[name][0], now[0]), min(best[name][1], now[1]))
    return best


def encoders(*, rounds: int) -> None:
    """Print a row per tile size: real tiles, and how far the values are apart."""
    loops = create_encoder("colour-texture")
    torch_form = TorchForm(loops.card, device="cpu")
    with open_slide(REAL) as slide:
        region = slide.read((300, 300), 7 * 224, mpp=slide.mpp)
    print(
        "| tile | torch, tiles/s | loops, tiles/s | processor time | wall time | largest difference |\n|" + "---|" * 6
    )
    for side in (32, 50, 224):
        n = len(region) // side
        tiles = region[: n * side, : n * side].reshape(n, side, n, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
        tiles = np.ascontiguousarray(tiles[:512])
        apart = float((loops(tiles) - torch_form(tiles)).abs().max())
        cases = {"torch": lambda tiles=tiles: torch_form(tiles), "loops": lambda tiles=tiles: loops(tiles)}
        times = seconds(cases, rounds=rounds)
        rates = " | ".join(f"{len(tiles) / times[name][0]:.0f}" for name in ("torch", "loops"))
        gains = " | ".join(f"{times['torch'][k] / times['loops'][k]:.1f}x" for k in (0, 1))
        print(f"| {side} px | {rates} | {gains} | {apart:.1e} |", flush=True)


def streams(slides: Sequence[Path], *, mpp: float, tile_px: int, rounds: int) -> None:
    """Print extraction by the pipeline, in this process: pixels alone (a mean colour), torch form, loops."""
    loops = create_encoder("colour-texture")
    loops(np.zeros((1, 32, 32, 3), np.uint8))
    with tempfile.TemporaryDirectory() as temporary:

        def run(encoder: Encoder) -> Callable[[], object]:
            def extract() -> None:
                folder = Path(tempfile.mkdtemp(dir=temporary))
                settings = ExtractSettings(mpp=mpp, tile_px=tile_px)
                for result in extract_slides(slides, folder, encoders=[encoder], settings=settings):
                    if result.result == "failed":
                        raise SystemExit(str(result))

            return extract

        ways = {"pixels": Mean(), "torch": TorchForm(loops.card, device="cpu"), "loops": loops}
        times = seconds({name: run(encoder) for name, encoder in ways.items()}, rounds=rounds)
    row = " | ".join(f"{times[name][0]:.2f} / {times[name][1]:.2f}" for name in times)
    shares = " | ".join(
        f"{times[name][0] / times['pixels'][0]:.2f} / {times[name][1] / times['pixels'][1]:.2f}"
        for name in ("torch", "loops")
    )
    print(f"| {len(slides)} slides, {tile_px} px | {row} | {shares} |", flush=True)


def commands(slides: str, *, mpp: float, tile_px: int, rounds: int, before: str | None) -> None:
    """Print `asmil embed` as a process, start and files included; `before` is the source of another state."""
    ways = {"now": {}, "now, without numba": NO_LOOPS}
    if before:
        ways["before"] = {"PYTHONPATH": os.pathsep.join([before, os.environ.get("PYTHONPATH", "")])}
    best = dict.fromkeys(ways, (float("inf"), float("inf")))
    with tempfile.TemporaryDirectory() as temporary:
        for turn in range(rounds):
            for name, extra in ways.items():
                out = Path(temporary) / f"{turn}-{len(name)}"
                call = f"embed --slides {slides} --mpp {mpp} --tile-px {tile_px} --out {out}".split()
                start, was = time.perf_counter(), os.times()
                code = "from asmil.cli import main; main()"
                command = [sys.executable, "-c", code, *call]
                done = subprocess.run(command, env={**os.environ, **extra}, capture_output=True, text=True)
                if not any(out.rglob("*.h5")):  # a slide without tissue ends it with 1, and is no failure here
                    raise SystemExit(done.stderr)
                now = os.times()
                cpu = now.children_user + now.children_system - was.children_user - was.children_system
                best[name] = (min(best[name][0], cpu), min(best[name][1], time.perf_counter() - start))
    for name, (cpu, wall) in best.items():
        print(
            f"| {len(list(Path(slides).iterdir()))} slides, {tile_px} px, {name} | {cpu:.1f} | {wall:.1f} |", flush=True
        )


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=Path, help="a folder of slides besides the small one of the tests")
    parser.add_argument("--mpp", type=float, default=0.55)
    parser.add_argument("--tile-px", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", help="the folder `src` of another state of asmil")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    own = {"mpp": arguments.mpp, "tile_px": arguments.tile_px}
    print(f"{torch.get_num_threads()} thread(s)")
    encoders(rounds=arguments.rounds)
    print(
        "\n| processor / wall seconds | pixels alone | torch | loops | torch / pixels | loops / pixels |\n|"
        + "---|" * 6
    )
    streams([REAL], mpp=0.5, tile_px=224, rounds=arguments.rounds)
    if arguments.slides:
        streams(sorted(arguments.slides.glob("*.*")), **own, rounds=arguments.rounds)
    print("\n| `asmil embed` | processor, s | wall, s |\n|---|---|---|")
    rounds, before = arguments.rounds, arguments.before
    with tempfile.TemporaryDirectory() as folder:  # the command takes a folder
        shutil.copy(REAL, folder)
        commands(folder, mpp=0.5, tile_px=224, rounds=rounds, before=before)
    if arguments.slides:
        commands(str(arguments.slides), **own, rounds=rounds, before=before)


if __name__ == "__main__":
    main()
