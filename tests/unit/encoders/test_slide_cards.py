"""Cards of slide encoders, the page that has their table, and code of authors, which is run only when it is trusted.

Run as a program, this file writes the table of slide encoders in docs/encoders.md.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from asmil.encoders import PRECISIONS, card, create_slide_encoder, list_slide_encoders, slide_card
from asmil.encoders.slide_cards import OWN
from asmil.encoders.slide_model import NETWORKS
from asmil.errors import EncoderError

SIDE = 512


@pytest.mark.parametrize("name", list_slide_encoders())
def test_cards_name_tiles_that_there_are(name):
    facts = slide_card(name)
    assert facts.dim > 0
    assert facts.tile_dim == card(facts.tile_encoder).dim
    assert facts.precision in PRECISIONS
    assert all((facts.tile_px, facts.mpp, facts.licence, facts.source, facts.checked))
    if facts.code == OWN:
        with torch.device("meta"):
            own = NETWORKS[facts.family](facts, **facts.options)
        assert sum(weight.numel() for weight in own.parameters()) / 1e6 == pytest.approx(facts.millions, abs=0.006)
    else:
        assert facts.family == "care"


def test_without_network_the_way_to_the_weights_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match=r"titan cannot be downloaded.*accept the licence.*--weights FILE or FOLDER"):
        create_slide_encoder("titan")


# Code of authors.

CODE = """
from types import SimpleNamespace

import torch
from transformers import PretrainedConfig, PreTrainedModel


class Config(PretrainedConfig):
    model_type = "own-care"


class Care(PreTrainedModel):
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.out = torch.nn.Linear(5, 4)
        self.post_init()

    def forward(self, features, n_values, coords):
        open("{marker}", "a").write("run")
        far = coords.to(features.dtype).sum(-1, keepdim=True) / n_values.item()
        return SimpleNamespace(wsi_embedding=(self.out(features) * far).sum(1))
"""


@pytest.fixture
def tiles():
    """Features (22, 5) and corners (22, 2) of tiles."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((22, 5)).astype(np.float32), rng.integers(0, 9, (22, 2)) * SIDE


@pytest.fixture
def care(tmp_path):
    """A card like CARE's, and a repository of the same call: a model of transformers with code of its own."""
    pytest.importorskip("transformers")
    folder, marker = tmp_path / "care", tmp_path / "marker"
    folder.mkdir()
    (folder / "modeling_care.py").write_text(CODE.replace("{marker}", str(marker)))
    names = {"AutoConfig": "modeling_care.Config", "AutoModel": "modeling_care.Care"}
    (folder / "config.json").write_text(json.dumps({"model_type": "own-care", "auto_map": names}))
    state = {"out.weight": torch.randn(4, 5), "out.bias": torch.randn(4)}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return replace(slide_card("care"), dim=4, tile_dim=5), folder, state, marker


def test_code_of_authors_is_not_run_unless_a_person_says_so(care, monkeypatch):
    card, folder, _, marker = care
    for trust in ("", str(folder.parent), "Zipper-1/CARE"):
        monkeypatch.setenv("ASMIL_TRUST", trust)
        with pytest.raises(EncoderError, match=r"care is code of its authors.*ASMIL_TRUST=.*care asmil"):
            create_slide_encoder(card, weights=folder)
    monkeypatch.setenv("ASMIL_TRUST", str(folder))
    with pytest.raises(EncoderError, match="in Zipper-1/CARE, which is run only if you say so"):
        create_slide_encoder(card)
    assert not marker.exists()


def test_trusted_code_gets_tiles_and_their_cells(care, tiles, monkeypatch):
    card, folder, state, marker = care
    monkeypatch.setenv("ASMIL_TRUST", str(folder))
    encoder = create_slide_encoder(card, weights=folder)
    features, xy = tiles
    far = (xy // SIDE).sum(1, keepdims=True) / len(xy)
    wanted = ((features @ state["out.weight"].numpy().T + state["out.bias"].numpy()) * far).sum(0)
    found = encoder(torch.from_numpy(features), level0_xy=torch.from_numpy(xy), tile_level0_px=SIDE)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert marker.exists()
    (folder / "modeling_care.py").write_text((folder / "modeling_care.py").read_text() + "\n# changed\n")
    assert create_slide_encoder(card, weights=folder).weight_hash != encoder.weight_hash


# The page.

PAGE = Path(__file__).parents[3] / "docs" / "encoders.md"
BEGIN, END = "<!-- slide encoders -->\n", "<!-- /slide encoders -->"


def page_table():
    """The table of docs/encoders.md, as the cards have it."""
    columns = (
        "name",
        "values",
        "tile encoder",
        "tiles",
        "places",
        "20,000 tiles",
        "million parameters",
        "GPU precision",
    )
    rows = [(*columns, "code", "licence", "gated", "weights", "source", "checked", "to know"), ("---",) * 15]
    for facts in map(slide_card, list_slide_encoders()):
        hub = f"[{facts.repository}](https://huggingface.co/{facts.repository})" if facts.repository else "a file"
        rows.append(
            (
                f"`{facts.name}`",
                facts.dim,
                f"`{facts.tile_encoder}`",
                f"{facts.tile_px} px at {facts.mpp:g} um/px",
                "yes" if facts.places else "",
                facts.memory or "not known",
                facts.millions or "-",
                facts.precision,
                "asmil's" if facts.code == OWN else "the authors'",
                facts.licence,
                "yes" if facts.gated else "",
                hub,
                facts.source,
                facts.checked,
                facts.note,
            )
        )
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows) + "\n"


def test_the_page_says_what_the_cards_say():
    wanted, page = BEGIN + page_table() + END, PAGE.read_text(encoding="utf-8")
    assert wanted in page, "run: python tests/unit/encoders/test_slide_cards.py"


if __name__ == "__main__":
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + page_table() + END + rest.partition(END)[2], encoding="utf-8")
