"""A page of the viewer in headless Chromium, before a real server; skipped with the reason where either is missing."""

import importlib.util
import shutil
import threading
from pathlib import Path
from urllib.parse import unquote

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
def served(browser, tmp_path_factory, cmu_slide):
    """A folder with the small run, and what it predicts of slides under other names."""
    pytest.importorskip("uvicorn")
    from asmil.runs import predict

    folder = small_run.make_run(tmp_path_factory.mktemp("browser"), cmu_slide)
    new = folder.parent / "new"
    new.mkdir()
    for name in ("region", "plain-1", "plain-2"):
        shutil.copy(folder.parent / "features" / f"{name}.h5", new / f"new-{name}.h5")
    (folder.parent / "new-slides").mkdir()
    (folder.parent / "new-slides" / "new-region.svs").symlink_to(cmu_slide.resolve())
    predict(folder, features=new, out=folder.parent / "predicted")
    return folder.parent


@pytest.fixture(scope="session")
def address(served) -> tuple[str, str, str]:
    """Where a viewer of the small run listens, one with a second run beside it, and one of predictions."""
    from asmil.viewer import PredictionsView, Pyramid, RunView, listen, make_app, serve

    folder, pyramid = served / "run", Pyramid()
    shutil.copytree(folder, served / "other")
    views = [RunView(path, pyramid=pyramid) for path in (folder, served / "other")]
    new = PredictionsView(served / "predicted", slides=served / "new-slides", pyramid=pyramid)
    places = []
    for shown in (views[:1], views, [new]):
        bound, ready = listen("127.0.0.1", 0), threading.Event()
        keywords, app = {"started": ready.set}, make_app(shown, pyramid=pyramid)
        threading.Thread(target=serve, args=(app, bound), kwargs=keywords, daemon=True).start()
        assert ready.wait(30)
        places.append(f"http://127.0.0.1:{bound.getsockname()[1]}/")
    return tuple(places)


def complains(message) -> bool:
    """OpenSeadragon warns of a picture that came after another slide was chosen, which is as it should be."""
    return message.type in ("error", "warning") and not message.text.startswith("Ignoring tile")


@pytest.fixture
def opened(browser):
    """A function that opens an address in a page of its own; a complaint, or a request to elsewhere, fails the test."""
    wrong, pages = [], []

    def open_page(where, *, width=1280, height=800, statistics=False, **options):
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        pages.append(page)
        page.set_default_timeout(120_000)  # a busy machine is no fault
        if statistics:
            page.add_init_script("localStorage.setItem('statistics', '1')")
        page.on("console", lambda message: message.type in ("error", "warning") and wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda r: r.url.startswith(("http://127.0.0.1:", "data:", "blob:")) or wrong.append(r.url))
        page.goto(where)
        shows(page, unquote(where.partition("#")[2]))
        return page

    yield open_page
    said = list(wrong)  # what a page says of being closed is no complaint
    for page in pages:
        page.close()
    assert not said


@pytest.fixture
def page(opened, address, made):
    """A page at 1280 x 800 that shows the real slide, with statistics."""
    return opened(f"{address[0]}#{made.REAL}", statistics=True)


def shows(page, slide: str) -> None:
    """Wait until a slide is drawn."""
    page.wait_for_function("name => document.body.dataset.ready === name", arg=slide)
