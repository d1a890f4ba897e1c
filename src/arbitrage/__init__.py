"""Arbitrage: step-level speculative reasoning, reproduced end to end (arXiv 2512.05033)."""

__version__ = "0.1.0"
