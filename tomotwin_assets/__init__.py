"""The picking pipeline as Dagster assets: orchestration only, the science is in ``tomotwin_lib``."""
