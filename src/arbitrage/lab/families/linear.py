"""Linear equations in x with a whole solution."""

import re
from fractions import Fraction
from random import Random

from arbitrage.lab.families.base import LabQuestion, Truth, Wording, choose, finish, integers, read_any

WORDINGS = (
    Wording("Solve {left} = {right} for x."),
    Wording("Find x if {left} = {right}."),
    Wording("What is the value of x when {left} = {right}?"),
)
SIDE = re.compile(r"(?:(?P<factor>\d+)\(x \+ (?P<inner>\d+)\)|(?P<coefficient>\d+)x)(?: \+ (?P<constant>\d+))?")
LARGEST_X = {1: 9, 2: 9, 3: 12}


def _read_side(text: str) -> tuple[int, int] | None:
    """The (coefficient, constant) of a side such as `7x + 12`, `3(x + 4) + 2` or `40`."""
    if text.isdigit():
        return 0, int(text)
    match = SIDE.fullmatch(text)
    if match is None:
        return None
    constant = int(match["constant"] or 0)
    if match["factor"]:
        return int(match["factor"]), int(match["factor"]) * int(match["inner"]) + constant
    return int(match["coefficient"]), constant


class Linear:
    """Solve 7x + 12 = 3x + 40 for x."""

    name = "linear"

    def generate(self, rng: Random, difficulty: int, wording: int | None = None) -> LabQuestion:
        """Write a question (see `Family.generate`)."""
        x = rng.randint(2, LARGEST_X[difficulty])
        gap = rng.randint(2, 6)
        right = 0 if difficulty == 1 else rng.randint(2, 5)
        left, added = right + gap, rng.randint(2, 9)
        inner = rng.randint(2, 6) if difficulty == 3 else 0
        constant = left * inner + added
        total = gap * x + constant
        far_inner = rng.randint(2, 5) if difficulty == 3 and right * 2 < total else 0
        far_added = total - right * far_inner
        if far_added < 1:
            far_inner, far_added = 0, total
        left_text = f"{left}(x + {inner}) + {added}" if inner else f"{left}x + {added}"
        right_text = f"{right}(x + {far_inner}) + {far_added}" if far_inner else f"{right}x + {far_added}"
        lines = []
        if difficulty == 1:
            right_text = str(total)
        if inner:
            lines += [f"{left}x + {left * inner} + {added} = {right_text}", f"{left}x + {constant} = {right_text}"]
        if far_inner:
            lines.append(f"{left}x + {constant} = {right}x + {right * far_inner} + {far_added}")
            lines.append(f"{left}x + {constant} = {right}x + {total}")
        if right:
            lines += [f"{left}x - {right}x + {constant} = {total}", f"{gap}x + {constant} = {total}"]
        lines += [f"{gap}x = {total} - {constant}", f"{gap}x = {gap * x}", f"x = {gap * x} / {gap}", f"x = {x}"]
        problem = choose(rng, WORDINGS, wording).fill(left=left_text, right=right_text)
        return LabQuestion(problem, finish(lines, str(x)), str(x), self.name)

    def truth(self, problem: str) -> Truth | None:
        """What is true of `problem`, or None if it is not a linear equation."""
        fields = read_any(WORDINGS, problem)
        if fields is None:
            return None
        left, right = _read_side(fields["left"]), _read_side(fields["right"])
        if left is None or right is None or left[0] == right[0]:
            return None
        coefficient, constant = left[0] - right[0], right[1] - left[1]
        x = Fraction(constant, coefficient)
        truth = Truth(answer=x, names={"x": x}, numbers={Fraction(number) for number in integers(problem)})
        # Any equation that x satisfies is equivalent to the question's; calculations without x must be its own.
        truth.add(coefficient, (left[0], right[0]))
        truth.add(constant, (left[1], right[1]))
        truth.add(x, (constant, coefficient))
        truth.add(x, (left[1], right[1], coefficient))
        for side in ("left", "right"):
            match = SIDE.fullmatch(fields[side])
            if match and match["factor"]:
                product = int(match["factor"]) * int(match["inner"])
                truth.add(product, (int(match["factor"]), int(match["inner"])))
                truth.add(product + int(match["constant"] or 0), (product, int(match["constant"] or 0)))
        return truth
