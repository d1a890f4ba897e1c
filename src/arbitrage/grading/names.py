r"""What stands around a value: its name (x = ..., f(x) = ..., x \in ...), qualifiers that add nothing (for any c)."""

import re

from arbitrage.grading.extract import split_outside
from arbitrage.grading.normalise import key

_NAME = re.compile(
    r"(?:([a-zA-Z]|\\[a-zA-Z]+)(?:_(?:\w|\{[^{}]*\}))?'*(?:\^\{-1\}(?=\())?"
    r"(\((?:-?\w+|\\[a-z]+)(?:,(?:-?\w+|\\[a-z]+))*\))?"
    r"|\\(?:sin|cos|tan|cot|sec|csc) ?(?:\\angle ?)?(?:[a-zA-Z]|\\[a-z]+)"
    r"|\\angle ?[A-Z_{}\d ]+|\([a-zA-Z](?:,[a-zA-Z])+\)|\\(?:text|vec|overline|hat)\{[^{}]*\}|[A-Z]{2,3}"
    r"|[a-zA-Z]{1,3}(?::[a-zA-Z]{1,3})+)"
)
_FUNCTION = re.compile(r"(.+?)\(([^()]*)\)")
_ENTRY = re.compile(r"\\(?:in|equiv)(?![a-z]) ?")
_ARROW = re.compile(r"([a-zA-Z])?:?([a-zA-Z]) ?\\mapsto ?(.+)")
_JOINED = re.compile(r"\\text\{(?:and|or)\}")
_TUPLE = re.compile(r"\((\\?[a-zA-Z]+(?:_\w)?(?:,\\?[a-zA-Z]+(?:_\w)?)+)\)=\((.+)\)")
_SEQUENCE = re.compile(r"(.+)_([i-n])")
_LETTER = re.compile(r"\\?[a-zA-Z]+")
_TOKEN = re.compile(r"\\[a-zA-Z]+|.", re.DOTALL)
_SPARE = ("\\xi", "\\zeta", "\\psi", "\\chi")  # letters for bound variables; few answers use them
_KINDS = {"integer": "Z", "integers": "Z", "real": "R", "reals": "R", "complex": "C", "rational": "Q", "natural": "N"}
_QUALIFIER = re.compile(
    r"[,;]? ?(?:\(? ?\\text\{\(?,? ?(?:for|where|with|and)?,? ?(?:any|all|every|each|some|an|arbitrary)? ?"
    r"(?P<before>[a-z ]*?)\)?\} ?"
    r"(?P<letters>\\?[a-zA-Z]+(?:_\w)?(?:,\\?[a-zA-Z]+(?:_\w)?)*)? ?(?:\\in ?\\mathbb\{(?P<set>[ZRQNC])\})?"
    r"(?: ?\\text\{(?P<after>[a-z ,]*)\)?\})?\)?"
    r"|\\forall ?\\?[a-zA-Z]+(?:_\w)?(?: ?\\in ?\\mathbb\{(?P<set2>[ZRQNC])\})?"
    r"|(?:(?<=,)|(?=\())\(?\\?[a-zA-Z]+(?:_\w)? ?\\in ?\\mathbb\{(?P<set3>[ZRQNC])\}\)?)$"
)
_KEYWORD = re.compile(r"for|where|with|any|all|every|each|some|constant|arbitrary|\\in")
_SAYS_NOTHING = frozenset(
    re.findall(
        r"\S+",
        "a an any all every each some is are be where for with and arbitrary constant constants number numbers real "
        "reals integer integers complex rational natural fixed given the in value values of",
    )
)


def without_qualifier(text: str) -> tuple[str, str | None]:
    r"""(the text without a trailing "for any c", the kind of number it names: Z, R, Q, N, C or None).

    Only what restricts nothing but a constant's kind goes: `\text{for any } c`, `c \in \mathbb{R}`, `\forall c`.
    """
    match = _QUALIFIER.search(text)
    if match is None or match.start() == 0:
        return text, None
    words = re.findall(r"[a-z]+", f"{match['before'] or ''} {match['after'] or ''}")
    is_text = match["set2"] is None and match["set3"] is None and "\\forall" not in match.group()
    if {"integer", "integers"} & set(words):
        words = [word for word in words if word not in ("positive", "nonnegative")]
    if not all(word in _SAYS_NOTHING or len(word) == 1 for word in words):
        return text, None
    constant = match["letters"] or any(len(word) == 1 and word != "a" for word in words)
    if is_text and not (constant and _KEYWORD.search(match.group())):
        return text, None
    kind = match["set"] or match["set2"] or match["set3"] or next((_KINDS[w] for w in words if w in _KINDS), None)
    return text[: match.start()].rstrip(" ,;:"), kind


