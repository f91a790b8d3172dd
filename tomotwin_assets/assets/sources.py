"""What the lab puts into the data folder: not made here, only noticed (see ``registration``)."""

import dagster as dg

from tomotwin_assets.partitions import models, tomograms

SUBVOLUMES = "subvolumes"
REFERENCES = "references"
MODELS = "models"
TOMOGRAMS = "tomograms"
GROUND_TRUTH = "ground_truth"

folders = [
    dg.AssetSpec(
        SUBVOLUMES,
        description="`subvolumes/train` and `subvolumes/valid`: labelled subvolumes of 37³ voxels, protein "
        "bright, class in the file name. Needed only to train a network.",
        kinds={"mrc"},
    ),
    dg.AssetSpec(
        REFERENCES,
        description="`references/`: one subvolume of 37³ voxels, protein bright, for each particle to be "
        "found; and the box sizes in `ground_truth/boxsizes.json`, where there are any.",
        kinds={"mrc"},
    ),
    dg.AssetSpec(
        MODELS,
        description="`models/`: a `.json` configuration for each network to be trained, a `.pth` checkpoint "
        "for each one to be imported. The file's name names the partition. Networks that come with the "
        "library, as `default`, are models without a file here; one of yours with the same name goes first.",
        kinds={"json"},
        partitions_def=models,
    ),
    dg.AssetSpec(
        TOMOGRAMS,
        description="`tomograms/`: reconstructed tomograms, protein dark. The file's name names the "
        "partition.",
        kinds={"mrc"},
        partitions_def=tomograms,
    ),
    dg.AssetSpec(
        GROUND_TRUTH,
        description="`ground_truth/<tomogram>.txt`: class and position (voxels) of each particle, where "
        "they are known.",
        kinds={"csv"},
        partitions_def=tomograms,
    ),
]
