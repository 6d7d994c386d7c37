"""Until folder.py is merged: today's run folder under the names that the pipeline uses. Then this file goes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from asmil.errors import RunError
from asmil.files import write_json
from asmil.progress import Outcome
from asmil.settings import Settings, dump_settings, load_settings
from asmil.training.runs import Run as Folder
from asmil.training.runs import environment

if TYPE_CHECKING:
    from asmil.bags import Cohort, Splits
    from asmil.deploy import Exported, Predictions


class Run(Folder):
    """A run folder, and what can be done with the run. See `asmil.runs.pipeline` for the keywords."""

    outcome: Outcome | None = None
    """What became of the slides in the call that returned this run."""

    # At merge: what folder.py has by these or other names.

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        return cls(Folder.open(folder).folder)

    @property
    def identity(self) -> dict[str, Any]:
        return super().identity if (self.folder / "identity.json").exists() else {}

    def write_identity(self, identity: dict[str, Any]) -> None:
        write_json(self.folder / "identity.json", identity)
        write_json(self.folder / "environment.json", environment())

    @property
    def settings(self) -> Settings:
        path = self.folder / "config.yaml"
        if not path.exists():
            raise RunError(f"{self.folder} has no settings", found="no config.yaml", fix="copy the whole run folder")
        return load_settings(path, {"out": self.folder}, saved=True)

    def write_settings(self, settings: Settings) -> None:
        dump_settings(settings, self.folder / "config.yaml")

    def set_data(self, cohort: "Cohort", splits: "Splits") -> None:
        cohort.save(self.folder / "cohort.csv")
        splits.save(self.folder / "splits.csv")

    @property
    def failures_file(self) -> Path:
        return self.folder / "failures.csv"

    @property
    def report_file(self) -> Path:
        return self.folder / "report.html"

    @property
    def card_file(self) -> Path:
        return self.folder / "card.md"

    @property
    def predicted(self) -> Path:
        return self.folder / "predictions"

    def require_whole(self, *, partial: bool = False) -> str:
        if not ((self.folder / "splits.csv").exists() and (self.folder / "config.yaml").exists()):
            return ""
        splits = pd.read_csv(self.folder / "splits.csv")
        total = splits["fold"].nunique() * len(self.settings.seed_list)
        finished = len(self.cells())
        if finished == total:
            return ""
        sentence = f"{finished} of {total} models are finished"
        if not partial:
            fix = "run the command that made it again, and it goes on; or see what there is with --partial"
            raise RunError(f"{self.folder} is not finished", found=sentence, fix=fix)
        return sentence

    # At merge: into folder.Run as they are, but for the names of files.

    @property
    def code(self) -> dict[str, Any]:
        """The version of asmil and the commit that it runs from, for identity.json."""
        found = environment()
        return {"asmil": found["packages"]["asmil"], "commit": found["commit"]}

    @property
    def begun(self) -> bool:
        """Whether anything was trained in it: a model is there, or half of one."""
        return any((self.folder / "folds").glob("*/seed_*/*")) or any((self.folder / "checkpoints").glob("*"))

    @property
    def extracted(self) -> bool:
        """Whether it holds features of its own."""
        return (self.folder / "features").is_dir()

    def evaluate(self, **options: Any) -> dict[str, Any]:
        """Metrics with intervals, also into metrics.json: see `asmil.evaluate`."""
        from asmil.runs import pipeline

        return pipeline.evaluate(self, **options)

    def report(self, **options: Any) -> Path:
        """The page of the run, report.html: see `asmil.write_report`."""
        from asmil.runs import pipeline

        return pipeline.write_report(self, **options)

    def predict(self, slides: str | Path | None = None, **options: Any) -> "Predictions":
        """New slides, or features of them, by the models of the run: see `asmil.runs.pipeline.predict`."""
        from asmil.runs import pipeline

        return pipeline.predict(self, slides, **options)

    def export(self, out: str | Path | None = None, **options: Any) -> "Exported":
        """An ONNX file with what describes it, and a model card: see `asmil.runs.pipeline.export`."""
        from asmil.runs import pipeline

        return pipeline.export(self, out, **options)

    def heatmap(self, *slides: str, **options: Any) -> list[Path]:
        """Pictures and GeoJSON of where the models looked, of all slides where none is named."""
        from asmil.runs import pipeline

        return pipeline.heatmap(self, slides, **options)