def named(text: str) -> tuple[str | None, str]:
    """ "x = 5" is (x, 5), "x \\in [0,1]" (x, [0,1]), "x = 10/2 = 5" (x, 5); anything else (None, text).

    Only signs outside brackets count: the bounds of a sum are no names.
    """
    if arrow := _ARROW.fullmatch(text):
        return f"{arrow[1] or 'f'}({arrow[2]})", arrow[3]
    if _JOINED.search(text):
        return None, text  # several values: a list
    equals = _ENTRY.sub("=", text)
    parts = split_outside(equals, "=")
    if len(parts) == 1 or not _NAME.fullmatch(parts[0]) or "==" in equals or equals.rstrip().endswith("="):
        return None, text
    if len(split_outside(text, ",")) > 1 and len(parts) > 2:
        return None, text  # several equations: a list
    return parts[0], parts[-1]


def agree(name: str, value: str, gold_name: str, gold_value: str) -> tuple[str, str] | None:
    """The two values with their bound variables called alike, or None where the names mean different things.

    f(x) = x^2 and f(t) = t^2 name one function, and so does y = x^2; f(1) and f(2) are different values.
    """
    ours, theirs = _FUNCTION.fullmatch(name), _FUNCTION.fullmatch(gold_name)
    if ours is None or theirs is None:
        terms = _SEQUENCE.fullmatch(name), _SEQUENCE.fullmatch(gold_name)
        if terms[0] and terms[1] and terms[0][2] != terms[1][2]:  # a_n = 2^n and a_k = 2^k
            index, gold_index = terms[0][2], terms[1][2]
            if (
                terms[0][1] == terms[1][1]
                and index in _TOKEN.findall(value)
                and gold_index in _TOKEN.findall(gold_value)
            ):
                return renamed(value, index, _SPARE[0]), renamed(gold_value, gold_index, _SPARE[0])
        if ours is None and theirs is None:
            return (value, gold_value) if key(name) == key(gold_name) else None
        function, other = (ours, gold_name) if ours else (theirs, name)
        assert function is not None
        return (value, gold_value) if key(other) in ("y", key(function[1])) else None
    if key(ours[1]) != key(theirs[1]):
        return None
    arguments, gold_arguments = ours[2].split(","), theirs[2].split(",")
    if len(arguments) != len(gold_arguments):
        return None
    for argument, gold_argument, spare in zip(arguments, gold_arguments, _SPARE, strict=False):
        if argument == gold_argument:
            continue
        if not (_LETTER.fullmatch(argument) and _LETTER.fullmatch(gold_argument)):
            return None
        value, gold_value = renamed(value, argument, spare), renamed(gold_value, gold_argument, spare)
    return value, gold_value


def assignments(text: str) -> tuple[dict[str, str], bool] | None:
    """Values by name of "(m,n)=(1,2)" and of "m=1,n=2", and whether it is a tuple of names; None for anything else."""
    if match := _TUPLE.fullmatch(text):
        names, values = match[1].split(","), split_outside(match[2], ",")
    else:
        pairs = [named(part) for part in split_outside(_JOINED.sub(",", text), ",")]
        names, values = [name or "" for name, _ in pairs], [value for _, value in pairs]
    if len(names) < 2 or len(names) != len(values) or len(set(names)) < len(names):
        return None
    if not all(re.fullmatch(r"\\?[a-zA-Z]+(?:_\w)?", name) for name in names):
        return None
    return dict(zip(names, values, strict=True)), match is not None


def as_tuples(text: str, gold_name: str | None) -> str:
    r"""The tuples that "x=1,y=2\text{or}x=2,y=1" lists, in the order of `in_order`; any other text as it is."""
    groups = [split_outside(group, ",") for group in text.split("\\text{or}")]
    if len(groups) == 1 or not all(len(group) > 1 and all(named(part)[0] for part in group) for group in groups):
        return text
    return ",".join(f"({','.join(in_order(','.join(group), gold_name))})" for group in groups)


def renamed(text: str, letter: str, other: str) -> str:
    """`text` with another letter for one of its own; commands are left alone."""
    return "".join(f"{other} " if token == letter else token for token in _TOKEN.findall(text)).strip()


def in_order(answer: str, gold_name: str | None) -> list[str]:
    """The values of "y=2,x=1" in the order of the gold tuple's names, or of the alphabet: 1, 2."""
    parts = split_outside(answer, ",")
    pairs = [named(part) for part in parts]
    names = [name for name, _ in pairs if name is not None and len(name) == 1]
    if len(names) != len(parts) or len(set(names)) != len(names):
        return parts
    order = re.findall(r"[a-zA-Z]", gold_name) if gold_name and gold_name[0] == "(" else sorted(names)
    values = dict(pairs)
    return [values[name] for name in order] if sorted(order) == sorted(names) else parts
