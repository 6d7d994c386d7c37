"""Extraction of slides against a plain loop, and against its limits: the pixels alone and the encoder alone."""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from asmil.encoders import Encoder, EncoderCard, create_encoder
from asmil.extraction import ExtractSettings, extract_slides, write_features
from asmil.machine import prepare_torchvision
from asmil.slides import open_slide, write_slide, write_sparse_slide
from asmil.tiles import find_tissue, tile

SETTINGS = ExtractSettings(mpp=0.5, tile_px=224)
REAL = Path(__file__).resolve().parents[1] / "tests" / "data" / "CMU-1-Small-Region.svs"
CPU = ("mean-colour", "colour-texture", "timm:resnet18")
CUDA = ("mean-colour", "colour-texture", "timm:resnet50", "timm:vit_large_patch16_224")


class Mean:
    """The mean colour of each tile: an encoder that costs nothing."""

    card, weight_hash, device = EncoderCard("mean-colour", 3, None, None, "-", "-"), "-", torch.device("cpu")
    precision = "fp32"

    def __call__(self, tiles: np.ndarray | torch.Tensor) -> torch.Tensor:
        """float32 (tiles, 3)."""
        return torch.as_tensor(tiles)[:, ::16, ::16].float().mean((1, 2))


def draw(folder: Path, *, slides: int, side_px: int) -> list[Path]:
    """Slides of one content: a real one repeated to a square, as a JPEG pyramid."""
    with open_slide(REAL) as real:
        pixels, mpp = real.read((0, 0), real.size, mpp=real.mpp), real.mpp
    times = (-(-side_px // pixels.shape[0]), -(-side_px // pixels.shape[1]), 1)
    first = write_slide(folder / f"{side_px}_0.tif", np.tile(pixels, times)[:side_px, :side_px], mpp=mpp)
    others = [folder / f"{side_px}_{index}.tif" for index in range(1, slides)]
    for path in others:
        path.hardlink_to(first)
    return [first, *others]


def load(name: str, folder: Path, device: str) -> Encoder:
    """The encoder, with random weights where it has any: nothing is downloaded, and they cost what real ones do."""
    if name == Mean.card.name:
        return Mean()
    weights = None
    if name.startswith("timm:"):
        prepare_torchvision()
        import timm
        from safetensors.torch import save_file

        weights = folder / f"{name[5:]}.safetensors"
        save_file(timm.create_model(name[5:], pretrained=False).state_dict(), weights)
    return create_encoder(name, device=device, weights=weights, precision="bf16" if device == "cuda" else None)


def pipeline(paths: list[Path], folder: Path, encoder: Encoder, *, batch: int) -> tuple[int, float]:
    """Tiles, and the seconds that the encoder waited for them."""
    stream = extract_slides(paths, folder, encoders=[encoder], settings=SETTINGS, batch_size=batch)
    results = list(stream)
    if any(result.result != "ok" for result in results):
        raise SystemExit(str(results))
    return sum(result.tiles for result in results), sum(result.waiting for result in results)


def loop(paths: list[Path], folder: Path, encoder: Encoder, *, batch: int) -> tuple[int, float]:
    """What one writes at first: tile by tile by OpenSlide, a batch, the next batch, the next slide."""
    done = 0
    for path in paths:
        with open_slide(path, reader="openslide") as slide:
            grid = tile(slide, find_tissue(slide), mpp=SETTINGS.mpp, tile_px=SETTINGS.tile_px)
            parts = []
            for start in range(0, len(grid), batch):
                corners = grid.level0_xy[start : start + batch]
                tiles = np.stack([slide.read(xy, SETTINGS.tile_px, mpp=SETTINGS.mpp) for xy in corners])
                parts.append(encoder(tiles).float().cpu().numpy())
            write_features(folder / f"{path.stem}.h5", np.concatenate(parts), grid, encoder=encoder, slide=slide)
            done += len(grid)
    return done, 0.0


def pixels_only(paths: list[Path], *, batch: int) -> tuple[int, float]:
    """The tiles of the same slides, read as the pipeline reads them, and nothing done with them."""
    done = 0
    buffer = np.empty((batch, SETTINGS.tile_px, SETTINGS.tile_px, 3), np.uint8)
    for path in paths:
        with open_slide(path) as slide:
            grid = tile(slide, find_tissue(slide), mpp=SETTINGS.mpp, tile_px=SETTINGS.tile_px)
            for start in range(0, len(grid), batch):
                indices = np.arange(start, min(start + batch, len(grid)))
                slide.read_tiles(grid, indices, out=buffer[: len(indices)])
            done += len(grid)
    return done, 0.0


def encoder_only(encoder: Encoder, *, tiles: int, batch: int) -> tuple[int, float]:
    """Tiles that are on the encoder's device already."""
    same = torch.randint(256, (batch, SETTINGS.tile_px, SETTINGS.tile_px, 3), dtype=torch.uint8)
    same, rounds = same.to(encoder.device), -(-tiles // batch)
    for _ in range(rounds):
        encoder(same)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return rounds * batch, 0.0


def compare(name: str, paths: list[Path], *, device: str, batch: int, repeats: int) -> None:
    """Print a row: the best rate of each way, all ways in turns."""
    best: dict[str, float] = {}
    work: dict[str, float] = {}  # processor seconds per tile: what others do at the same time does not count
    waiting = 1.0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        encoder = load(name, folder, device)
        tiles = pixels_only(paths, batch=batch)[0]
        encoder_only(encoder, tiles=batch, batch=batch)  # to warm up
        for turn in range(repeats):
            ways: dict[str, Callable[[], tuple[int, float]]] = {
                "loop": lambda turn=turn: loop(paths, folder / f"loop{turn}", encoder, batch=batch),
                "pixels": lambda: pixels_only(paths, batch=batch),
                "encoder": lambda: encoder_only(encoder, tiles=tiles, batch=batch),
                "pipeline": lambda turn=turn: pipeline(paths, folder / f"out{turn}", encoder, batch=batch),
            }
            for way, run in ways.items():
                start, worked = time.perf_counter(), time.process_time()
                count, waited = run()
                seconds = time.perf_counter() - start
                work[way] = min(work.get(way, 1e9), (time.process_time() - worked) / count)
                if count / seconds > best.get(way, 0.0):
                    best[way] = count / seconds
                    waiting = waited / seconds if way == "pipeline" else waiting
    limit = min(best["pixels"], best["encoder"])
    rates = " | ".join(f"{best[way]:.0f}" for way in ("loop", "pixels", "encoder", "pipeline"))
    overhead = work["pipeline"] / (work["pixels"] + work["encoder"])
    shares = f"{best['pipeline'] / limit:.2f} | {overhead:.2f} | {waiting:.0%}"
    print(f"| {name} | {rates} | {best['pipeline'] / best['loop']:.2f}x | {shares} |", flush=True)


def peak(path: str, folder: str) -> None:
    """In a process of its own: the largest memory while a slide is extracted."""
    tiles, _ = pipeline([Path(path)], Path(folder), Mean(), batch=64)
    status = Path("/proc/self/status").read_text(encoding="ascii")  # getrusage counts what the parent had, too
    print(f"{tiles} | {int(status.split('VmHWM:')[1].split()[0]) / 1024:.0f}")


def peak_of(path: Path, folder: Path) -> str:
    """Run `peak` on a slide."""
    command = [sys.executable, "-m", "benchmarks.extraction", "--peak", str(path), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Print a row per encoder, then one per size of slide."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=int, default=3)
    parser.add_argument("--side-px", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("encoders", nargs="*", default=CUDA if torch.cuda.is_available() else CPU)
    arguments = parser.parse_args()
    if arguments.peak:
        peak(*arguments.peak)
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = draw(folder, slides=arguments.slides, side_px=arguments.side_px)
        print(f"{device}, {torch.get_num_threads()} torch thread(s), {len(paths)} slides of {arguments.side_px} px")
        print("| encoder | plain loop, tiles/s | pixels only | encoder only | pipeline | against the loop ", end="")
        print("| share of the slower | processor time against pixels + encoder | waiting |\n|" + "---|" * 9)
        for name in arguments.encoders:
            compare(name, paths, device=device, batch=arguments.batch, repeats=arguments.repeats)
        print("\n| slide, px | tiles | largest process, MiB |\n|---|---|---|")
        for side_px in (2048, 4096, 8192, 16384):
            [path] = draw(folder, slides=1, side_px=side_px) if side_px != arguments.side_px else paths[:1]
            print(f"| {side_px} | {peak_of(path, folder / f'{side_px}')} |", flush=True)
        path = write_sparse_slide(folder / "sparse.tif", side_px=100_000)
        print(f"| 100000, nearly all glass | {peak_of(path, folder / 'sparse')} |", flush=True)


if __name__ == "__main__":
    main()
