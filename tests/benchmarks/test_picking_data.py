"""A given tomogram's thresholds come from simulated ones; several references count as one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.picking_data import GIVEN, rows

TRUTH = pd.DataFrame([(20.0, 20.0, 20.0), (80.0, 20.0, 20.0)], columns=["X", "Y", "Z"]).assign(
    **{"class": "1abc"}
)


def picks(similarities: list[list[float]]) -> pd.DataFrame:
    """For each reference a pick on the first particle, on the second one, and beside both."""
    places = [(20.0, 20.0, 20.0), (80.0, 21.0, 20.0), (50.0, 60.0, 20.0)]
    table = pd.DataFrame(places * len(similarities), columns=["X", "Y", "Z"])
    table = table.assign(metric_best=np.ravel(similarities), size=1)
    table["predicted_class"] = [number for number in range(len(similarities)) for _ in places]
    table.attrs = {"references": [f"1abc_{number}.mrc" for number in range(len(similarities))]}
    return table


def test_thresholds_come_from_the_simulated_tomogram() -> None:
    # The first reference's threshold, 0.8 there, keeps both particles here; the second one's keeps what lies
    # beside too: F1 1 and 2·2 / (2·2 + 1) = 0.8.
    tomograms = {
        GIVEN: (picks([[0.9, 0.9, 0.6], [0.9, 0.9, 0.7]]), TRUTH),
        "simulated_0": (picks([[0.9, 0.81, 0.79], [0.9, 0.61, 0.59]]), TRUTH),
    }
    mean, own = rows("seen", tomograms, {"1abc": 20})
    assert mean.startswith("| seen | mean of 1 | 1.000 | 0.900 |")
    assert own.startswith("| seen | 1abc | 1.000 | 0.900 |")
    assert own.endswith("| 0.500 |")  # none off, and one voxel
