"""Published data, fetched into the data folder when somebody asks for them, and only then."""

import hashlib

import dagster as dg
import pandas as pd
from pydantic import Field

from tomotwin_assets import metadata
from tomotwin_assets.progress import show_bars
from tomotwin_assets.resources import DataFolder
from tomotwin_lib.published.fetching import fetch
from tomotwin_lib.published.listing import size_text
from tomotwin_lib.published.receipts import Fetched
from tomotwin_lib.published.records import PUBLISHED, published

_THERE_ARE = "; ".join(f"{data.name}: {data.what}" for data in PUBLISHED.values())


class PublishedDataConfig(dg.Config):
    """What to fetch."""

    names: list[str] = Field(
        default=[],
        description=f"What to fetch into the data folder. {_THERE_ARE}. Empty: nothing.",
    )


# No stage has it, so `tomotwin-platform run` never downloads; and with nothing asked for, nor does
# materialising everything in the UI.
@dg.asset(kinds={"zenodo"}, code_version="1")
def published_data(
    context: dg.AssetExecutionContext, config: PublishedDataConfig, data_folder: DataFolder
) -> dg.MaterializeResult[None]:
    """What TomoTwin's authors have published, fetched by name into the folders beside this.

    Say in the launchpad what to fetch: training subvolumes, an evaluation tomogram with references and true
    positions, box sizes, trained weights. What is in the data folder is never overwritten, and what was
    fetched before is not fetched again.
    """
    for name in config.names:
        published(name)  # before the first long download
    fetched = [
        fetch(name, data_folder.path, progress=show_bars(), tell=context.log.info)
        for name in dict.fromkeys(config.names)
    ]
    files = [file for one in fetched for file in one.files]
    size = sum(one.size for one in fetched)
    return dg.MaterializeResult(
        metadata={
            "summary": _summary(fetched, len(files), size),
            "dagster/row_count": len(files),
            "size_in_mb": round(size / 1e6, 3),
            "records": metadata.table(
                pd.DataFrame(
                    [(one.name, one.page, one.title, one.licence) for one in fetched],
                    columns=["name", "record", "title", "licence"],
                )
            ),
            "downloads": metadata.table(
                pd.DataFrame(
                    [
                        (file.name, None if file.size is None else file.size / 1e6, file.checksum, file.url)
                        for one in fetched
                        for file in one.downloads
                    ],
                    columns=["file", "size_in_mb", "checksum", "url"],
                )
            ),
            "files": metadata.table(
                pd.DataFrame(
                    [(file.path, file.size / 1e6, file.md5) for file in files],
                    columns=["file", "size_in_mb", "md5"],
                )
            ),
            "left_out": sum(len(one.left_out) for one in fetched),
            "path": dg.MetadataValue.path(data_folder.path),
        },
        data_version=_version(fetched),
    )


def _summary(fetched: list[Fetched], files: int, size: int) -> str:
    if not fetched:
        return f"nothing was asked for; the launchpad takes names: {', '.join(PUBLISHED)}"
    new = [one.name for one in fetched if not one.reused]
    there = [one.name for one in fetched if one.reused]
    told = [f"fetched {', '.join(new)}"] if new else []
    told += [f"there already: {', '.join(there)}"] if there else []
    return f"{files:,} file{'' if files == 1 else 's'}, {size_text(size)}; {'; '.join(told)}"


def _version(fetched: list[Fetched]) -> dg.DataVersion:
    """Changes with what was fetched, not with when."""
    content = sorted((file.path, file.md5) for one in fetched for file in one.files)
    return dg.DataVersion(hashlib.sha256(repr(content).encode()).hexdigest())
