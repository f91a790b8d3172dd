"""From labelled subvolumes to a trained network."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from tomotwin_assets import metadata, provenance
from tomotwin_assets.assets.sources import MODELS, SUBVOLUMES
from tomotwin_assets.configs import TrainingConfig, recorded
from tomotwin_assets.partitions import models
from tomotwin_assets.progress import show_bars
from tomotwin_assets.resources import ComputeDevice, DataFolder
from tomotwin_assets.retries import with_second_tries
from tomotwin_assets.values import TrainingData
from tomotwin_lib.errors import InputError
from tomotwin_lib.figures import subvolume_gallery, training_curve
from tomotwin_lib.files import ensure_writable_folder, md5_of_file, replace_folder
from tomotwin_lib.formats.ground_truth import label_from_name
from tomotwin_lib.formats.volumes import find_volumes, read_subvolume, read_volume
from tomotwin_lib.networks.checkpoint import load_network
from tomotwin_lib.networks.configuration import read_configuration
from tomotwin_lib.networks.shipped_networks import model_card
from tomotwin_lib.training.trainer import train

CURVE_ROWS = 10


@dg.asset(deps=[SUBVOLUMES], kinds={"mrc"}, code_version="1")
@with_second_tries
def training_data(
    context: dg.AssetExecutionContext, data_folder: DataFolder
) -> dg.MaterializeResult[TrainingData]:
    """Labelled subvolumes to train on and to validate with, counted by class.

    A data folder without `subvolumes/` is fine as long as its networks are imported.
    """
    started = time.perf_counter()
    if not data_folder.training.is_dir():
        summary = "no subvolumes/train: networks can be imported, not trained"
        return dg.MaterializeResult(
            value=TrainingData(),
            metadata={
                "summary": summary,
                "dagster/row_count": 0,
                "classes": 0,
                **provenance.about(context, started),
            },
            data_version=provenance.data_version(context),
        )

    training, validation = find_volumes([data_folder.training]), find_volumes([data_folder.validation])
    data = TrainingData(_by_class(training), _by_class(validation))
    if strangers := sorted(set(data.validation) - set(data.training)):
        raise InputError(
            data_folder.validation,
            f"no training subvolumes of {', '.join(strangers)}",
            "Use the same classes in subvolumes/train and subvolumes/valid",
        )
    examples = {label_from_name(path.name): path for path in reversed(training)}
    gallery = subvolume_gallery([(label, read_subvolume(examples[label])) for label in sorted(examples)])
    table = pd.DataFrame({"training": data.training, "validation": data.validation}).fillna(0).astype(int)
    return dg.MaterializeResult(
        value=data,
        metadata={
            "summary": f"{len(training):,} subvolumes of {len(data.training)} classes, "
            f"{len(validation):,} to validate",
            "dagster/row_count": len(training),
            "validation_subvolumes": len(validation),
            "classes": len(data.training),
            "subvolumes_by_class": metadata.table(table.rename_axis("class").reset_index()),
            "voxel_size_in_angstrom": read_volume(training[0]).voxel_size_in_angstrom or 0.0,
            **metadata.pictures(data_folder, ("training_data",), one_of_each_class=gallery),
            "folder": dg.MetadataValue.path(data_folder.training),
            **provenance.about(context, started),
        },
        data_version=provenance.data_version(context),
    )


@dg.asset(
    partitions_def=models, deps=[MODELS, training_data], kinds={"pytorch"}, pool="gpu", code_version="1"
)
@with_second_tries
def trained_model(
    context: dg.AssetExecutionContext, config: TrainingConfig, data_folder: DataFolder, device: ComputeDevice
) -> dg.MaterializeResult[Path]:
    """A network with its weights: trained as `models/<model>.json` says, imported from a `.pth`, or shipped.

    Checkpoints, history and TensorBoard logs of a training lie in `products/trained_model/<model>/`, those of
    one that is going on or was interrupted in `<model>.unfinished/`.
    """
    model = context.partition_key
    file = data_folder.model_file(model)
    started = time.perf_counter()
    if file.suffix == ".pth":
        checkpoint = file
        extra: dict[str, Any] = {"source": "shipped" if data_folder.ships(model) else "imported"}
        if (card := model_card(file)) is not None:
            extra["model_card"] = dg.MetadataValue.md(card)
    else:
        checkpoint, extra = _train(model, file, config, data_folder, device.name)
    loaded = load_network(checkpoint, "cpu")
    weights = sum(parameter.numel() for parameter in loaded.network.parameters())
    identifier = str(loaded.configuration["identifier"])
    return dg.MaterializeResult(
        value=checkpoint,
        metadata={
            "summary": f"{identifier}, {weights / 1e6:.2f} million weights, {_outcome(extra)}",
            "network": identifier,
            "weights": weights,
            "window_size_in_voxels": loaded.window_size,
            "distance": loaded.distance,
            "configuration": dg.MetadataValue.json(loaded.configuration),
            "md5": loaded.md5,
            "settings": dg.MetadataValue.json(recorded(config)),
            **extra,
            **provenance.about(context, started, device.name if extra["source"] == "trained" else None),
        },
        data_version=dg.DataVersion(md5_of_file(checkpoint)),
    )


def _train(
    model: str, file: Path, config: TrainingConfig, data_folder: DataFolder, device: str
) -> tuple[Path, dict[str, Any]]:
    """Train one network; returns the checkpoint to keep and what to tell about it."""
    configuration = read_configuration(file)
    if not data_folder.training.is_dir():
        raise InputError(
            data_folder.training,
            f"there are no subvolumes to train {model} on",
            f"Put them there, or import a trained network as models/{model}.pth",
        )
    folder = data_folder.product("trained_model", model).with_suffix("")
    # What an earlier training left is replaced when this one has finished, not before.
    unfinished = ensure_writable_folder(folder.with_name(f"{model}.unfinished"))
    latest = unfinished / "latest.pth"
    result = train(
        configuration,
        data_folder.training,
        data_folder.validation,
        unfinished,
        epochs=config.epochs,
        max_minutes=config.max_minutes,
        device=device,
        seed=config.seed,
        resume_from=latest if config.resume and latest.is_file() else None,
        overwrite=True,
        progress=show_bars(),
    )
    if not (unfinished / f"{config.keep}.pth").is_file():
        raise InputError(
            "keep",
            f"it is {config.keep}, and no epoch of {model} had such a score that is a number",
            'Set keep to "final", or correct the configuration',
        )
    replace_folder(unfinished, folder)
    last, best = result.history.iloc[-1], result.history["valid_f1"].max()
    return folder / f"{config.keep}.pth", {
        "source": "trained",
        "epochs": len(result.history),
        "last_training_loss": float(last["train_loss"]),
        "last_validation_loss": float(last["valid_loss"]),
        "best_validation_f1": float(best),
        **metadata.pictures(
            data_folder,
            ("trained_model", model),
            training_curve=training_curve(result.history, title=f"Training of {model}"),
        ),
        "last_epochs": metadata.table(result.history.tail(CURVE_ROWS), digits=5),
        "training_folder": dg.MetadataValue.path(folder),
    }


def _outcome(extra: dict[str, Any]) -> str:
    if extra["source"] != "trained":
        return str(extra["source"])
    epochs = f"{extra['epochs']} epoch{'' if extra['epochs'] == 1 else 's'}"
    return f"{epochs}, best validation F1 {extra['best_validation_f1']:.2f}"


def _by_class(paths: list[Path]) -> dict[str, int]:
    return dict(sorted(Counter(label_from_name(path.name) for path in paths).items()))
