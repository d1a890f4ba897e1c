"""Units of measurement: which two mean the same quantity, and how many of one make one of the other."""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from arbitrage.grading.notation import TRIGONOMETRIC

# name | dimension | factor to the first of its dimension | other names
_TABLE = """
m | length | 1 | meter meters metre metres
km | length | 1000 | kilometer kilometers kilometre kilometres kms
cm | length | 1/100 | centimeter centimeters centimetre centimetres cms
mm | length | 1/1000 | millimeter millimeters millimetre millimetres
dm | length | 1/10 | decimeter decimeters decimetre decimetres
nm | length | 1/1000000000 | nanometer nanometers
in | length | 254/10000 | inch inches
ft | length | 3048/10000 | foot feet
yd | length | 9144/10000 | yard yards yds
mi | length | 1609344/1000 | mile miles
s | time | 1 | second seconds sec secs
ms | time | 1/1000 | millisecond milliseconds
min | time | 60 | minute minutes mins
h | time | 3600 | hour hours hr hrs
day | time | 86400 | days d
week | time | 604800 | weeks wk wks
month | months | 1 | months
year | months | 12 | years yr yrs
decade | months | 120 | decades
century | months | 1200 | centuries
g | mass | 1 | gram grams gm gms
kg | mass | 1000 | kilogram kilograms kgs kilo kilos
mg | mass | 1/1000 | milligram milligrams
t | mass | 1000000 | tonne tonnes
ton | pounds | 2000 | tons
lb | pounds | 1 | lbs pound pounds
oz | pounds | 1/16 | ounce ounces
l | volume | 1/1000 | L liter liters litre litres
ml | volume | 1/1000000 | mL milliliter milliliters millilitre millilitres
cup | cups | 1 | cups
pint | cups | 2 | pints pt
quart | cups | 4 | quarts qt
gallon | cups | 16 | gallons gal
teaspoon | spoons | 1 | teaspoons tsp
tablespoon | spoons | 3 | tablespoons tbsp
acre | area | 40468564224/10000000 | acres
hectare | area | 10000 | hectares ha
rad | angle | 1 | radian radians rads
degree | degrees | 1 | degrees deg degs
dollar | money | 1 | dollars usd USD
cent | money | 1/100 | cents
euro | euro | 1 | euros EUR
pence | sterling | 1/100 | penny
poundsterling | sterling | 1 | GBP
rupee | rupee | 1 | rupees Rs rs INR
yen | yen | 1 | JPY
mph | length/time | 1609344/3600000 |
kph | length/time | 1000/3600 | kmh kmph
N | N | 1 | newton newtons
J | J | 1 | joule joules
kJ | J | 1000 | kilojoule kilojoules
W | W | 1 | watt watts
kW | W | 1000 | kilowatt kilowatts
MW | W | 1000000 | megawatt megawatts
V | V | 1 | volt volts
A | A | 1 | amp amps ampere amperes
Hz | Hz | 1 | hertz
Pa | Pa | 1 | pascal pascals
K | K | 1 | kelvin kelvins
C | celsius | 1 | celsius
F | fahrenheit | 1 | fahrenheit
mol | mol | 1 | mole moles mols
percent | percent | 1 | percents pct %
unit | unit | 1 | units
am | am | 1 | a.m. a.m
pm | pm | 1 | p.m. p.m
dozen | dozen | 1 | dozens
"""
_LOWERCASE_TOO = frozenset(["kg", "km", "cm", "am", "pm"])  # KG, Km, PM: no other unit has these letters
_COMPOUND = re.compile(
    r"(\d+(?:\.\d+)?) ?(?:\\text\{)?([a-z]+)\}? ?(?:\\text\{and\}|,)? ?\}? ?"
    r"(\d+(?:\.\d+)?) ?(?:\\text\{)?([a-z]+)\}?"
)
_POWER_WORDS = (("square", "2"), ("sq", "2"), ("cubic", "3"), ("cu", "3"))
_SHORT_UNITS = frozenset(["cm", "km", "mm", "kg", "ft", "in", "lb", "oz", "yd", "hr", "am", "pm", "mL"])
_VERBS = ("is ", "are ", "must ", "has ")  # "n is odd" says something of n
_CHANGING = re.compile(  # words behind a number that make it another one, as other numbers there do
    r"\b(?:squared|cubed|factorial|hundreds?|(?:thir|four|fif|six|seven|eigh|nin|ten|hundred|thousand)(?:th|d)s?"
    r"|zero|mod(?:ulo)?|choose|base|power|minus|plus)\b"
)
_UNIT = re.compile(
    r"(.*?[\w})\]^])\s*(?:((?:\\?%)?\\text\s*\{[^{}]*\}\.?(?:\^\{?-?\d\}?)?(?:[/\\a-z]*\\text\s*\{[^{}]*\}(?:\^\{?-?\d\}?)?)*)"
    r"|(?<=[\d} ])([A-Za-z]{1,12}(?:/[a-z]+)?(?: [a-z]{2,12}){0,2}(?:\^\{?\d\}?)?))"
)
# 20 % increase, 5 cm long, 3 years old, 2 hours more; not "below zero" or "per day", which change the value.
_IN = "total|all|length|width|height|depth|area|volume"  # "5 in total" are no inches
_SAID_OF_UNIT = re.compile(
    rf"(?!in (?:{_IN})$)(.+?) ((?:in )?(?:{_IN})|of (?!.*\b(?:an?|one|each)\b)[a-z ]+"
    r"|increased?|decreased?|growth|gain|rise|drop|profit|loss|discount|off|reduction|more|less|greater|larger|smaller"
    r"|higher|lower|faster|slower|longer|shorter|taller|older|younger|earlier|later|long|wide|high|tall|deep|thick|old"
    r"|apart|away|each|altogether)"
)


