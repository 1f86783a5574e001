"""What the API of reloads takes and answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Order(BaseModel):
    """What is wanted."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = Field(False, description="Only check, on every node, and tell what would be different.")


class DifferenceReport(BaseModel):
    """One thing that the new configuration makes different."""

    path: str = Field(description="Where it is; upstreams and servers by name. Values are never told.")
    what: Literal["added", "changed", "removed"]
    needs_restart: bool = Field(False, description="Whether it stays as it is until the process is started anew.")


class NodeReport(BaseModel):
    """What one node (a worker, or a process elsewhere) says."""

    node: str
    problem: str = Field("", description="Why it cannot use the configuration; empty when it can.")


Outcome = Literal["in force", "only checked", "refused", "in part"]


class ReloadReport(BaseModel):
    """One reload."""

    at: float = Field(description="When it was asked for, in seconds since 1970 (UTC).")
    by: str = Field(description="Who or what asked for it: a principal, `SIGHUP`, or `the files changed`.")
    outcome: Outcome = Field(description="How it ended; `in part`: on some nodes only.")
    dry_run: bool = Field(False, description="Whether it was only to be checked.")
    problem: str = Field("", description="Why a node did not put it in force, and which one.")
    differences: list[DifferenceReport] = Field([], description="As the node that was asked sees them.")
    nodes: list[NodeReport] = Field([], description="Every node that took part.")


class ReloadHistory(BaseModel):
    """What the answering node knows of reloads, the last one first."""

    items: list[ReloadReport]
