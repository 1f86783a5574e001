"""What the API of exports and imports takes and answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Mode = Literal["create", "update", "replace"]
OnConflict = Literal["skip", "overwrite", "rename", "fail"]
Action = Literal["created", "changed", "renamed", "unchanged", "skipped", "removed", "failed"]


class ExportOrder(BaseModel):
    """What is wanted."""

    model_config = ConfigDict(extra="forbid")

    what: list[str] = Field(
        [],
        max_length=1000,
        description="Collections such as `upstreams`, or single objects such as `upstreams/billing`.",
    )
    passphrase: str | None = Field(None, max_length=1000, description="Takes credentials along, encrypted with it.")
    recipients: list[dict[str, Any]] = Field(
        [], max_length=20, description="Takes credentials along, encrypted for these public keys (JWK, RFC 7517)."
    )


class ImportOrder(BaseModel):
    """A document, and what to do with it."""

    model_config = ConfigDict(extra="forbid")

    document: dict[str, Any] = Field(description="An export, or a file of another program as it is.")
    what: list[str] = Field([], max_length=1000, description="Only these of its objects, such as `upstreams/billing`.")
    mode: Mode = Field(
        "create",
        description="`create` adds objects, `update` changes members of those that exist and adds none, `replace` "
        "lets the collections of the document have its objects and no others.",
    )
    conflict: OnConflict | None = Field(
        None,
        description="When an object exists and is different: by default `fail` in mode `create`, else `overwrite`.",
    )
    dry_run: bool = Field(False, description="Try everything, report, and change nothing.")
    trusted: bool = Field(
        False,
        description="The file is your own: owners, members, roles, public access and accounts are taken from it too, "
        "as far as you may set them yourself.",
    )
    allow_private: bool = Field(False, description="Upstreams may be at addresses that are not public.")
    passphrase: str | None = Field(None, max_length=1000, description="Opens the credentials of the document.")
    credentials: bool = Field(True, description="Whether its credentials are taken; else they are left out.")
    inputs: dict[str, str] = Field({}, description="Values for the placeholders of files of other programs.")


class ImportedObject(BaseModel):
    """What became of one object."""

    kind: str
    name: str = Field(description="In the document.")
    action: Action
    new_name: str = Field("", description="What it is called here, when it was renamed.")
    reason: str = Field("", description="Why, for a person.")
    ignored: list[str] = Field([], description="Members that were not taken from the document.")
    missing: list[str] = Field([], description="Where credentials are missing (JSON pointers); send them.")


class ImportReport(BaseModel):
    """All of an import; it happened as a whole or not at all."""

    outcome: Literal["done", "only checked", "refused"]
    source: str = Field(description="What the document was read as.")
    objects: list[ImportedObject]
    notes: list[str] = Field([], description="What else a person should know.")
