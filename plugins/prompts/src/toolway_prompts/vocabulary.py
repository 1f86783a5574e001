"""The words of templates: filters, tests, functions and methods. What is not here does not exist."""

from __future__ import annotations

from collections.abc import Mapping


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


FILTERS = words("""
    abs capitalize count d default dictsort e escape first float groupby indent int items join last length list lower
    map max min reject rejectattr replace reverse round select selectattr sort string sum title tojson trim truncate
    unique upper urlencode wordcount
""")
LAZY = words("items map reject rejectattr reverse select selectattr unique")
"""Filters that make what is computed later; here they make lists, which can be printed."""

TESTS = words("""
    boolean defined divisibleby eq equalto even false float ge greaterthan gt in integer iterable le lessthan lower lt
    mapping ne none number odd sameas sequence string true undefined upper == != > >= < <=
""")
FUNCTIONS = words("namespace range")
METHODS: Mapping[type, frozenset[str]] = {
    str: words("""
        capitalize count endswith find isalnum isalpha isdigit islower isnumeric isspace isupper join lower lstrip
        partition removeprefix removesuffix replace rpartition rsplit rstrip split splitlines startswith strip title
        upper
    """),
    dict: words("get items keys values"),
    list: words("count index"),
}
LOOP = words("index index0 revindex revindex0 first last length depth depth0 previtem nextitem cycle changed")
CALLED = words("cycle changed").union(*METHODS.values())
"""Every attribute that may be called."""
