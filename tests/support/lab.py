"""Variations of the default study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from arbitrage.config.load import validate_config
from arbitrage.config.study import Study

ROOT = Path(__file__).resolve().parents[2]
NAMED = ("models", "pairs", "benchmarks")


def lab_study(**changes: Any) -> Study:
    """The default study with `changes`: models, pairs and benchmarks are replaced, keys of other sections set."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    for key, value in changes.items():
        config[key] = config.get(key, {}) | value if isinstance(value, dict) and key not in NAMED else value
    return validate_config(config)
