"""The operators, their classes and weights, and drawing from them.

A weight is the share of drawn faults that an operator should get. Three things went into the weights:

T   TSSB-3M, bug-fixing commits that change a single statement of a Python project (Richter and Wehrheim, MSR 2022).
    Counts of SStuB patterns in thousands: identifier 237, binary operand 174, more arguments 150, function name 134,
    function around an expression 117, attribute 104, number 97, more specific if 68, method call 60, element 57, fewer
    arguments 50, boolean literal 37, attribute access 32, binary operator 29, wrong caller 25, less specific if 22,
    keyword 20, unary operator 15, swapped arguments 8, constant type 6; half of all fixes fit no pattern (strings,
    whole statements).
P   PyPIBugs, hand-checked bugs of released packages (Allamanis et al., BugLab, arXiv 2105.12787): variable misuse 1278,
    comparison 407, swapped arguments 283, boolean operator 192, literal 88, binary operator 81, assignment operator 45.
J   Judgement, for what neither counts: missing and extra lines, guards, indentation, loops, defaults, aliases, await.

Where the original text can not be inferred from the function (a free choice of argument, string, or element), the
weight is below the count: such faults teach little and are not found by tests of the function alone.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from . import assignments, literals, names, operators, returns, statements
from .code import Code, Edit, Fault

Find = Callable[[Code, random.Random], Iterable[Edit | Fault | None]]


@dataclass(frozen=True, slots=True)
class Operator:
    """A way to go wrong."""

    name: str
    kind: str
    """The class that results are reported by."""
    weight: float
    source: str
    find: Find


CATALOGUE = (
    Operator("comparison", "comparison", 8.0, "P", operators.comparison),
    Operator("arithmetic", "arithmetic", 5.0, "P, T binary operator", operators.arithmetic),
    Operator("bitwise", "bitwise", 1.2, "J", operators.bitwise),
    Operator("assignment operator", "assignment operator", 1.8, "P", operators.assignment_operator),
    Operator("rewritten update", "assignment", 0.8, "J", assignments.rewritten_update),
    Operator("lost assignment", "assignment", 0.9, "J", assignments.lost_assignment),
    Operator("boolean", "boolean", 4.0, "P", operators.boolean),
    Operator("negation", "negation", 3.5, "T unary operator, P", operators.negation),
    Operator("sign", "arithmetic", 0.8, "T unary operator", operators.sign),
    Operator("swapped operands", "swapped operands", 1.8, "T binary operand", operators.swapped_operands),
    Operator("lost operand", "lost operand", 2.2, "T binary operand", operators.lost_operand),
    Operator("lost parentheses", "arithmetic", 0.6, "J", operators.lost_parentheses),
    Operator("lost condition", "condition", 2.6, "T more and less specific if", operators.lost_condition),
    Operator("extra condition", "condition", 1.4, "T less specific if", operators.extra_condition),
    Operator("number", "number", 5.0, "T number, P literal", literals.number),
    Operator("off by one", "off by one", 5.5, "T number, binary operand", literals.off_by_one),
    Operator("truth", "truth value", 2.6, "T boolean literal", literals.truth),
    Operator("constant type", "constant type", 0.9, "T constant type", literals.constant_type),
    Operator("initial value", "initial value", 2.0, "J", literals.initial_value),
    Operator("string", "string", 3.0, "T (half of the rest)", literals.string),
    Operator("string format", "string", 0.8, "J", literals.string_format),
    Operator("index", "index", 3.2, "T binary operand, J", literals.index),
    Operator("slice", "slice", 2.2, "J", literals.slice_bound),
    Operator("variable", "variable", 11.0, "P, T identifier", names.variable),
    Operator("target", "variable", 0.8, "P", names.target),
    Operator("attribute", "attribute", 4.0, "T attribute", names.attribute),
    Operator("function name", "function name", 5.0, "T function name", names.function_name),
    Operator("caller", "variable", 1.0, "T wrong caller", names.caller),
    Operator("self", "attribute access", 1.5, "T attribute access", names.self_prefix),
    Operator("attribute access", "attribute access", 1.6, "T attribute access", names.attribute_access),
    Operator("lost call", "lost call", 4.0, "T function around expression, method call", names.lost_call),
    Operator("extra call", "extra call", 1.2, "J", names.extra_call),
    Operator("lost argument", "lost argument", 3.4, "T more arguments", names.lost_argument),
    Operator("extra argument", "extra argument", 1.4, "T fewer arguments", names.extra_argument),
    Operator("swapped arguments", "swapped arguments", 2.6, "P, T", names.swapped_arguments),
    Operator("keyword", "keyword", 0.9, "T keyword", names.keyword_argument),
    Operator("alias", "alias", 0.9, "J", names.alias),
    Operator("return", "return", 2.4, "J", returns.returned),
    Operator("return value", "return", 1.2, "J", returns.return_value),
    Operator("flow", "flow", 1.8, "J", statements.flow_word),
    Operator("loop", "loop", 1.8, "J", statements.loop),
    Operator("exception", "exception", 0.9, "J", statements.exception),
    Operator("default", "default", 1.6, "J", statements.default),
    Operator("element", "element", 0.8, "T element", statements.element),
    Operator("await", "await", 0.5, "J", statements.awaited),
    Operator("missing line", "missing line", 3.0, "J", statements.missing_line),
    Operator("missing guard", "missing line", 1.2, "J", statements.missing_guard),
    Operator("extra line", "extra line", 1.6, "J", statements.extra_line),
    Operator("indentation", "indentation", 1.8, "J", statements.indentation),
)
BY_NAME = {operator.name: operator for operator in CATALOGUE}
PER_OPERATOR = 2
"""Faults of one operator at one place, at most: names are everywhere, and would crowd out the rest."""
THIN = 0.5
"""An operator drawn with less weight than this joins a place's other faults only in proportion to it."""
UNSEEN = 1 / 3
"""How often a drawn fault is kept whose fix has words that can not be read around it: it teaches guessing."""

