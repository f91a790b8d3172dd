"""Checks of the arguments that networks take from a configuration."""

from __future__ import annotations

from numbers import Integral, Real

from tomotwin_lib.errors import InputError


def require_integer(name: str, value: object, minimum: int) -> int:
    """``value`` as an int of at least ``minimum``.

    Raises
    ------
    InputError
        If it is something else; the argument's name, value and bounds are in the message.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise InputError(
            f"network_config.{name}", f"{value!r} is not possible", f"Give a whole number ≥ {minimum}"
        )
    return int(value)


def require_number(name: str, value: object, minimum: float, below: float = float("inf")) -> float:
    """``value`` as a float with ``minimum`` ≤ value < ``below``.

    Raises
    ------
    InputError
        If it is something else; the argument's name, value and bounds are in the message.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not minimum <= float(value) < below:
        bounds = f"≥ {minimum:g}" + ("" if below == float("inf") else f" and < {below:g}")
        raise InputError(f"network_config.{name}", f"{value!r} is not possible", f"Give a number {bounds}")
    return float(value)


def require_boolean(name: str, value: object) -> bool:
    """``value``, if it is true or false.

    Raises
    ------
    InputError
        If it is something else.
    """
    if not isinstance(value, bool):
        raise InputError(f"network_config.{name}", f"{value!r} is not possible", "Give true or false")
    return value
