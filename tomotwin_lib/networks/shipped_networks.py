"""The trained networks that come with the library, found by name.

Each is a checkpoint with its model card beside it: ``shipped/<name>.pth`` and ``shipped/<name>.md``. Wherever
a checkpoint is asked for, the name will do, as in ``--modelpth default``.
"""

from __future__ import annotations

from pathlib import Path

from tomotwin_lib.errors import InputError

SHIPPED = Path(__file__).parent / "shipped"
DEFAULT = "default"
"""The network for those who have none of their own."""

MOST_BYTES = 20_000_000
"""Size of a checkpoint that may ship."""

CARD_HEADINGS = ("Data", "Recipe", "Scores", "Limits", "Intended voxel size", "Contrast")
"""What every card tells, in this order."""


def shipped_names() -> list[str]:
    """Names of the networks that ship, sorted."""
    return sorted(path.stem for path in SHIPPED.glob("*.pth"))


def shipped_network(name: str) -> Path | None:
    """The checkpoint of the network that ships under a name; ``None`` where none does."""
    return SHIPPED / f"{name}.pth" if name in shipped_names() else None


def find_network_file(path_or_name: str | Path) -> Path:
    """The checkpoint that a user means: a file, or where there is none, the network that ships by that name.

    Raises
    ------
    InputError
        If it is neither: lists the names, and says that a path will do.
    """
    path = Path(path_or_name)
    if path.is_file():
        return path
    shipped = shipped_network(str(path_or_name))
    if shipped is None:
        names = ", ".join(shipped_names()) or "none"
        raise InputError(
            path_or_name,
            "there is no such checkpoint",
            f"Give the path of a .pth file, or the name of a network that ships: {names}",
        )
    return shipped


def model_card(checkpoint: str | Path) -> str | None:
    """What stands in the ``.md`` file beside a checkpoint; ``None`` where there is none."""
    card = Path(checkpoint).with_suffix(".md")
    return card.read_text(encoding="utf-8") if card.is_file() else None
