"""Embedding of subvolumes: references above all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import tomotwin_lib
from tomotwin_lib.embedding.checks import require_batch_size, require_finite_vectors, require_window_size
from tomotwin_lib.embedding.inference import Form, Inference
from tomotwin_lib.embedding.preparation import standardise_window
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import md5_of_file
from tomotwin_lib.formats.volumes import read_subvolume
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.products import ReferenceEmbedding
from tomotwin_lib.references import CONTENTS


def embed_subvolumes(
    loaded: LoadedNetwork, paths: Sequence[str | Path], *, batch_size: int = 128, progress: bool = True
) -> ReferenceEmbedding:
    """Embed subvolumes, one vector a file.

    Each is standardised by its own mean and deviation, whatever the network wants of a tomogram: a file of
    one window has no others.

    Parameters
    ----------
    loaded : the network; the work is done on its device, in float32.
    paths : MRC files of exactly the network's window, protein bright; they are used as they are.
    batch_size : subvolumes a pass through the network.
    progress : whether to show a progress bar.

    Returns
    -------
    The vectors in the order of the paths; the attribute ``contents`` tells each file's MD5.

    Raises
    ------
    InputError
        Before any computation, if a file cannot be used or there is none; after it, if the network gives
        values that are not finite.
    """
    require_window_size(loaded)
    require_batch_size(batch_size)
    if not paths:
        raise InputError("--volumes", "no subvolume was given", "Give MRC files or folders that hold some")
    for path in paths:
        read_subvolume(path, loaded.window_size)

    batches = []
    inference = Inference(loaded.network, loaded.device, Form())
    with tqdm(total=len(paths), unit="subvolume", disable=not progress) as bar:
        for first in range(0, len(paths), batch_size):
            batch = [read_subvolume(path, loaded.window_size) for path in paths[first : first + batch_size]]
            windows = torch.from_numpy(np.stack(batch)).to(loaded.device)
            batches.append(inference(standardise_window(windows)[:, None]).cpu().numpy())
            bar.update(len(batch))
    vectors = np.concatenate(batches)
    require_finite_vectors(vectors, loaded)
    attributes = {"tomotwin_lib_version": tomotwin_lib.__version__, **loaded.lineage()}
    embedding = ReferenceEmbedding(vectors, [str(path) for path in paths], attributes)
    attributes[CONTENTS] = dict(zip(embedding.names, map(md5_of_file, paths), strict=True))
    return embedding
