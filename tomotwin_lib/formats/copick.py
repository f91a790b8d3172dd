"""Picks into a copick project, the common store of the CZ cryoET data portal's tools. An optional extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from tomotwin_lib.errors import InputError


class CopickProject:
    """A copick project, opened for storing picks.

    Parameters
    ----------
    configuration : the project's JSON file.

    Raises
    ------
    InputError
        If copick is not installed or cannot open the project.
    """

    def __init__(self, configuration: str | Path) -> None:
        self.configuration = Path(configuration)
        try:
            import copick
        except ImportError as error:
            raise InputError("copick", "it is not installed", "Run `pip install '.[copick]'`") from error
        if not self.configuration.is_file():
            raise InputError(self.configuration, "no such file", "Give the project's configuration")
        try:
            self.root: Any = copick.from_file(str(self.configuration))
        except Exception as error:  # JSON, validation and file systems of many kinds
            raise InputError(
                self.configuration, f"copick cannot open it ({error})", "Correct the configuration"
            ) from error

    def check_objects(self, names: list[str]) -> None:
        """Check that the project knows the particles.

        Raises
        ------
        InputError
            If one is not among its pickable objects.
        """
        known = [entry.name for entry in self.root.pickable_objects]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise InputError(
                self.configuration,
                f"{unknown[0]!r} is none of its pickable objects: {', '.join(known)}",
                "Add it there, or choose references of such names with --target",
            )

    def store(
        self,
        picks: pd.DataFrame,
        voxel_size_in_angstrom: float,
        *,
        run: str,
        object_name: str,
        user: str,
        session: str,
    ) -> None:
        """Store the picks of one kind of particle; those of the same user and session are replaced.

        Parameters
        ----------
        picks : columns X, Y, Z, in voxels, and metric_best, which becomes the score.
        voxel_size_in_angstrom : of these voxels.
        run : the tomogram's run; made if the project has none of that name.
        object_name : one of the project's pickable objects.
        user, session : whose picks they are, and of which session.
        """
        from copick.models import CopickLocation, CopickPoint

        place = self.root.get_run(run) or self.root.new_run(run)
        entry = place.new_picks(object_name=object_name, user_id=user, session_id=session, exist_ok=True)
        positions = picks[["X", "Y", "Z"]].to_numpy(dtype=float) * voxel_size_in_angstrom
        entry.points = [
            CopickPoint(location=CopickLocation(x=x, y=y, z=z), score=float(score))
            for (x, y, z), score in zip(positions, picks["metric_best"], strict=True)
        ]
        entry.store()
