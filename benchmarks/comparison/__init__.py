"""Picking methods compared on simulated tomograms: what ``benchmarks.compare_methods`` is made of."""
