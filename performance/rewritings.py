r"""Other ways to write a gold answer that mean the same, and near misses that do not: what a grader is measured with.

The rewritings are made by rules on the text, without the grader's own parsing, so that an error there shows here.
"""

import re
from collections.abc import Iterator
from fractions import Fraction

from arbitrage.grading.extract import split_outside

_FRACTION = re.compile(r"(-?)\\d?frac ?\{?(-?\d+?)\}? ?\{?(\d+)\}?")
_ROOT = re.compile(r"(-?)(\d*) ?\\sqrt\{(\d+)\}")
_NAMED = re.compile(r"[a-zA-Z](?:\([a-z]\))? ?= ?([^=]+)")
_SUM = re.compile(r"([^-+()\[\],=<>&]+?) ?([-+]) ?([^-+()\[\],=<>&]+)")
_ENDS = re.compile(r"([(\[])(.*)([)\]])", re.DOTALL)


def equivalents(answers: list[str]) -> list[str]:
    """Rewritings of a question's gold answers as one answer text each, without doubles and without the text itself."""
    first, *rest = [answer.strip().strip("$").strip() for answer in answers]
    written = [", ".join([other, *rest]) for other in _of_one(first)]
    whole = ", ".join([first, *rest])
    written += _looks(whole)
    if rest:
        turned = [*reversed(rest), first]
        written += [
            ", ".join(turned),
            ",".join(turned),
            r" \text{ and } ".join(turned),
            r"\{" + ", ".join(turned) + r"\}",
        ]
    return [text for text in dict.fromkeys(written) if text != whole]


def wrongs(answers: list[str]) -> list[str]:
    """Answers that are near the gold answers and wrong."""
    first, *rest = [answer.strip().strip("$").strip() for answer in answers]
    misses = [other for other in _misses(first) if other.strip() not in [first, *rest]]
    written = [", ".join([other, *rest]) for other in misses]
    if rest:
        written += [", ".join(rest), ", ".join([first, *rest, "7919"])]
    return list(dict.fromkeys(written))


def _looks(text: str) -> Iterator[str]:
    """Changes of looks that hold for any answer."""
    yield f"${text}$"
    yield f"{text}."
    yield text.replace(", ", ",").replace(",", r",\ ") if not re.search(r"\d,\d|,\\", text) else f" {text} "
    yield f"\\displaystyle {text}"
    if "\\frac" in text:
        yield re.sub(r"\\[d]?frac", r"\\dfrac", text)
        yield re.sub(r"\\[d]?frac", r"\\tfrac", text)
    if "\\left" in text:
        yield text.replace("\\left", "").replace("\\right", "")
    elif _ENDS.fullmatch(text) and text.count("(") + text.count("[") == 1:
        yield f"\\left{text[:-1]}\\right{text[-1]}"
    if re.search(r"[a-z0-9] ?[-+] ?[a-z0-9\\]", text) and "\\text" not in text:
        yield re.sub(r"(?<=\w) ?([-+]) ?(?=[\w\\])", r"\\,\1\\,", text)


