"""How fast this library is, beside TomoTwin's way of computing the same: ``python -m benchmarks``.

Each stage (:mod:`benchmarks.stages`) makes its input from a fixed seed, lets both sides compute it, checks
that they give the same, and only then times them, in turns. Nothing outside the repository is needed.
"""
