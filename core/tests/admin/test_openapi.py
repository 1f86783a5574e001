"""The OpenAPI document, and the API under generated requests."""

from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

DOCUMENT = "/api/v1/openapi.json"
UNFIT = [ignored_auth, positive_data_acceptance]
"""The credential is sent by hand; names in body and path must agree, which a schema cannot say."""


async def test_the_document_is_valid_and_names_every_permission(api: httpx2.AsyncClient) -> None:
    document = (await api.get(DOCUMENT)).json()
    OpenAPIV31SpecValidator(document).validate()
    assert document["paths"]["/api/v1/upstreams"]["post"]["x-permission"] == "upstreams:write"
    assert document["paths"]["/health"]["get"]["security"] == []


@pytest.mark.filterwarnings("default")
def test_generated_requests_get_only_documented_answers(gate: Any) -> None:
    described: Any = schemathesis.openapi.from_asgi(DOCUMENT, gate.app)
    for result in described.get_all_operations():
        _fuzz(result.ok())


def _fuzz(operation: Any) -> None:
    @given(case=operation.as_strategy())
    @settings(max_examples=15, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    def run(case: Any) -> None:
        case.call_and_validate(headers={"authorization": "Bearer good"}, excluded_checks=UNFIT)

    run()
