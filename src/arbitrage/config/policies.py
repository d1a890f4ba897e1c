"""The policies there are, one entry each: what configuration, evaluation, figures and the method itself know of them.

A policy is a score on a node of the step tree and a side of the threshold (docs/method.md). How it computes its score
is the class in the module of its name in `arbitrage.speculation.policies`; a new policy is that file and an entry here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from arbitrage.config.router import RouterKind

Need = Literal["draft", "target", "prm", "router"]
Report = Literal["logprobs", "entropies", "states"]


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """One policy.

    label: its name in legends. needs: the models it asks at every node; the target is asked besides wherever it
    escalates. target_reads: the target reads the draft's step at every node, and writes only where it escalates.
    router: the kind of router that decides; a variant of that kind is trained for it (`Study.variant_of`). always: who
    writes every step, of a policy without a threshold. accept_above: a score above the threshold accepts the draft's
    step (RSD) instead of escalating. reports: what it reads of the draft's step beyond its text; `states` are the
    draft's hidden ones.
    column: of the table `steps` (a trained one's: `heldout`) that holds its score, or "uniform" where that is known to
    be; None where neither is, and no quantiles can be taken. lowest: thresholds below it are of no use.
    by_default: swept where a study names no policies. timed: its latency is measured where it is swept. scope: "main"
    in Fig. 3, 4 and E.1, "appendix" in Fig. E.1 alone. layer: curves of a higher one are drawn on top. banded: with its
    interval. colour, line, marker: matplotlib's.
    """

    label: str
    needs: frozenset[Need]
    colour: str
    line: Any = "solid"
    layer: int = 0
    marker: str = "o"
    scope: Literal["main", "appendix"] = "appendix"
    banded: bool = False
    target_reads: bool = False
    router: RouterKind | None = None
    always: Literal["draft", "target"] | None = None
    accept_above: bool = False
    reports: frozenset[Report] = frozenset()
    column: str | None = None
    lowest: float = -math.inf
    by_default: bool = True
    timed: bool = False

    @property
    def has_threshold(self) -> bool:
        """Whether a threshold decides."""
        return self.always is None

    @property
    def trained(self) -> bool:
        """Whether it decides by a router, of which there are several trainings."""
        return self.router is not None

    @property
    def reads_scalars(self) -> bool:
        """Whether that router reads numbers that are there or that another model gives, so that it is no model."""
        return self.router not in (None, "classifier")


def _of(*needs: Need) -> frozenset[Need]:
    return frozenset(needs)


# The order is that of tables. Colours of the paper's policies are Okabe and Ito's; most others are Paul Tol's.
POLICIES: dict[str, PolicyEntry] = {
    "draft_only": PolicyEntry(
        "draft alone", _of("draft"), "#B8860B", (0, (6, 3)), marker="^", always="draft", timed=True
    ),
    "target_only": PolicyEntry(
        "target alone", _of("target"), "#000000", (0, (6, 3)), marker="v", always="target", timed=True
    ),
    "rsd": PolicyEntry(
        *("RSD", _of("draft", "prm"), "#D55E00", "solid", 4, "s", "main"),
        banded=True,
        accept_above=True,
        column="draft_score",
        timed=True,
    ),
    "oracle": PolicyEntry(
        *("Arbitrage oracle", _of("draft", "target", "prm"), "#009E73", (0, (5, 1.5)), 6, "D", "main"),
        banded=True,
        column="advantage",
        lowest=0.0,  # the paper's range: below it the oracle escalates steps that gain nothing, ties all at once
    ),
    "router": PolicyEntry(
        *("Arbitrage router", _of("draft", "router"), "#0072B2", "solid", 5, "o", "main"),
        banded=True,
        router="classifier",
        column="router_score",
        timed=True,
    ),
    "random": PolicyEntry("random control", _of("draft"), "#7F7F7F", (0, (1, 1)), 0, scope="main", column="uniform"),
    "confidence": PolicyEntry(
        *("draft confidence", _of("draft"), "#CC79A7", (0, (3, 1, 1, 1)), 1),
        reports=frozenset({"logprobs"}),
        column="draft_confidence",
    ),
    "first_token_entropy": PolicyEntry(
        *("first-token entropy", _of("draft"), "#56B4E9", (0, (4, 1, 1, 1, 1, 1)), 2),
        reports=frozenset({"entropies"}),
        by_default=False,
    ),
    "min_logprob": PolicyEntry(
        *("lowest token probability", _of("draft"), "#8C510A", (0, (2, 1)), 3),
        reports=frozenset({"logprobs"}),
        by_default=False,
    ),
    "target_likelihood": PolicyEntry(
        *("target's lowest probability", _of("draft"), "#882255", (0, (5, 1, 1, 1)), 3),
        target_reads=True,
        by_default=False,
        timed=True,
    ),
    "target_mean_likelihood": PolicyEntry(
        *("target's mean probability", _of("draft"), "#44AA99", (0, (3, 1, 1, 1, 1, 1)), 2),
        target_reads=True,
        by_default=False,
    ),
    "scalars": PolicyEntry(
        *("scalar router", _of("draft"), "#332288", (0, (7, 1)), 4),
        router="scalars",
        reports=frozenset({"logprobs"}),
        column="router_score",
        by_default=False,
        timed=True,
    ),
    "scalars_prm": PolicyEntry(
        *("scalar router + PRM", _of("draft", "prm"), "#AA4499", (0, (7, 1, 1, 1)), 4),
        router="scalars+prm",
        reports=frozenset({"logprobs"}),
        column="router_score",
        by_default=False,
        timed=True,
    ),
    "scalars_target": PolicyEntry(
        *("scalar router + target", _of("draft"), "#117733", (0, (7, 1, 1, 1, 1, 1)), 4),
        target_reads=True,
        router="scalars+target",
        reports=frozenset({"logprobs"}),
        column="router_score",
        by_default=False,
        timed=True,
    ),
    "probe": PolicyEntry(
        *("probe of the draft", _of("draft"), "#999933", (0, (9, 1)), 4),
        router="probe",
        reports=frozenset({"states"}),
        column="router_score",
        by_default=False,
        timed=True,
    ),
    "scalars_probe": PolicyEntry(
        *("scalar router + probe", _of("draft"), "#661100", (0, (9, 1, 1, 1)), 4),
        router="scalars+probe",
        reports=frozenset({"logprobs", "states"}),
        column="router_score",
        by_default=False,
        timed=True,
    ),
}
THRESHOLD_POLICIES: tuple[str, ...] = tuple(name for name, entry in POLICIES.items() if entry.has_threshold)
DEFAULT_POLICIES: tuple[str, ...] = tuple(name for name, entry in POLICIES.items() if entry.by_default)
TIMED_POLICIES: tuple[str, ...] = tuple(name for name, entry in POLICIES.items() if entry.timed)

if TYPE_CHECKING:
    PolicyName = str
    ThresholdPolicy = str
else:  # checked where they are read: by pydantic in a study, by typer on the command line
    PolicyName = Literal[tuple(POLICIES)]
    ThresholdPolicy = Literal[THRESHOLD_POLICIES]


def needing(model: Need) -> frozenset[str]:
    """Names of the policies that ask `model` at every node."""
    return frozenset(name for name, entry in POLICIES.items() if model in entry.needs)
