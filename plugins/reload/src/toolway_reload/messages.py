"""What nodes tell each other: one asks, all build and answer, the one decides, all say that it is done."""

from __future__ import annotations

import msgspec

CHANNEL = "toolway.reload"
NODES = "reload/nodes/"


class Message(msgspec.Struct, tag=True):
    """Of one `reload`, from one `node`."""

    reload: str
    node: str


class Ask(Message):
    """Build a gateway of your configuration and say whether you could."""


class Answer(Message):
    """It is built and ready, unless there is a `problem`."""

    problem: str = ""


class Decide(Message):
    """Let it take over, or throw it away."""

    commit: bool


class Done(Message):
    """It took over, unless there is a `problem`."""

    problem: str = ""


AnyMessage = Ask | Answer | Decide | Done
DECODER = msgspec.json.Decoder(AnyMessage)
ENCODE = msgspec.json.Encoder().encode
