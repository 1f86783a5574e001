"""The OpenAPI document, and the API under generated requests."""

from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.specs.openapi.checks import ignored_auth

DOCUMENT = "/api/v1/openapi.json"
UNFIT = [ignored_auth]
"""The credential is sent by hand."""


async def test_the_document_is_valid_and_names_every_permission(api: httpx2.AsyncClient) -> None:
    document = (await api.get(DOCUMENT)).json()
    OpenAPIV31SpecValidator(document).validate()
    assert document["paths"]["/api/v1/upstreams"]["post"]["x-permission"] == "upstreams:write"
    assert document["paths"]["/health"]["get"]["security"] == []


@pytest.mark.filterwarnings("default")
def test_generated_requests_get_only_documented_answers(gate: Any) -> None:
    described: Any = schemathesis.openapi.from_asgi(DOCUMENT, gate.app)
    described.config.generation.update(allow_x00=False)  # no database keeps it, so it is refused
    described.config.checks.positive_data_acceptance.expected_statuses.append("412")  # no schema knows the ETags
    for result in described.get_all_operations():
        _fuzz(result.ok())


def _fuzz(operation: Any) -> None:
    @given(case=operation.as_strategy())
    @settings(max_examples=15, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    def run(case: Any) -> None:
        if "name" in case.path_parameters and isinstance(case.body, dict) and isinstance(case.body.get("name"), str):
            case.path_parameters["name"] = case.body["name"] or "-"  # they must agree, which a schema cannot say
        case.call_and_validate(headers={"authorization": "Bearer good"}, excluded_checks=UNFIT)

    run()