# Operators that find something in almost every line are drawn less often, rare ones more often than their weight, so
# that the shares that come out are near the weights. Measured by `python -m repairmodel.faults.calibrate`; at 30 an
# operator (bitwise, await, alias) is drawn wherever it is offered, which is still too seldom.
DRAW: dict[str, float] = {
    "comparison": 4.859, "arithmetic": 29.361, "bitwise": 30.0, "assignment operator": 30.0, "boolean": 30.0,
    "rewritten update": 30.0, "lost assignment": 0.38, "return value": 0.768, "negation": 1.14, "sign": 2.752,
    "swapped operands": 0.11, "lost operand": 0.207, "lost parentheses": 4.903, "lost condition": 6.82,
    "extra condition": 0.147, "number": 0.357, "off by one": 25.882, "truth": 9.031, "constant type": 0.053,
    "initial value": 18.037, "string": 0.246, "string format": 13.817, "index": 0.325, "slice": 30.0,
    "variable": 0.028, "target": 0.085, "attribute": 0.066, "function name": 0.094, "caller": 0.381, "self": 0.05,
    "attribute access": 0.134, "lost call": 0.085, "extra call": 0.073, "lost argument": 0.08,
    "extra argument": 0.165, "swapped arguments": 0.225, "keyword": 0.426, "alias": 30.0, "return": 0.266,
    "flow": 1.15, "loop": 30.0, "exception": 8.182, "default": 1.298, "element": 0.582, "await": 30.0,
    "missing line": 2.276, "missing guard": 22.078, "extra line": 0.293, "indentation": 1.475,
}  # fmt: skip


def draw_weight(name: str) -> float:
    """Weight times the correction for how often functions offer the operator."""
    return BY_NAME[name].weight * DRAW.get(name, 1.0)


def find(operator: Operator, code: Code, rng: random.Random) -> list[Fault]:
    """What the operator offers in this function, at most one or two wrong versions for each place."""
    found = []
    for item in operator.find(code, rng):
        if isinstance(item, Edit):
            line = code.apply(item).rstrip()
            item = Fault(
                operator=operator.name, head=item.line, tail=item.line + 1, faulty=line, fixed=code.lines[item.line]
            )
        if item and item.faulty.strip() and item.faulty != item.fixed:
            found.append(item)
    return found


def find_all(code: Code, rng: random.Random) -> dict[str, list[Fault]]:
    """Operator name -> what it offers; operators that offer nothing are absent."""
    offers = {operator.name: find(operator, code, rng) for operator in CATALOGUE}
    return {name: faults for name, faults in offers.items() if faults}


def sample(code: Code, rng: random.Random, *, trees: int, branches: int) -> list[list[Fault]]:
    """Up to `trees` places of a function, each with up to `branches` different valid faults of one and the same line.

    The first fault of a place is drawn by operator weight over the whole function, the others by weight among what is
    offered at that place, each operator once before any is used twice.
    """
    offers = find_all(code, rng)
    places: dict[tuple[int, int], list[Fault]] = {}
    for faults in offers.values():
        for fault in faults:
            places.setdefault((fault.head, fault.tail), []).append(fault)
    chosen: list[list[Fault]] = []
    taken: set[tuple[int, int]] = set()
    for _ in range(trees * 3):
        if len(chosen) == trees or not offers:
            break
        name = rng.choices(list(offers), [draw_weight(n) for n in offers])[0]
        first = rng.choice(offers[name])
        place = (first.head, first.tail)
        if place not in taken and _kept(code, first, rng):
            taken.add(place)
            group = _group(code, first, places[place], rng, branches)
            if group:
                chosen.append(group)
    return chosen


def _group(code: Code, first: Fault, offered: list[Fault], rng: random.Random, branches: int) -> list[Fault]:
    rest = [fault for fault in offered if fault is not first]
    counts = {name: sum(f.operator == name for f in rest) for name in {f.operator for f in rest}}
    keyed = [(rng.random() ** (counts[f.operator] / draw_weight(f.operator)), f) for f in rest]
    order = [first, *(f for _, f in sorted(keyed, key=lambda pair: -pair[0]))]
    group: list[Fault] = []
    texts: set[tuple[str, str]] = set()
    used: Counter[str] = Counter()
    for fault in order:
        if len(group) == branches:
            break
        if fault is not first and (rng.random() * THIN > draw_weight(fault.operator) or not _kept(code, fault, rng)):
            continue  # a place that offers little else is not filled with what almost every place offers
        if used[fault.operator] < PER_OPERATOR and (fault.faulty, fault.fixed) not in texts and code.valid(fault):
            texts.add((fault.faulty, fault.fixed))
            used[fault.operator] += 1
            group.append(fault)
    return group


def _kept(code: Code, fault: Fault, rng: random.Random) -> bool:
    return code.inferable(fault) or rng.random() < UNSEEN
