"""How many examples hypothesis makes of what one gateway of a test is asked, and how."""

from hypothesis import HealthCheck, Phase, settings


def generated(examples: int) -> settings:
    """So many; a failure is not made smaller, for the gateway has seen what came before."""
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
