"""What a run is asked for: its settings, what they name, opened and checked, and what has to stay the same."""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.settings.checks import check_inputs, note_unused
    from asmil.settings.extraction import extract_folder, lost_of, note_earlier, require_some, slides_in
    from asmil.settings.identity import (
        CLASSIFICATION,
        UNKNOWN_FEATURES,
        changed_features,
        compare,
        go_on,
        lacks_data,
        learned_from,
        settings_identity,
        tables_identity,
        task_facts,
    )
    from asmil.settings.inputs import (
        Inputs,
        check_extraction,
        check_truth,
        device_of,
        extract_settings,
        note_tables,
        open_inputs,
        read_tables,
        recipe_of,
        require_place,
        require_writable,
        slide_files_of,
        slide_mpp_of,
        splits_of,
        table_options,
        tell_tables,
        workers_of,
    )
    from asmil.settings.kinds import MOST_SEEDS, Device, Names, PositiveInt, kinds_of, no_flag, no_gap
    from asmil.settings.reading import (
        KEY,
        Described,
        MarkedYaml,
        Mistake,
        changed,
        commented_settings,
        described,
        dump_settings,
        ended,
        load_settings,
        read_value,
        yaml_of,
    )
    from asmil.settings.settings import ABOUT, Group, Settings
else:
    __all__, __getattr__ = door(__name__)