def _of_one(text: str) -> Iterator[str]:
    """Rewritings of one answer's mathematics."""
    if named := _NAMED.fullmatch(text):
        yield named[1]
        yield from (f"{text.split('=')[0]}={other}" for other in _of_one(named[1].strip()))
        return
    if re.fullmatch(r"-?\d+", text):
        yield from _integer(int(text))
    elif re.fullmatch(r"-?\d*\.\d+", text):
        value = Fraction(text)
        yield from (
            f"{text}0",
            f"\\frac{{{value.numerator}}}{{{value.denominator}}}",
            f"{value.numerator}/{value.denominator}",
        )
        yield (
            text.lstrip("0")
            if text.startswith("0")
            else f"{float(text)!r}"
            if text.startswith(".") and len(text) < 5
            else f"x={text}"
        )
    elif match := _FRACTION.fullmatch(text):
        sign, above, below = match.groups()
        yield from _fraction(-Fraction(int(above), int(below)) if sign else Fraction(int(above), int(below)))
    elif match := _ROOT.fullmatch(text):
        sign, factor, inside = match[1], int(match[2] or 1), int(match[3])
        yield from (f"{sign}\\sqrt{{{factor**2 * inside}}}", f"{sign}{factor}\\cdot {inside}^{{1/2}}")
        yield from (
            f"{sign}\\frac{{{factor * inside}}}{{\\sqrt{{{inside}}}}}",
            f"{sign}{factor}\\cdot\\sqrt{{{inside}}}",
            f"x={text}",
        )
    elif match := re.fullmatch(r"(-?[\d.]+)\^(?:\\circ|\{\\circ\})", text):
        yield from (
            match[1],
            f"{match[1]}^{{\\circ}}",
            f"{match[1]}^\\circ",
            f"{match[1]}°",
            f"{match[1]}\\text{{ degrees}}",
        )
        yield f"{match[1]} ^ {{ \\circ }}"
    elif match := re.fullmatch(r"\\text\{\(?(\w+)\)?\}", text):
        word = match[1]
        yield from (word, f"\\textbf{{{word}}}", f"\\mathrm{{{word}}}", f"\\text{{ {word} }}", word.lower())
        yield from (f"({word})", f"\\text{{({word})}}", f"\\textbf{{({word})}}") if len(word) == 1 else ()
    elif match := re.fullmatch(r"([\d.]+) ?\\?%", text):
        yield from (f"{match[1]}\\%", f"{match[1]}%", match[1], f"{match[1]} \\%", f"{Fraction(match[1]) / 100}")
    elif match := re.fullmatch(r"([\d.]+)\s*\\(?:text|mbox)\{ ?(\w+) ?\}(\^2)?", text):
        number, unit, power = match[1], match[2], match[3] or ""
        yield from (
            number,
            f"{number}\\text{{ {unit}}}{power}",
            f"{number}\\,\\mathrm{{{unit}}}{power}",
            f"{number}.0" if "." not in number else f"{number}0",
        )
        yield f"{number}~\\mbox{{{unit}}}{power}"
    elif re.fullmatch(r"\\?\$?\d{1,3}(,(\\! ?)?\d{3})+", text):
        digits = re.sub(r"\D", "", text)
        yield from (
            digits,
            f"{int(digits):,}",
            f"{int(digits):,}".replace(",", "{,}"),
            f"{int(digits):,}".replace(",", r"\,"),
        )
        yield f"{digits}.00"
    elif (
        (match := _ENDS.fullmatch(text.replace("\\left", "").replace("\\right", "")))
        and "cup" not in text
        and len(split_outside(match[2], ",")) > 1
    ):
        yield from _sequence(*match.groups())
    elif "\\begin" in text:
        yield from (text.replace("pmatrix", kind) for kind in ("bmatrix", "matrix"))
        yield re.sub(r"(-?)(\d+)/(\d+)", r"\1\\frac{\2}{\3}", text)
        yield text.replace(" ", "")
    elif "\\cup" in text:
        left, right = text.rstrip(".").split("\\cup")
        yield from (
            f"{right} \\cup {left}",
            f"x \\in {text}",
            text.replace("\\cup", " ∪ "),
            text.replace("\\cup", "\\cup "),
        )
    elif not re.search(r"[,=<>]|\\ge|\\le|text|pm|_|\d ?\\frac|\\[{$]|\\in\b", text):
        yield from _expression(text)


def _integer(value: int) -> Iterator[str]:
    yield from (
        f"{value}.0",
        f"\\frac{{{2 * value}}}{{2}}",
        f"{value + 3}-3",
        f"x = {value}",
        f"n={value}",
        f"{value}/1",
    )
    if abs(value) >= 1000:
        yield from (f"{value:,}", f"{value:,}".replace(",", "{,}"), f"{value:,}".replace(",", r",\!"))
        yield f"{value:,}".replace(",", r"\,")


