"""Limits of similarity that flags give."""

from __future__ import annotations

from tomotwin_lib.errors import InputError


def check_similarity(flag: str, value: float, lowest: float, highest: float, told: str) -> None:
    """Refuse a limit that no cosine can reach, such as 80 where 0.80 is meant.

    Parameters
    ----------
    flag, value : the option and what it was given.
    lowest, highest : between what the similarities lie. Other distances than the cosine have other ranges,
        and not every file tells its distance: where these two leave -1 to 1, every limit passes, as it does
        where there are none (NaN, or ``lowest`` above ``highest``).
    told : how the message begins to say what they are: "The picks have".

    Raises
    ------
    InputError
        If it is not between -1 and 1, and they are.
    """
    if -1 <= value <= 1 or not -1 <= lowest <= highest <= 1:
        return
    meant = f"Did you mean {value / 100:.2f}? " if 10 <= abs(value) <= 100 else ""
    raise InputError(
        flag,
        f"{value:g} is no similarity between -1 and 1",
        f"{meant}{told} {lowest:.3f} to {highest:.3f}",
    )
