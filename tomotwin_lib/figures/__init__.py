"""Pictures that answer "is this right?": picks on slices, similarity, training curves, scores.

Every function returns a :class:`matplotlib.figure.Figure` made without pyplot, so that nothing leaks and
threads do not disturb each other. Write one with :func:`save_figure`, or embed it with :func:`png_bytes`.
"""

from __future__ import annotations

from tomotwin_lib.figures.beside import picks_beside_similarity, score_histogram
from tomotwin_lib.figures.charts import score_bars, similarity_histogram, steps_curve, training_curve
from tomotwin_lib.figures.galleries import similarity_slices, subvolume_gallery
from tomotwin_lib.figures.leaderboards import leaderboard_chart
from tomotwin_lib.figures.picks import MOST_PICKS, orthoslices_with_picks
from tomotwin_lib.figures.precision_recall import precision_recall_chart
from tomotwin_lib.figures.simulated import simulated_slices
from tomotwin_lib.figures.style import PALETTE, drawn, encoded, png_bytes, save_figure, shrunk

__all__ = [
    "MOST_PICKS",
    "PALETTE",
    "drawn",
    "encoded",
    "leaderboard_chart",
    "orthoslices_with_picks",
    "picks_beside_similarity",
    "png_bytes",
    "precision_recall_chart",
    "save_figure",
    "score_bars",
    "score_histogram",
    "shrunk",
    "similarity_histogram",
    "similarity_slices",
    "simulated_slices",
    "steps_curve",
    "subvolume_gallery",
    "training_curve",
]
