"""What the paper reports in words and tables, to be set beside our results. Points of its figures are not published.

The regions that its claims are read as are in `evaluation.paper_claims`.
"""

SOURCE = "arXiv 2512.05033 (v2)"
SPEEDUPS = "1.62x (MATH500, 4bit-8B/8B) and 1.97x (OlympiadBench, 1B/8B)"
RHO = 0.1508
