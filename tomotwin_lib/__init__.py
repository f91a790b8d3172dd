"""Particle picking in cryo-electron tomograms by deep metric learning: the plain library.

Imports nothing of Dagster, so it can be used from a shell, a notebook or another pipeline.
"""

__version__ = "0.1.0"
