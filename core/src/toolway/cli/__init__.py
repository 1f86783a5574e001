"""The programs beside the gateway: the `toolway` command, the bridge for stdio clients, the demo server."""


def main() -> None:
    """The `toolway` command; it is imported only when it runs, so that the other programs start without it."""
    from toolway.cli.app import run

    run()