@dataclass(frozen=True)
class Unit:
    """powers: of each dimension, sorted; factor: how many of the dimensions' first units make one of this one."""

    powers: tuple[tuple[str, int], ...]
    factor: Fraction

    def is_plain(self, dimension: str) -> bool:
        """Whether this is the dimension itself, unscaled: `percent`, `degrees`."""
        return self.powers == ((dimension, 1),) and self.factor == 1


def _read_table() -> dict[str, tuple[str, Fraction]]:
    names: dict[str, tuple[str, Fraction]] = {}
    for line in _TABLE.strip().splitlines():
        name, dimension, factor, others = (part.strip() for part in line.split("|"))
        names |= dict.fromkeys([name, *others.split()], (dimension, Fraction(factor)))
    return names


_NAMES = _read_table()


@lru_cache(maxsize=10_000)
def read_unit(text: str) -> Unit | None:
    r"""The unit that a text names ("square inches", "km/h", "meters per second", "cm^2", "^\circ"); None if unknown."""
    text = re.sub(r"\\(?:text|mathrm)|[{}$~]", " ", text).replace("\\%", "%").replace("\\cdot", "*").strip()
    text = re.sub(r"\\[,;:! ]", " ", text).strip().rstrip(".") if not re.fullmatch(r"[ap]\.m\.", text.strip()) else text
    text = re.sub(r"\^?\s*\\circ(?![a-z])", " degree ", text).strip()
    text = re.sub(r"\bper cent\b", "percent", text)
    text = re.sub(r"(?i)degrees?\s+(celsius|fahrenheit|[CF]\b)", r"\1", text)
    powers: dict[str, int] = {}
    factor, sign, pending = Fraction(1), 1, 1
    tokens = re.findall(
        r"[a-zA-Z]+(?:\.[a-zA-Z]\.?)*|[%/*]|\^\s*-?\d|\S", text.replace("-", " ") if "^" not in text else text
    )
    if not any(token[0].isalpha() or token == "%" for token in tokens):
        return None
    last: tuple[str, int] | None = None
    for token in tokens:
        if token in ("/", "per"):
            sign = -1
        elif token in ("*", ".", "a", "an", "of", "arc"):
            continue
        elif token[0] == "^":
            if last is None:
                return None
            factor *= _NAMES[last[0]][1] ** (last[1] * (int(token[1:]) - 1))
            _add(powers, last[0], last[1] * (int(token[1:]) - 1))
        elif token.lower() in ("squared", "cubed") and last is not None:
            more = 1 if token.lower() == "squared" else 2
            factor *= _NAMES[last[0]][1] ** (last[1] * more)
            _add(powers, last[0], last[1] * more)
        elif power := dict(_POWER_WORDS).get(token.lower()):
            pending = int(power)
        elif name := _known(token):
            last = (name, sign * pending)
            factor *= _NAMES[name][1] ** last[1]
            _add(powers, name, last[1])
            pending = 1
        else:
            return None
    return Unit(tuple(sorted((dimension, power) for dimension, power in powers.items() if power)), factor)


