"""The stages computed as TomoTwin does, written afresh from descriptions of its method.

The method is published (Rice et al., Nature Methods 20, 871, 2023) and documented with the program; no line
is TomoTwin's. What the descriptions leave open is answered in favour of TomoTwin's side, and each module says
where. All of it runs on the same number of threads as ours, without files, frames or progress bars.
"""
