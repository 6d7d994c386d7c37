"""The newcomer's road, step by step: clone, set up, run the demo, and see attention on a slide in the browser."""

import argparse
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
ATTENTION_DRAWN = "() => document.querySelector('.pane')?.dataset.drawn && document.body.dataset.ready"


def timed(what: str, step: Callable[[], object]) -> None:
    """Print the wall time of a step, and the processor time of the programs that it started."""
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    step()
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"| {what} | {wall:.0f} | {processor:.0f} |", flush=True)


def run(*command: str, folder: Path, codes: tuple[int, ...] = (0,)) -> None:
    """Run a program to its end; its output is shown where it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in codes:
        raise SystemExit(f"{' '.join(command)}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def look(folder: Path, picture: Path | None) -> None:
    """Start the viewer on the demo's run, open it in chromium, and wait until attention lies over the slide."""
    command = [folder / ".venv/bin/asmil", "view", "runs/demo", "--no-browser"]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().split()[1] if server.stdout else ""
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(address)
            page.wait_for_function(ATTENTION_DRAWN, timeout=120_000)
            if picture:
                page.wait_for_timeout(500)
                page.screenshot(path=picture)
            browser.close()
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


def main() -> None:
    """Walk the road once in a temporary folder that is removed afterwards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", default=str(ROOT), help="what is cloned")
    parser.add_argument("--picture", type=Path, help="PNG of what the newcomer sees at the end")
    options = parser.parse_args()
    os.environ.pop("VIRTUAL_ENV", None)
    print(f"load {os.getloadavg()[0]:.1f}\n\n| step | wall, s | processor, s |\n|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary) / "asmil"
        clone = ("git", "clone", "-q", options.repository, str(home))
        timed("`git clone`", lambda: run(*clone, folder=Path(temporary)))
        timed("`make setup` (the first part of `make demo`)", lambda: run("make", "setup", folder=home))
        timed("`make demo`", lambda: run("make", "demo", folder=home, codes=(0, 2)))
        timed("`asmil view runs/demo`, until the attention is drawn", lambda: look(home, options.picture))


if __name__ == "__main__":
    main()
