"""What the API of loggers takes and answers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from toolway_json_logging.levels import Level


class LoggerLevel(BaseModel):
    """A level to be set."""

    model_config = ConfigDict(extra="forbid")

    level: Level = Field(description="Records of at least this level are written.")
    seconds: float | None = Field(
        None, gt=0, le=30 * 86_400, description="For so long; without it until somebody resets it."
    )


class LoggerReport(BaseModel):
    """One logger of the answering node."""

    name: str
    level: str = Field(description="The level in force: its own, or that of a logger above it.")
    configured: Level | None = Field(description="What the configuration says of it.")
    changed: Level | None = Field(description="What was set at run time, on all nodes.")
    until: float | None = Field(description="When that ends, in seconds since 1970 (UTC).")


class Loggers(BaseModel):
    """Every logger that there is, `root` first."""

    items: list[LoggerReport]
