"""How a threshold is given on the command line: as a number, as the file of `arbitrage calibrate`, or as an aim."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from arbitrage.cli.common import refuse_unknown
from arbitrage.config.policies import POLICIES
from arbitrage.config.study import Study

if TYPE_CHECKING:
    from arbitrage.evaluation.calibrate import Target


def setting(study: Study, threshold: str, pair: str | None, policy: str | None) -> tuple[str, str, float]:
    """Pair, policy and threshold: as given; else those that the threshold's file was made for, else the defaults.

    Raises BadParameter, where the file was made for others too.
    """
    number, calibrated = read_threshold(threshold)
    pair = pair or calibrated.get("pair") or next(iter(study.pairs))
    policy = policy or calibrated.get("policy") or "router"
    for name, here in (("policy", policy), ("pair", pair)):
        if (chosen_for := calibrated.get(name)) not in (None, here):
            message = f"{threshold} was chosen for {name} {chosen_for}, not {here}; calibrate again for {here}"
            raise typer.BadParameter(message, param_hint="--threshold")
    refuse_unknown(study, pair=pair)
    if policy not in POLICIES:
        raise typer.BadParameter(f"{threshold} names the policy {policy!r}, which does not exist")
    return pair, policy, number


def aimed_at(acceptance: str | None, accuracy: str | None, latency: str | None) -> Target:
    """The one aim that is given. Raises BadParameter."""
    from arbitrage.evaluation.calibrate import Target

    texts = {"acceptance": acceptance, "accuracy": accuracy, "latency": latency}
    aims = [(aim, text) for aim, text in texts.items() if text is not None]
    if len(aims) != 1:
        raise typer.BadParameter(f"got {len(aims)} aims; give one of --acceptance, --accuracy and --latency")
    ((aim, text),) = aims
    hint, relative = f"--{aim}", text.endswith("x")
    try:
        value = float(text.removesuffix("x"))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number", param_hint=hint) from None
    if aim == "latency":
        if not (relative and 0 < value < 1000):
            raise typer.BadParameter(f"{text}: expected a multiple of the target's speed: 1.5x", param_hint=hint)
    elif not 0 <= value <= 1 or (relative and aim == "acceptance"):
        raise typer.BadParameter(f"{text}: expected a share, 0 to 1, such as 0.8", param_hint=hint)
    return Target(aim, value, relative)  # type: ignore[arg-type]


def read_threshold(text: str) -> tuple[float, dict[str, Any]]:
    """A threshold, and what the file it stands in says besides. Raises BadParameter."""
    hint = "--threshold"
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        if not math.isfinite(number):
            raise typer.BadParameter(f"{text}: expected a finite number, such as 0.5", param_hint=hint)
        return number, {}
    try:
        calibrated = json.loads(Path(text).read_text(encoding="utf-8"))
        return float(calibrated["threshold"]), dict(calibrated)
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{text!r} is neither a number nor a file of `arbitrage calibrate` ({error})"
        raise typer.BadParameter(message, param_hint=hint) from error
