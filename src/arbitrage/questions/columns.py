"""Values of a data set's columns: what counts as absent, what is text, a number, a truth; which columns there are.

A value is absent where it is NaN, null, an empty or blank text, an empty list, or where the row lacks the column: data
sets write all of these for the same thing. Every fault names the row, the column and the value.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from arbitrage.config.questions import Columns
from arbitrage.questions.files import Row
from arbitrage.questions.normal_form import QuestionError

OPTIONAL = ("context", "several", "unit", "tolerance", "answer_type")  # may be absent in a row, or in the file
LOST = {"nan", "none", "null", "<na>", "n/a", "nat"}  # how programs write a value that they have lost
ALSO_CALLED = {
    "problem": ("question", "prompt", "input", "query"),
    "answer": ("final_answer", "gold", "target", "label", "ground_truth", "expected_answer"),
    "solution": ("answer", "cot", "reasoning", "explanation", "response"),
}


class Reader:
    """Reads one row's columns by what the configuration calls them."""

    def __init__(self, raw: Row, where: str) -> None:
        self.raw, self.where = raw, where

    def absent(self, column: str | None) -> bool:
        """Whether the row has nothing there; True where there is no such column at all."""
        return column is None or is_absent(self.raw.get(column))

    def text(self, column: str, blank: bool = False) -> str:
        """A text, as it stands. With `blank` an absent one is empty; else QuestionError."""
        value: Any = self.raw.get(column)
        if is_absent(value) and blank:
            return ""
        if not isinstance(value, str) or is_absent(value) or value.strip().lower() == "nan":
            raise self.fault(column, "a text")
        return self._whole(value, column)

    def optional_text(self, column: str | None) -> str | None:
        """A text, or None where it is absent. A lost value written as text (`nan`) is a fault."""
        if column is None or self.absent(column):
            return None
        value = self.raw[column]
        if not isinstance(value, str) or value.strip().lower() in LOST:
            raise self.fault(column, "a text, or nothing")
        return self._whole(value, column)

    def texts(self, column: str, numbers: bool = False) -> list[str]:
        """A text as a list of one, or a list of texts, none absent; with `numbers`, numbers are written out."""
        value = self.raw.get(column)
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        written: list[Any] = [number_text(each) if numbers else each for each in values]
        if not written or not all(isinstance(each, str) and not is_absent(each) for each in written):
            raise self.fault(column, "a text or a list of texts" + (", numbers among them" if numbers else ""))
        if any(each.strip().lower() == "nan" for each in written):
            raise self.fault(column, "an answer")
        return [self._whole(each, column) for each in written]

    def name(self, column: str) -> str:
        """A text or a number that names something, such as an id."""
        value = number_text(self.raw.get(column))
        if not isinstance(value, str) or is_absent(value):
            raise self.fault(column, "a text or a number")
        return self._whole(value, column)

    def truth(self, column: str | None) -> bool:
        """True or false, as such, as 0 and 1, or as these words; absent is false."""
        if column is None or self.absent(column):
            return False
        value = self.raw[column]
        word = value.strip().lower() if isinstance(value, str) else value
        if word in (True, "true", "1"):  # 1 and 1.0 equal True
            return True
        if word in (False, "false", "0"):
            return False
        raise self.fault(column, "true or false")

    def tolerance(self, column: str | None) -> float | None:
        """A number that is not negative, as such or as text; None where absent."""
        if column is None or self.absent(column):
            return None
        value = self.raw[column]
        try:
            number = float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else math.nan
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or number < 0:
            raise self.fault(column, "a number such as 1e-1, or nothing")
        return number

    def fault(self, column: str, expected: str) -> QuestionError:
        """What is wrong with the value of a column."""
        shown = repr(self.raw.get(column))
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        return QuestionError(
            f"{self.where}: column {column!r} is {shown}, expected {expected}; correct or remove the row"
        )

    def _whole(self, text: str, column: str) -> str:
        """The text. Raises QuestionError where a character of it is half of one: no file can hold it."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise QuestionError(
                f"{self.where}: column {column!r} holds {text[error.start]!a}, half a character; mend the row"
            ) from error
        return text


def is_absent(value: Any) -> bool:
    """Whether a value stands for none: None, NaN, a blank text, an empty list."""
    if value is None or (isinstance(value, (float, Decimal)) and value != value):
        return True
    return not value.strip() if isinstance(value, str) else isinstance(value, (list, tuple, dict)) and not value


def number_text(value: Any) -> Any:
    """A finite number as people write it (27.0 as 27, 1e22 in full); any other value as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)) or not math.isfinite(value):
        return value
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return f"{exact.to_integral_value() if exact == exact.to_integral_value() else exact.normalize():f}"


def checked(rows: Iterable[tuple[str, Row]], columns: Columns, ready: bool) -> Iterator[tuple[str, Row]]:
    """`rows`, unless columns are missing: all of them at once.

    The first row must have every column that a question needs. Of the others, those that the study itself names must
    be in some row; a file made for a ready entry may lack them.
    """
    named = {key: name for key, name in columns.model_dump().items() if name is not None}
    needed = {key: name for key, name in named.items() if key not in OPTIONAL}
    unseen = set() if ready else {name for key, name in named.items() if key in OPTIONAL}
    first = True
    for where, raw in rows:
        if first:
            missing = {key: name for key, name in needed.items() if name not in raw}
            if missing:
                raise QuestionError(f"{where}: {_missing(missing, sorted(map(str, raw)), named)}")
            first = False
        unseen -= raw.keys()
        yield where, raw
    if unseen and not first:
        names = ", ".join(map(repr, sorted(unseen)))
        raise QuestionError(f"{where}: no row up to here has the column {names}; correct its name in `columns`")


def _missing(missing: dict[str, str], there: Sequence[str], named: dict[str, str]) -> str:
    """Which columns are not there, which are, and what to write into the study."""
    names = ", ".join(repr(name) for name in dict.fromkeys(missing.values()))
    free = [name for name in there if name not in named.values()]
    guesses = {}
    for key, name in missing.items():
        near = [each for each in ALSO_CALLED.get(key, ()) if each in free]
        near += difflib.get_close_matches(name, there, n=1)
        if near:
            guesses[key] = near[0]
    keys = ", ".join(f"{key}: {guesses.get(key, '...')}" for key in missing)
    plural = "s" if len(set(missing.values())) > 1 else ""
    return f"no column{plural} {names} among {list(there)}; say what they are called here: `columns: {{{keys}}}`"
