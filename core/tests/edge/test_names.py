"""Who may call: Host against DNS rebinding, Origin against foreign pages, CORS for the pages that may."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from toolway.edge.names import Names
from toolway.edge.settings import EdgeSettings


def test_the_address_that_was_connected_to_is_always_a_good_host() -> None:
    names = Names(EdgeSettings(), "0.0.0.0:4440", "")

    assert names.allows_host(b"10.1.2.3:4440", "10.1.2.3")
    assert not names.allows_host(b"10.1.2.4:4440", "10.1.2.3")
    assert not names.allows_host(b"0.0.0.0:4440", "10.1.2.3")


@pytest.mark.parametrize(
    "wrong",
    [
        {"allowed_origins": ["app.example.com"]},
        {"allowed_origins": ["https://app.example.com/"]},
        {"allowed_hosts": ["https://app.example.com"]},
        {"root_path": "toolway"},
        {"trusted_proxies": ["10.0.0.1/8"]},
        {"limits": {"bodyy": 1}},
    ],
)
def test_settings_that_cannot_be_meant_are_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EdgeSettings.model_validate(wrong)


def test_every_setting_is_described_with_its_default() -> None:
    for model in (EdgeSettings, EdgeSettings().limits.__class__):
        assert all(field.description for field in model.model_fields.values())
