"""Families of generated questions. The order decides which family reads a question first; each reads only its own."""

from arbitrage.lab.families.base import SEPARATOR, Family, LabQuestion, Truth
from arbitrage.lab.families.bases import FromBase, ToBase
from arbitrage.lab.families.chain import Chain
from arbitrage.lab.families.fraction import FractionSum
from arbitrage.lab.families.gcd import GreatestCommonDivisor
from arbitrage.lab.families.linear import Linear
from arbitrage.lab.families.mix import Mix
from arbitrage.lab.families.modular import ModularPower
from arbitrage.lab.families.rates import UnitRates
from arbitrage.lab.families.running_sum import RunningSum
from arbitrage.lab.families.sequence import Sequence

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Chain(),
        Linear(),
        GreatestCommonDivisor(),
        ModularPower(),
        RunningSum(),
        Sequence(),
        FractionSum(),
        ToBase(),
        FromBase(),
        UnitRates(),
        Mix(),
    )
}

__all__ = ["FAMILIES", "SEPARATOR", "Family", "LabQuestion", "Truth"]
