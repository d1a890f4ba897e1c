"""What the paper says, as regions in which a number of ours would have to lie; readings of its words are our own."""

from __future__ import annotations

from math import inf

DEFERRAL = 0.7  # where Fig. 3 is quoted
WASTED_ABOUT = (0.35, 0.45)  # our reading of "about 40 % of all steps wasted at 70 % deferral"
BETTER_ABOUT = (0.35, 0.45)  # our reading of "P(better) about 0.4 over most thresholds": its median over 0.1 ... 0.9
CLOSE = 0.02  # our reading of "close to the oracle": within so much accuracy on average over acceptance
MARGIN = 0.02  # our reading of "at nearly all rates": nowhere below by more than so much accuracy

FEWEST = 100  # questions, or held-out steps: no verdict on fewer
LEAST_COVERED = 0.5  # of a common range: no verdict where fewer of its rates have operating points

Region = tuple[float, float]

# metric, policy, against: the open region that the claim allows
REGIONS: dict[tuple[str, str, str | None], Region] = {
    ("mean_gain", "router", "rsd"): (0.0, inf),
    ("mean_gain", "oracle", "router"): (-CLOSE, CLOSE),
    ("wasted", "rsd", None): WASTED_ABOUT,
    ("better", "rsd", None): BETTER_ABOUT,
    ("typical", "router", "rsd"): (1.0, inf),
}
