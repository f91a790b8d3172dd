"""The one error that users are meant to see."""

from __future__ import annotations

from pathlib import Path


class InputError(ValueError):
    """Something that a user gave cannot be used.

    The message names the source (file or option), the problem with the offending value, and the remedy.
    The shell prints it without a traceback; the platform shows it as the failure of a step.
    """

    def __init__(self, source: str | Path, problem: str, remedy: str) -> None:
        super().__init__(f"{source}: {problem.rstrip('.')}. {remedy.rstrip('.')}.")
        self.source = str(source)
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        # Exceptions cross process borders by pickle, which would call __init__ with the message alone.
        return type(self), (self.source, self.problem, self.remedy)
