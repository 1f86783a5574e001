"""What nodes tell each other: one asks, all build and answer, the one decides, all say that it is done, it sums up."""

from __future__ import annotations

import msgspec

CHANNEL = "toolway.reload"
NODES = "reload/nodes/"


class Message(msgspec.Struct, tag=True):
    """Of one `reload`, from one `node`."""

    reload: str
    node: str


class Ask(Message):
    """Build a gateway of your configuration and say whether you could; it may be that nothing follows from it."""

    dry_run: bool = False


class Answer(Message):
    """It is built and ready, unless there is a `problem`."""

    problem: str = ""


class Decide(Message):
    """Let it take over, or throw it away."""

    commit: bool


class Done(Message):
    """It took over, unless there is a `problem`."""

    problem: str = ""


class Over(Message):
    """How it ended, for the history of every node: a report as JSON."""

    report: str


AnyMessage = Ask | Answer | Decide | Done | Over
DECODER = msgspec.json.Decoder(AnyMessage)
ENCODE = msgspec.json.Encoder().encode
