"""What the paper reports in words and tables, to be set beside our results. Points of its figures are not published."""

SOURCE = "arXiv 2512.05033 (v2)"
DEFERRAL = 0.7  # where Fig. 3 is quoted
WASTED_ABOUT = (0.35, 0.45)  # our reading of "about 40 % of all steps wasted at 70 % deferral"
BETTER_ABOUT = (0.35, 0.45)  # our reading of "P(better) about 0.4 over most thresholds"
NEARLY_ALL = 0.9  # our reading of "nearly all acceptance rates": so much of the range that both policies cover
CLOSE = 0.02  # our reading of "close to the oracle": within so much accuracy on average over acceptance
SPEEDUPS = "1.62x (MATH500, 4bit-8B/8B) and 1.97x (OlympiadBench, 1B/8B)"
RHO = 0.1508
