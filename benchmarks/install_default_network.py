"""``python -m benchmarks.install_default_network CHECKPOINT CARD``: the network that ships, exchanged.

For developers, in a checkout. Writes ``default.pth`` and ``default.md`` in ``tomotwin_lib/networks/shipped``:
the checkpoint without what only training needs, and the card with the line ``Weights: …`` made anew from it.

1. Copy the present ``default.md`` and change what it says: data, recipe, scores, limits, voxel size. The
   headings stay, and the line that begins with ``Weights:``, whatever stands in it.
2. Run this.
3. Run ``tests/lib/networks/test_shipped_networks.py`` and ``tests/lib/cli/test_cli_shipped.py``. They take
   checksum and headings from the card, and name no weights: there is nothing to change in them.
4. Read in README.md what is said of the network that ships ("Training your own", "What it does not do yet").

Platforms see another network by its content: it is imported as a new version, and everything is picked again.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.base import DenseNetwork
from tomotwin_lib.networks.checkpoint import LoadedNetwork, load_checkpoint, load_network, save_checkpoint
from tomotwin_lib.networks.shipped_networks import CARD_HEADINGS, DEFAULT, MOST_BYTES, SHIPPED

_WEIGHTS = re.compile(r"^Weights: .*$", re.MULTILINE)


def install(
    checkpoint: Path, card: Path, folder: Path = SHIPPED, voxel_size_in_angstrom: float | None = None
) -> Path:
    """Make a network the default.

    Parameters
    ----------
    checkpoint : a trained network that can be evaluated densely, as ``tomotwin train`` leaves it.
    card : Markdown with ``CARD_HEADINGS`` and one line ``Weights: …``.
    folder : of the networks that ship.
    voxel_size_in_angstrom : of what it was trained on; by default what the checkpoint says.

    Returns
    -------
    The checkpoint there; its card is beside it.

    Raises
    ------
    InputError
        If the checkpoint cannot be used or is too large, or the card lacks something; nothing changes then.
    """
    text = _read_card(card)
    start = load_network(checkpoint, "cpu")
    if not isinstance(start.network, DenseNetwork):
        raise InputError(
            checkpoint,
            f"{type(start.network).__name__} cannot be evaluated densely",
            "Give a fully convolutional network",
        )
    told = load_checkpoint(checkpoint)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".installing.") as name:
        weights, described = Path(name) / f"{DEFAULT}.pth", Path(name) / f"{DEFAULT}.md"
        save_checkpoint(
            weights,
            start.network,
            start.configuration,
            epoch=int(told.get("epoch", 0)),
            loss=float(told.get("loss", 0)),
            best_loss=float(told.get("best_loss", 0)),
            best_f1=float(told.get("best_f1", 0)),
            voxel_size_in_angstrom=voxel_size_in_angstrom or start.voxel_size_in_angstrom,
        )
        if (size := weights.stat().st_size) > MOST_BYTES:
            raise InputError(
                checkpoint,
                f"without what only training needs it has {size:,} bytes, more than {MOST_BYTES:,}",
                "Train a smaller network",
            )
        line = weights_line(load_network(weights, "cpu"))
        described.write_text(_WEIGHTS.sub(lambda _: line, text), encoding="utf-8")
        for path in (weights, described):
            path.replace(folder / path.name)
    return folder / f"{DEFAULT}.pth"


def weights_line(loaded: LoadedNetwork) -> str:
    """What a card says of a checkpoint: name, MD5, million weights, and how the network is built."""
    count = sum(weight.numel() for weight in loaded.network.parameters())
    arguments = dict(loaded.configuration.get("network_config") or {})
    built = [f"{key} {value}" for key, value in arguments.items() if isinstance(value, int | float | str)]
    parts = [type(loaded.network).__name__, *built, loaded.distance]
    return (
        f"Weights: `{loaded.path.name}`, MD5 `{loaded.md5}`, {count / 1e6:.1f} million; {', '.join(parts)}."
    )


def _read_card(card: Path) -> str:
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(card, f"the card cannot be read ({error})", "Give a Markdown file") from error
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    if headings != list(CARD_HEADINGS):
        raise InputError(
            card, f"its headings are {', '.join(headings) or 'missing'}", f"Write {', '.join(CARD_HEADINGS)}"
        )
    if (count := len(_WEIGHTS.findall(text))) != 1:
        raise InputError(
            card, f"{count} lines begin with 'Weights: '", "Write one; what follows is filled in"
        )
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Install what the arguments name; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.install_default_network",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="the trained network")
    parser.add_argument("card", type=Path, help="its model card, in Markdown")
    parser.add_argument(
        "--voxel_size", type=float, metavar="A",
        help="of what it was trained on, in Å (default: what the checkpoint says)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        path = install(options.checkpoint, options.card, voxel_size_in_angstrom=options.voxel_size)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{path}\n{path.with_suffix('.md')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