def _fraction(value: Fraction) -> Iterator[str]:
    above, below, sign = abs(value.numerator), value.denominator, "-" if value < 0 else ""
    yield from (
        f"{sign}{above}/{below}",
        f"\\frac{{{sign}{above}}}{{{below}}}",
        f"{sign}\\frac{{{3 * above}}}{{{3 * below}}}",
    )
    yield f"{sign}\\frac{{{above}}}{{{below}}}"
    yield f"x={sign}\\frac {{{above}}} {{{below}}}"
    if above > below:
        yield f"{sign}{above // below}\\frac{{{above % below}}}{{{below}}}"
    if 10**6 % below == 0:
        yield f"{float(value):.10f}".rstrip("0")


def _sequence(left: str, inside: str, right: str) -> Iterator[str]:
    entries = split_outside(inside, ",")
    yield from (left + ",".join(entries) + right, left + " , ".join(entries) + right)
    yield f"\\left{left}{', '.join(entries)}\\right{right}"
    yield f"\\bigl{left}{',~'.join(entries)}\\bigr{right}"
    others = [[other for other in _of_one(entry) if "=" not in other] for entry in entries]
    yield left + ", ".join(other[0] if other else entry for entry, other in zip(entries, others, strict=True)) + right


def _expression(text: str) -> Iterator[str]:
    yield from (
        f"y = {text}",
        f"1\\cdot\\left({text}\\right)",
        f"\\frac{{2({text})}}{{2}}",
        f"({text})+0",
        f"\\left({text}\\right)",
    )
    if (match := _SUM.fullmatch(text)) and all(part.count("{") == part.count("}") for part in match.groups()):
        yield f"{match[3]}+{match[1]}" if match[2] == "+" else f"-{match[3]}+{match[1]}"


def _misses(text: str) -> Iterator[str]:
    """Near misses of one answer."""
    numbers = list(re.finditer(r"(?<![_^{}\d.t])\d+(?![\d}])|(?<=\{)\d+(?=\})", text))
    for match in numbers[:2]:
        yield text[: match.start()] + str(int(match.group()) + 1) + text[match.end() :]
        yield text[: match.start()] + str(int(match.group()) + 20) + text[match.end() :]
    if numbers and numbers[-1].group() != "1":
        match = numbers[-1]
        yield text[: match.start()] + str(int(match.group()) * 10 + 1) + text[match.end() :]
    plain = text.replace("\\left", "").replace("\\right", "")
    if match := _ENDS.fullmatch(plain):
        entries = split_outside(match[2], ",")
        if len(entries) > 1 and "cup" not in text:
            if entries[0] != entries[-1]:
                yield match[1] + ",".join(reversed(entries)) + match[3] if entries != entries[::-1] else "0"
            yield match[1] + ",".join(entries[:-1]) + match[3]
            yield from _other_ends(*match.groups())
            return
    if re.fullmatch(r"\\text\{.*\}", text):
        yield from ("\\text{no}", "\\text{F}", "42")
        return
    scalar = not re.search(r"[,=<>]|\\ge|\\le|text|mbox|pm|cup|begin|[_%$]|circ|\\in\b|\(.*\[|\d/\d", text)
    if scalar and not re.fullmatch(r"0", text):
        yield from (f"-({text})", f"({text})+1", f"2\\left({text}\\right)")
    elif text == "0":
        yield from ("1", "-1", "10")
    if named := _NAMED.fullmatch(text):
        yield from (f"-({named[1]})", f"({named[1]})+1", f"2({named[1]})")


def _other_ends(left: str, inside: str, right: str) -> Iterator[str]:
    turn: dict[str, str] = {"(": "[", "[": "(", ")": "]", "]": ")"}
    yield from (turn[left] + inside + right, left + inside + turn[right], turn[left] + inside + turn[right])
