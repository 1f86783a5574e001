"""`tools/list` with 1,000 tools, as a modern and as a legacy client sees it."""

from __future__ import annotations

import measure
from bench import Bench
from gateways import tools, with_session
from load import LoadFailed
from nginx import endpoint
from outcome import Outcome, Verdict
from running import upstream_table
from scenarios.calls import table

CONCURRENCY, TOOLS = 16, 1000
GOAL = 2_000


def run(bench: Bench) -> Outcome:
    """Compare."""
    outcome = Outcome("lists")
    with bench.closing():
        tables = upstream_table("many", endpoint(bench.direct, "many"))
        gateway = bench.toolway(bench.fastest("modern list", tables=tables), tools=TOOLS)
        plain = [each.on(url=endpoint(each, "many")) for each in (bench.direct, bench.nginx())]
        targets = [*plain, gateway, with_session(gateway).on(name="legacy list")]
        if wrong := [each.name for each in targets if len(set(tools(each))) != TOOLS]:
            raise LoadFailed(f"not {TOOLS} different tools are listed by {wrong}")
        requests = {each.name: [each.request("tools/list")] for each in targets}
        samples = measure.rounds(
            targets, CONCURRENCY, seconds=bench.seconds, count=bench.rounds, requests=requests, slack=2
        )
    outcome.tables.append(table(f"tools/list with {TOOLS} tools, {CONCURRENCY} connections", samples))
    outcome.figures = dict(measure.as_json(samples))
    for each in targets[2:]:
        outcome.ratios[f"{each.name} / nginx"] = measure.ratio(samples, each.name, "nginx")
        rate = measure.median(samples[each.name]).rate
        outcome.verdicts.append(Verdict(f"{each.name}s with {TOOLS} tools", rate, "at least", GOAL, "/s"))
    return outcome
