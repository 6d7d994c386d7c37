"""Settings slide by slide: what is written is read back, and every mistake of a person or a spreadsheet is named."""

from dataclasses import replace

import pytest

from asmil.errors import ConfigError
from asmil.extraction import ExtractSettings, read_slide_table, row_of, settings_of, write_slide_table
from asmil.extraction.settings import COLUMNS

DEFAULT = ExtractSettings(mpp=0.5, tile_px=224)


def table(tmp_path, text, *, encoding="utf-8", slides=None):
    path = tmp_path / "slides.csv"
    path.write_bytes(text.encode(encoding))
    return read_slide_table(path, slides=slides)


def test_what_is_written_is_read_back(tmp_path):
    own = replace(
        DEFAULT,
        tissue_method="entropy",
        tissue_threshold=1.25,
        min_area_um2=0.0,
        max_hole_um2=1e5,
        tissue_smoothing_um=2.5,
        slide_mpp=0.2528,
        reader="openslide",
        exclude=("blur", "pen"),
    )
    rows = [row_of("a, b", own, found_mpp=0.25, result="ok"), row_of("c", DEFAULT, reason='no "tissue"\nat all')]
    write_slide_table(tmp_path / "slides.csv", rows)
    assert (tmp_path / "slides.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    read = read_slide_table(tmp_path / "slides.csv", slides=["a, b", "c", "d"])
    assert settings_of("a, b", default=DEFAULT, table=read) == own
    assert settings_of("c", default=DEFAULT, table=read) == DEFAULT
    assert settings_of("d", default=DEFAULT, table=read) == DEFAULT


def test_the_row_of_a_file_holds_for_its_scenes_and_one_of_a_scene_wins(tmp_path):
    text = "slide,reader,tissue_method\na,tiff,entropy\na.scene-1,,whole\n"
    read = table(tmp_path, text, slides=["a", "b"])
    first, second, other = (
        settings_of(slide, default=DEFAULT, table=read) for slide in ("a.scene-0", "a.scene-1", "b")
    )
    assert (first.reader, first.tissue_method) == ("tiff", "entropy")
    assert (second.reader, second.tissue_method) == ("tiff", "whole")
    assert other == DEFAULT
    with pytest.raises(ConfigError, match=r"no slide 'c\.scene-0'"):
        table(tmp_path, "slide\nc.scene-0\n", slides=["a", "b"])


def test_an_empty_cell_is_the_default_and_a_full_one_wins(tmp_path):
    read = table(tmp_path, "slide,tissue_threshold,objective,exclude\na,,40,none\nb,,,\n\n,,,\nc,9,,fold blur\n")
    assert read == {
        "a": {"slide_mpp": None, "objective": 40.0, "exclude": ()},
        "b": {},
        "c": {"tissue_threshold": 9.0, "exclude": ("fold", "blur")},
    }
    default = replace(DEFAULT, slide_mpp=0.5, exclude=("pen",))
    assert settings_of("a", default=default, table=read).slide_mpp is None
    assert settings_of("b", default=default, table=read) == default


@pytest.mark.parametrize(
    "text",
    [
        "slide;tissue_threshold;min_area_um2\na;7,5;2500\n",
        "slide\ttissue_threshold\tmin_area_um2\na\t7.5\t2500\n",
        '\ufeffslide,tissue_threshold,min_area_um2\r\n"a","7,5",2500\r\n',
        "min_area_um2;slide;tissue_threshold;;\n2.5e3; a ;7,50;;\n;;;;\n",
    ],
)
def test_what_spreadsheets_do_is_read(tmp_path, text):
    assert table(tmp_path, text) == {"a": {"tissue_threshold": 7.5, "min_area_um2": 2500.0}}


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("slide,tisue_method\na,otsu\n", ["row 1, column 2: unknown column 'tisue_method'; did you mean 'tissue_met"]),
        ("slide,mpp\na,1\n", ["row 1, column 2: unknown column 'mpp'"]),
        ("name,objective\na,40\n", ["no column 'slide'", "unknown column 'name'"]),
        ("slide,reader,reader\na,,\n", ["row 1, column 3: 'reader' is there twice"]),
        (
            "slide,objective\na,40x\nb,-1\nc,0\nd,nan\n",
            ["row 2, column objective: '40x' is", "row 3", "row 4", "row 5"],
        ),
        ("slide,tissue_method\na,\nb,ostu\n", ["row 3, column tissue_method: .*did you mean 'otsu'"]),
        ("slide,reader\na,opensldie\n", ["row 2, column reader: .*did you mean 'openslide'"]),
        ("slide,exclude\na,blur blurry\n", ["row 2, column exclude: .*did you mean 'blur'"]),
        ("slide,slide_mpp,objective\na,.25,40\n", ["row 2: give slide_mpp or objective, not both"]),
        ("slide,objective\na,40\nb,\na,20\n", ["row 4, column slide: 'a' is in row 2 already"]),
        ("slide,objective\n,40\n", ["row 2, column slide: there is no name"]),
        ("slide,objective\nslide_1,40,7\n", ["row 2: 3 cells, the header has 2"]),
        ("slide,objective\nslide_2,40\n", ["row 2, column slide: there is no slide 'slide_2'; did you mean 'slide_1'"]),
        ("slide;min_area_um2\nslide_1;16.000\n", ["row 2, column min_area_um2: '16.000' may mean thousands"]),
        ("slide;tissue_threshold\nslide_1;1,250\n", ["row 2, column tissue_threshold: '1,250' may mean thousands"]),
        ("", ["no header"]),
        (",,\na,1,2\n", ["no header"]),
    ],
)
def test_every_mistake_is_named_with_row_and_column(tmp_path, text, patterns):
    slides = ["slide_1", "a", "b", "c", "d"]
    for pattern in patterns:
        with pytest.raises(ConfigError, match=pattern):
            table(tmp_path, text, slides=slides)


def test_all_mistakes_at_once(tmp_path):
    with pytest.raises(ConfigError, match=r"3 mistakes in .*slides.csv") as caught:
        table(tmp_path, "slide,objectiv,tissue_method\na,40,otso\n,,otsu\n")
    assert len(str(caught.value).splitlines()) == 4


def test_files_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="CSV UTF-8"):
        table(tmp_path, "slide,objective\nä,40\n", encoding="utf-16")
    with pytest.raises(ConfigError, match="CSV UTF-8"):
        table(tmp_path, "slide,objective\nä,40\n", encoding="latin-1")
    with pytest.raises(ConfigError, match="not a readable table"):
        read_slide_table(tmp_path / "absent.csv")


def test_a_slide_may_be_named_by_its_file(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("slide,slide_mpp\nb.tif,0.25\nc.d.SVS,0.5\ne.f,1\n")
    table = read_slide_table(path, slides=["b", "c.d", "e.f"])
    assert {slide: values["slide_mpp"] for slide, values in table.items()} == {"b": 0.25, "c.d": 0.5, "e.f": 1.0}
    path.write_text("slide,slide_mpp\nb.tif,0.25\nb,0.5\n")
    with pytest.raises(ConfigError, match="in row 2 already"):
        read_slide_table(path, slides=["b"])
