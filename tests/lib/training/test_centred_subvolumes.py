"""Subvolumes stand in the middle of small tomograms, in deviations of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.training.centred_subvolumes import MARGIN, read_centred_subvolumes
from tomotwin_lib.training.labelled_tomograms import GREY_LEVELS


def test_a_subvolume_is_standardised_by_itself_and_stands_in_the_middle(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = (7 + 3 * rng.standard_normal((9, 9, 9))).astype(np.float32)
    write_volume(tmp_path / "tomo1_1BXN_4.mrc", data, 10.0)
    (one,) = read_centred_subvolumes([tmp_path], 9, progress=False)
    assert (one.name, list(one.labels)) == ("tomo1_1BXN_4", ["1bxn"])
    assert one.centres.tolist() == [[4 + MARGIN] * 3] and one.voxels.shape == (9 + 2 * MARGIN,) * 3
    inner = one.voxels.numpy()[MARGIN:-MARGIN, MARGIN:-MARGIN, MARGIN:-MARGIN] / GREY_LEVELS
    np.testing.assert_allclose(inner, (data - data.mean()) / data.std(), atol=0.51 / GREY_LEVELS)
    # The margin mirrors what it stands beside.
    assert (one.voxels[MARGIN - 1] == one.voxels[MARGIN + 1]).all()


def test_a_subvolume_of_another_size_is_named(tmp_path: Path) -> None:
    write_volume(tmp_path / "tomo1_1BXN_4.mrc", np.eye(9, dtype=np.float32)[None].repeat(9, axis=0), 10.0)
    with pytest.raises(InputError, match=r"tomo1_1BXN_4\.mrc"):
        read_centred_subvolumes([tmp_path], 37, progress=False)
