"""The table of fine-tuning: before and after side by side."""

from __future__ import annotations

import pandas as pd

from benchmarks.finetune_default import table


def test_before_and_after_stand_side_by_side() -> None:
    columns = ["network", "class", "trained", "held_out", "F1", "recall", "best_F1", "AP", "offset"]
    found = pd.DataFrame(
        [
            ("before", "0900", 16, 8, 0.5, 0.4, 0.6, 0.3, 1.5),
            ("before", "0901", 17, 7, 0.7, 0.6, 0.8, 0.5, 2.5),
            ("after", "0901", 17, 7, 0.6, 0.5, 0.8, 0.9, 1.0),
            ("after", "0900", 16, 8, 0.75, 0.4, 0.9, 0.7, 0.5),
        ],
        columns=columns,
    )
    lines = table(found.assign(tomogram=0, steps=120)).splitlines()
    assert lines[2] == "| 0 | 0900 | 16, 8 | 120 | 0.50 → 0.75 | 0.40 → 0.40 | 0.30 → 0.70 | 1.50 → 0.50 |"
    assert lines[-1] == "| all | mean of 2 | | | 0.60 → 0.68 | 0.50 → 0.45 | 0.40 → 0.80 | 2.00 → 0.75 |"
