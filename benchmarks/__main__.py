"""``python -m benchmarks``: measure, and write a table, JSON and a picture."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import commit, describe, usable_cores
from benchmarks.report import markdown_table, write_report
from benchmarks.stages import ONLY_IF_ASKED, STAGES
from benchmarks.timing import Settings
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import ensure_writable_folder

RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stages that the arguments name; returns the exit status."""
    options = _parser().parse_args(arguments)
    stages = options.stages or [name for name in STAGES if name not in ONLY_IF_ASKED]
    if options.large:
        stages = list(ONLY_IF_ASKED)
    settings = Settings(options.quick, options.threads, options.rounds)
    try:
        ensure_writable_folder(options.output)
        machine = describe(settings)
        print(f"{machine}.", flush=True)
        results = []
        for stage in stages:
            start = time.monotonic()
            found = STAGES[stage](settings)
            results += found
            print(f"\n{stage}, {time.monotonic() - start:.0f} s\n{markdown_table(found)}", flush=True)
        date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        stem = "large" if options.large else "benchmarks"
        paths = write_report(options.output, stem, machine, commit(), date, results)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    missed = [result.name for result in results if any(one.met is False for one in result.requirements())]
    print("\n" + "\n".join(str(path) for path in paths))
    print(f"missed what is required: {', '.join(missed)}" if missed else "all that is required was met")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time the library beside TomoTwin's way of computing the same: ten minutes on two cores.",
    )
    parser.add_argument(
        "--stages", nargs="+", choices=list(STAGES), help="only these; all but large by default"
    )
    parser.add_argument(
        "--large", action="store_true",
        help="only the tomogram of 300 × 1000 × 1000 voxels, to its picks: half an hour on two cores",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="tiny inputs: to see that it works, not how fast"
    )
    parser.add_argument(
        "--output", type=Path, default=RESULTS, metavar="FOLDER", help="for the results (%(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, default=usable_cores(), metavar="N", help="of each side (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="turns of the sides (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
