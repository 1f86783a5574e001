"""The OpenAPI document, and the API under generated requests."""

from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import Field
from schemathesis.specs.openapi.checks import ignored_auth

from toolway.bundled.api.openapi import openapi
from toolway.hookspecs.api import PROBLEM_TYPE, PUBLIC, Incoming, NoQuery, Operation

DOCUMENT = "/api/v1/openapi.json"
UNFIT = [ignored_auth]
"""The credential is sent by hand."""


async def test_the_document_is_valid_and_names_every_permission(api: httpx2.AsyncClient) -> None:
    document = (await api.get(DOCUMENT)).json()
    OpenAPIV31SpecValidator(document).validate()
    assert document["paths"]["/api/v1/upstreams"]["post"]["x-permission"] == "upstreams:write"
    assert document["paths"]["/health"]["get"]["security"] == []


class Wanted(NoQuery):
    """One that has to be there."""

    word: str = Field(description="To be looked for.")


async def find(incoming: Incoming) -> None:
    """Look for it."""


def test_parameters_say_whether_they_have_to_be_there_and_what_they_mean() -> None:
    (parameters,) = _described(Operation("GET", "/api/v1/words/{name}", PUBLIC, find, query=Wanted), "parameters")

    told = [(each["name"], each["required"], each["description"]) for each in parameters]
    assert told == [("name", True, "The name."), ("word", True, "To be looked for.")]


def test_answers_that_are_no_json_have_their_media_types() -> None:
    (responses,) = _described(Operation("GET", "/words", PUBLIC, find, answer="text/csv, text/plain"), "responses")

    assert list(responses["200"]["content"]) == ["text/csv", "text/plain"]
    assert list(responses["default"]["content"]) == [PROBLEM_TYPE]


def test_what_people_read_are_pages_even_when_something_is_wrong() -> None:
    (responses,) = _described(Operation("GET", "/words", PUBLIC, find, answer="text/html"), "responses")

    assert list(responses["default"]["content"]) == [PROBLEM_TYPE, "text/html"]


def _described(operation: Operation, part: str) -> list[Any]:
    """That part of each operation of a document."""
    document = openapi([operation], "1")
    OpenAPIV31SpecValidator(document).validate()
    return [each[part] for methods in document["paths"].values() for each in methods.values()]


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