def without_unit(text: str) -> tuple[str, Unit | None, str]:
    r"""(the rest, its unit or None, words that are no unit): "5\text{ cm}^2" is 5 and cm^2, "50\%" is 50 and per cent.

    Words that are no unit are taken off where they stand in \text{...}; "units" says nothing and goes like these.
    """
    for ending in (r"\%", "%", r"^\circ"):
        if text.endswith(ending) and len(text) > len(ending) and not (ending[0] == "^" and TRIGONOMETRIC.search(text)):
            return text[: -len(ending)].strip(), read_unit(ending), ""
    match = _UNIT.fullmatch(text)
    if match is None:
        return text, None, ""
    rest, wrapped, bare = match.groups()
    unit = read_unit(wrapped or bare)
    if unit and all(dimension == "unit" for dimension, _ in unit.powers):
        return rest.strip(), None, ""
    if wrapped is None:
        # A letter or two after a digit are variables (3m, 2rs), but for a few that nobody multiplies.
        return (rest.strip(), unit, "") if unit and (len(bare) > 2 or bare in _SHORT_UNITS) else (text, None, "")
    words = "" if unit else " ".join(re.findall(r"[a-z]+|%", re.sub(r"\\text", "", wrapped).lower()))
    if (said := _SAID_OF_UNIT.fullmatch(words)) and read_unit(said[1]):
        unit, words = read_unit(said[1]), said[2]
    changed = not unit and (words.startswith(_VERBS) or _CHANGING.search(words) or re.search(r"\d", wrapped))
    if rest.endswith(("^", "_")) or changed:
        return text, None, ""
    return (rest.removesuffix("^\\circ").strip(), unit, words)


def one_quantity(text: str) -> str:
    r"""`text` (plain) with two units of one kind made one: 5 feet 6 inches, 5\text{dollars}\text{and}50\text{cents}."""
    match = _COMPOUND.fullmatch(text)
    if match is None:
        return text
    number, name, smaller, other_name = match.groups()
    unit, other = read_unit(name), read_unit(other_name)
    if unit is None or other is None or unit.powers != other.powers or unit.factor <= other.factor:
        return text
    value = Fraction(number) + Fraction(smaller) * other.factor / unit.factor
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}\\text{{{name}}}"


def _add(powers: dict[str, int], name: str, power: int) -> None:
    dimension = _NAMES[name][0]
    if dimension == "length/time":
        powers["length"] = powers.get("length", 0) + power
        powers["time"] = powers.get("time", 0) - power
    elif dimension in ("area", "volume"):
        powers["length"] = powers.get("length", 0) + (2 if dimension == "area" else 3) * power
    else:
        powers[dimension] = powers.get(dimension, 0) + power


def _known(word: str) -> str | None:
    if word in _NAMES:
        return word
    lower = word.lower()
    return lower if lower in _NAMES and (len(lower) > 2 or lower in _LOWERCASE_TOO) else None
