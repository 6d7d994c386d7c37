"""A page of the viewer in headless Chromium, before a real server; skipped with the reason where either is missing."""

import importlib.util
import shutil
import threading
from pathlib import Path

import pytest

_FILE = Path(__file__).parents[1] / "unit" / "viewer" / "small_run.py"
_SPEC = importlib.util.spec_from_file_location("small_run", _FILE)
small_run = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small_run)


@pytest.fixture(scope="session")
def made():
    """The module that made the run: the names of its slides."""
    return small_run


@pytest.fixture(scope="session")
def browser():
    """The machine's own Chromium; none is ever downloaded."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("there is no chromium on this machine")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def address(browser, tmp_path_factory, cmu_slide) -> str:
    """Where a viewer of the small run listens, with a second run beside it."""
    pytest.importorskip("uvicorn")
    from asmil.viewer import RunView, make_app, serve
    from asmil.viewer.pyramid import Pyramid
    from asmil.viewer.serving import listen

    folder = small_run.make_run(tmp_path_factory.mktemp("browser"), cmu_slide)
    other = Path(shutil.copytree(folder, folder.parent / "other"))
    pyramid, bound, ready = Pyramid(), listen("127.0.0.1", 0), threading.Event()
    views = [RunView(path, pyramid=pyramid) for path in (folder, other)]
    app = make_app(views[:1], pyramid=pyramid), make_app(views, pyramid=pyramid)
    both, second = listen("127.0.0.1", 0), threading.Event()
    for one, socket, event in ((app[0], bound, ready), (app[1], both, second)):
        threading.Thread(target=serve, args=(one, socket), kwargs={"started": event.set}, daemon=True).start()
        assert event.wait(30)
    return f"http://127.0.0.1:{bound.getsockname()[1]}/", f"http://127.0.0.1:{both.getsockname()[1]}/"


@pytest.fixture
def page(browser, address, made):
    """A page at 1280 x 800 that shows the real slide; a complaint, or a request to elsewhere, fails the test."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(30_000)
    wrong: list[str] = []
    page.on("console", lambda message: message.type in ("error", "warning") and wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda r: r.url.startswith(("http://127.0.0.1:", "data:", "blob:")) or wrong.append(r.url))
    page.goto(f"{address[0]}#{made.REAL}")
    shows(page, made.REAL)
    yield page
    page.close()
    assert not wrong


def shows(page, slide: str) -> None:
    """Wait until a slide is drawn."""
    page.wait_for_function("name => document.body.dataset.ready === name", arg=slide)
