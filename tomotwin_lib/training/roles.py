"""Which classes of the training data are anchors, told from file names alone, before a volume is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.ground_truth import label_from_name
from tomotwin_lib.formats.volumes import find_volumes
from tomotwin_lib.training.settings import TrainSettings
from tomotwin_lib.training.split import validated_classes


@dataclass(frozen=True)
class Roles:
    """What the classes of the training data are for.

    Attributes
    ----------
    classes : all of them, in the order of their numbers.
    anchors : those whose samples are anchors and positives. The others are negatives only.
    without_density : classes of subvolumes that no density shows, where there are densities.
    without_subvolumes : classes of densities that no subvolume shows: nothing can be learnt from these.
    """

    classes: tuple[str, ...]
    anchors: tuple[str, ...]
    without_density: tuple[str, ...] = ()
    without_subvolumes: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """What about the densities may not be as the user expects, a sentence each."""
        notes = []
        if self.without_density:
            notes.append(
                f"no density of {', '.join(self.without_density)}: their subvolumes are negatives only"
            )
        if self.without_subvolumes:
            notes.append(
                f"no subvolume of {', '.join(self.without_subvolumes)}: their densities are not used"
            )
        return notes


def assign_roles(
    settings: TrainSettings,
    volumes: str | Path,
    validation: str | Path | None,
    densities: str | Path | None = None,
) -> Roles:
    """Read the classes off the names of the files and say what each is for.

    Parameters
    ----------
    settings : names the classes that are negatives only.
    volumes, validation : folders of subvolumes. Without the second, some of the first validate
        (:mod:`~.training.split`).
    densities : folder of densities that are to be the anchors; the subvolumes are where ``None``.

    Raises
    ------
    InputError
        If a folder holds no volume or a name tells no class; all subvolumes are of one class; a class to
        validate with or in ``only_negative_labels`` is not among them; there are fewer than two classes
        with a density; no class is left to be an anchor, in training or in validation; there are too few
        subvolumes to validate with some of them; or ``num_classes`` is too small.
    """
    classes = labels_in(volumes)
    if len(classes) < 2:
        raise InputError(
            volumes, f"all subvolumes are {classes[0]}", "Give at least two classes to tell apart"
        )
    if settings.num_classes is not None and settings.num_classes < len(classes):
        raise InputError(
            "train_config.num_classes",
            f"it is {settings.num_classes}, and {volumes} holds {len(classes)} classes",
            "Leave it out: the classes are counted",
        )
    valid = validated_classes(volumes) if validation is None else labels_in(validation)
    if validation is not None and (strangers := _without(valid, classes)):
        raise InputError(
            validation,
            f"no training subvolumes of {', '.join(strangers)}",
            "Use the same classes in both folders",
        )
    negative = [label.lower() for label in settings.only_negative_labels]
    if unknown := _without(negative, classes):
        raise InputError(
            "train_config.only_negative_labels",
            f"there are no subvolumes of {', '.join(unknown)} in {volumes}",
            f"Its classes are {', '.join(classes)}",
        )
    shown = classes if densities is None else labels_in(densities)
    shared = [label for label in classes if label in shown]
    if densities is not None and len(shared) < 2:
        raise InputError(
            densities,
            f"its densities show {', '.join(shown)}, the subvolumes {', '.join(classes)}: "
            f"{len(shared) or 'none'} in common",
            "Give densities of at least two classes of the subvolumes, with the labels in the file names",
        )
    anchors = _without(shared, negative)
    several = "" if validation is not None else " with four subvolumes or more"
    for folder, which, labels in ((volumes, "", classes), (validation or volumes, several, valid)):
        if not set(anchors) & set(labels):
            raise InputError(
                folder,
                f"all its classes{which} are negatives only ({', '.join(labels)})",
                "Take one out of only_negative_labels, or give densities of one",
            )
    return Roles(
        tuple(classes), tuple(anchors), tuple(_without(classes, shared)), tuple(_without(shown, classes))
    )


def labels_in(folder: str | Path) -> list[str]:
    """The classes of a folder of volumes, sorted.

    Raises
    ------
    InputError
        If there is no volume, or a name tells no class.
    """
    return sorted({label_from_name(path.name) for path in find_volumes([folder])})


def _without(labels: Sequence[str], others: Sequence[str]) -> list[str]:
    return sorted(set(labels) - set(others))
