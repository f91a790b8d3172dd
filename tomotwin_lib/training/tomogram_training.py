"""A network trained on tomograms whose particles are all known: checks, budget, and what is written."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from tomotwin_lib.devices import resolve_device
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import ensure_writable_folder
from tomotwin_lib.networks.base import DenseNetwork, EmbeddingNetwork
from tomotwin_lib.networks.checkpoint import load_checkpoint, load_weights
from tomotwin_lib.networks.configuration import check_configuration
from tomotwin_lib.networks.registry import build_network
from tomotwin_lib.networks.widening import widened_weights
from tomotwin_lib.training.labelled_tomograms import LabelledTomogram
from tomotwin_lib.training.recipe import Recipe
from tomotwin_lib.training.resuming import differences
from tomotwin_lib.training.run_log import RunLog
from tomotwin_lib.training.tomogram_run import TomogramRun

ROW_STEPS = 50
"""Steps that a row of ``steps.csv`` tells of."""

FEW_STEPS = 300
"""Batches after which a network that began anew has hardly learnt."""

LATEST_SECONDS = 120.0
"""Seconds between two writings of ``latest.pth``."""

Check = Callable[[EmbeddingNetwork, float], Mapping[str, float]]
"""Scores of the averaged network, in evaluation mode, after so many seconds; they go into ``steps.csv``."""


@dataclass(frozen=True)
class TrainedOnTomograms:
    """What a training left.

    Attributes
    ----------
    network : ``final.pth``, the averaged weights.
    table, curve : ``steps.csv`` and ``training_curve.png``.
    steps : its rows: ``step``, ``seconds``, mean losses ``proxies`` and ``pairs``, ``rate``, and scores.
    """

    network: Path
    table: Path
    curve: Path
    steps: pd.DataFrame


def train_on_tomograms(
    configuration: Mapping[str, Any],
    tomograms: Sequence[LabelledTomogram],
    output: str | Path,
    *,
    subvolumes: Sequence[LabelledTomogram] = (),
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: torch.device | str = "auto",
    start: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    on_check: Check | None = None,
    minutes_between: float = 5.0,
) -> TrainedOnTomograms:
    """Train a network that can be evaluated densely.

    The same seed and number of steps give the same weights on a CPU, a run that was cut off and resumed
    included; a run by time does not. Ctrl-C waits for the end of the step and leaves ``latest.pth``; a second
    one does neither.

    Parameters
    ----------
    configuration : as :func:`~tomotwin_lib.networks.configuration.read_configuration` returns it; its
        ``train_config`` names values of :class:`~.recipe.Recipe`.
    tomograms : to train on.
    output : folder for ``final.pth``, ``latest.pth``, ``steps.csv`` and ``training_curve.png``.
    subvolumes : single particles to train on too, as
        :func:`~.centred_subvolumes.read_centred_subvolumes` reads them.
    minutes, steps : when to stop, whichever comes first; one must be given. The learning rate ends with it.
    seed : of weights, windows and augmentation.
    device : auto, cpu, cuda or cuda:<number>.
    start : a trained network whose weights to begin with: of the same ``network_config``, or narrower by a
        whole number (:mod:`tomotwin_lib.networks.widening`).
    resume : go on with the run in ``output`` that was cut off.
    overwrite : replace an earlier training in ``output``.
    progress : show a bar.
    on_check : scores the network every ``minutes_between``, and at the end.

    Raises
    ------
    InputError
        If anything given cannot be used; before anything is computed.
    """
    folder = ensure_writable_folder(output)
    require_budget(minutes, steps, seed)
    require_place(folder, resume, overwrite)
    check_configuration(configuration, "configuration", Recipe.from_configuration)
    recipe = Recipe.from_configuration(configuration, "configuration")
    configuration = {**configuration, "train_config": recipe.as_configuration()}
    place = resolve_device(device)
    latest = folder / "latest.pth"
    conditions = _conditions(tomograms, subvolumes, seed)
    resumed = _resumable(latest, configuration, conditions) if resume else None
    if resume and start is not None:
        raise InputError("--start", "a run that is resumed has weights", "Leave out one of the two")
    torch.manual_seed(seed)
    network = network_to_train(configuration, start)
    configuration["window_size"] = (network.window_size,) * 3
    run = TomogramRun(
        network,
        tomograms,
        recipe,
        device=place,
        seed=seed,
        distance=configuration.get("distance", "COSINE"),
        subvolumes=subvolumes,
    )
    log = RunLog(folder, run, configuration, conditions)
    if resumed is None:
        latest.unlink(missing_ok=True)  # of another run: --resume must not go on with it
    else:
        run.restore(resumed["model_state_dict"], resumed["training_state"], str(latest))
        log.restore(resumed["training_state"])
    _go(run, log, minutes, steps, progress, on_check, minutes_between * 60)
    frame = log.finish()
    return TrainedOnTomograms(
        folder / "final.pth", folder / "steps.csv", folder / "training_curve.png", frame
    )


def _go(
    run: TomogramRun,
    log: RunLog,
    minutes: float | None,
    steps: int | None,
    progress: bool,
    on_check: Check | None,
    seconds_between: float,
) -> None:
    limit = math.inf if minutes is None else minutes * 60
    most = math.inf if steps is None else steps
    begun = time.monotonic() - log.seconds
    checked, saved = log.seconds, log.seconds
    with (
        _interruption_put_off() as came,
        tqdm(total=100, desc="training", unit="%", disable=not progress) as bar,
    ):
        while (share := max(log.seconds / limit, run.steps / most)) < 1 and not came:
            rate = run.step(share)
            log.seconds = time.monotonic() - begun
            scores: Mapping[str, float] = {}
            if on_check is not None and log.seconds - checked > seconds_between:
                scores = on_check(log.network(), log.seconds)
                checked = log.seconds
            if scores or run.steps % ROW_STEPS == 0:
                log.row(rate, scores)
                bar.set_postfix(step=run.steps, loss=f"{log.loss:.3f}")
            if log.seconds - saved > LATEST_SECONDS:
                log.save("latest.pth", whole=True)
                saved = log.seconds
            bar.update(min(math.floor(100 * share), 100) - bar.n)
        if not came:
            bar.update(100 - bar.n)
    if came:
        if run.steps:
            log.save("latest.pth", whole=True)
        raise KeyboardInterrupt
    if on_check is not None or log.unwritten:
        log.row(0.0, on_check(log.network(), log.seconds) if on_check is not None else {})


@contextmanager
def _interruption_put_off() -> Iterator[list[int]]:
    """Note a first Ctrl-C in the list that is given, instead of raising it in the midst of a step.

    Half a step would leave weights of one step and generators of another. A second one is raised at once.
    What shall not be KeyboardInterrupt, or cannot be caught in this thread, is left as it is.
    """
    came: list[int] = []

    def note(number: int, frame: Any) -> None:
        came.append(number)
        if len(came) > 1:
            signal.default_int_handler(number, frame)

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield came
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def require_place(folder: Path, resume: bool, overwrite: bool) -> None:
    """A network is worth an hour: it is not replaced by a command typed twice.

    Raises
    ------
    InputError
        If a training left a network in the folder, and it shall neither be gone on with nor replaced; or if
        one shall be gone on with, and there is none or it is finished.
    """
    final, latest = folder / "final.pth", folder / "latest.pth"
    if overwrite and not resume:
        return
    if latest.exists():
        if not resume:
            raise InputError(
                folder,
                "it holds a training that was cut off",
                "Choose another folder, go on with --resume, or replace it with --overwrite",
            )
    elif final.exists():
        raise InputError(
            folder,
            "the training in it is finished: its network is final.pth",
            f"Train it on into another folder with --start {final}, or begin anew with --overwrite",
        )
    elif resume:
        raise InputError(
            folder, "there is no latest.pth in it, so no training that was cut off", "Leave out --resume"
        )


def network_to_train(configuration: Mapping[str, Any], start: str | Path | None = None) -> EmbeddingNetwork:
    """Build the network of a configuration, with the weights of another one where that is given.

    Raises
    ------
    InputError
        If it cannot be evaluated densely and is to look for false peaks, or the other one cannot be read, is
        damaged, or is another network.
    """
    network = build_network(configuration)
    looks = Recipe.from_configuration(configuration, "configuration").looks
    if looks and not isinstance(network, DenseNetwork):
        raise InputError(
            "configuration",
            f"{type(network).__name__} cannot be evaluated densely, so it sees no false peaks",
            'Train it without them ("looks": 0 in train_config), or take FullyConvolutional',
        )
    if start is not None:
        _begin_with(start, network, configuration)
    return network


def _begin_with(start: str | Path, network: EmbeddingNetwork, configuration: Mapping[str, Any]) -> None:
    checkpoint = load_checkpoint(start)
    weights, own = checkpoint["model_state_dict"], checkpoint["tomotwin_config"]
    try:
        load_weights(network, widened_weights(weights, network), start)
    except InputError as error:
        # A damaged one does not fit its own network either, and is refused as that.
        load_weights(build_network(own, str(start)), weights, start)
        networks = (
            {key: one[key] for key in ("identifier", "network_config") if key in one}
            for one in (own, configuration)
        )
        raise InputError(
            start,
            f"it is another network than the configuration's ({'; '.join(differences(*networks))})",
            f"Configure the network of {start}; its width may be a whole multiple",
        ) from error


def require_budget(minutes: float | None, steps: int | None, seed: int) -> None:
    """Refuse what says nothing, or nothing possible, about when to stop, and an impossible seed.

    Raises
    ------
    InputError
        Then.
    """
    if minutes is None and steps is None:
        raise InputError("--minutes", "nothing says when to stop", "Give minutes or steps")
    if minutes is not None and not 0 < minutes < math.inf:
        raise InputError("--minutes", f"{minutes} is no time", "Give more than 0 minutes")
    if steps is not None and steps < 1:
        raise InputError("--steps", f"{steps} is no number of steps", "Give 1 or more")
    if seed < 0:
        raise InputError("--seed", f"{seed} is no seed", "Give 0 or more")


def _conditions(
    tomograms: Sequence[LabelledTomogram], subvolumes: Sequence[LabelledTomogram], seed: int
) -> dict[str, Any]:
    names = {"tomograms": tomograms, "subvolumes": subvolumes}
    return {"seed": seed, **{kind: [one.name for one in some] for kind, some in names.items()}}


def _resumable(
    latest: Path, configuration: Mapping[str, Any], conditions: Mapping[str, Any]
) -> dict[str, Any]:
    checkpoint = load_checkpoint(latest)
    state = checkpoint.get("training_state", {})
    if "conditions" not in state or "generator" not in state:
        raise InputError(latest, "it is no training on tomograms that was cut off", "Begin anew")
    own = {key: value for key, value in checkpoint["tomotwin_config"].items() if key != "window_size"}
    if own != {key: value for key, value in configuration.items() if key != "window_size"}:
        raise InputError(
            latest, "it was trained with another configuration", "Resume with the one of that run"
        )
    earlier = state["conditions"]
    if earlier != conditions:
        raise InputError(
            latest,
            f"it was trained on {len(earlier['tomograms'])} tomograms and "
            f"{len(earlier.get('subvolumes', []))} subvolumes with seed {earlier['seed']}, and not on these "
            f"with seed {conditions['seed']}",
            "Resume with the data and the seed of that run",
        )
    return checkpoint
