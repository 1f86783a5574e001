"""A program: `toolway check` for every other plugin, with one of its hooks broken; prints what it would print."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterable

from breakages import BREAKAGES
from faults import HOOK, Faults, plugin_of_function

from toolway.cli import main


def check(faults: Faults, where: str = "", kind: str = "") -> None:
    """Check the configuration that the arguments name; says which function was broken."""
    print(f"broken: {where}", flush=True)
    faults.exchange({where: kind})
    try:
        main()
    except SystemExit as ended:
        print(f"ended with {ended.code}", flush=True)


def one_hook_each(entered: Iterable[str]) -> dict[str, str]:
    """A hook of every plugin."""
    return {str(plugin_of_function(where)): where for where in entered if ":toolway_" in where}


if __name__ == "__main__":
    sys.argv[1:] = ["check", "--config", *sys.argv[1:]]
    wired: Faults = getattr(builtins, HOOK)
    check(wired)
    kinds = [*BREAKAGES]
    for number, hook in enumerate([*one_hook_each([*wired.entered]).values()][::2]):
        check(wired, hook, kinds[number % len(kinds)])
