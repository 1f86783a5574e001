"""Routing headers of MCP 2026-07-28, compared with what the reference SDK does."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, strategies as st
from mcp.shared import inbound
from msgspec import Raw

from toolway.mcp.errors import RpcError
from toolway.mcp.headers import (
    HeaderMismatch,
    decode_header_value,
    encode_header_value,
    find_invalid_x_mcp_header,
    mcp_param_headers,
    validate,
    x_mcp_header_map,
)

SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "deep": {"type": "object", "properties": {"flag": {"type": "boolean", "x-mcp-header": "Flag"}}},
    },
}
WANTED = x_mcp_header_map(SCHEMA)
ARGUMENTS = {"region": "eu", "count": 42, "deep": {"flag": True}}

TEXT = st.text(max_size=12) | st.sampled_from(["=?base64?YQ==?=", "=?base64?!?=", "=?base64?YR==?=", " a", "a\t", ""])
VALUES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT | st.just([])
)
SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "boolean", "number", "object", ["string"]]),
            "x-mcp-header": st.sampled_from(["A", "a", "B", "b b", "", 7, None, "C"]),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {"properties": st.dictionaries(st.sampled_from("pqr"), inner, max_size=3)},
        optional={"items": inner, "anyOf": st.lists(inner, max_size=2), "$defs": st.dictionaries(st.just("d"), inner)},
    ),
    max_leaves=6,
)


def raw(params: dict[str, Any]) -> dict[str, Raw]:
    return {key: Raw(msgspec.json.encode(value)) for key, value in params.items()}


def call(arguments: dict[str, Any] | None = None, repeated: tuple[str, ...] = (), **headers: str | None) -> None:
    """Validate a call of `t` whose headers are right except for those given; None leaves one out."""
    params = {"name": "t", "arguments": ARGUMENTS if arguments is None else arguments}
    sent = {"mcp-method": "tools/call", "mcp-name": "t"}
    sent |= {"mcp-param-region": "eu", "mcp-param-count": "42", "mcp-param-flag": "true"}
    changed = sent | {name.replace("_", "-"): value for name, value in headers.items()}
    validate("tools/call", raw(params), {k: v for k, v in changed.items() if v is not None}, repeated, WANTED)


def test_headers_that_mirror_the_body_are_accepted() -> None:
    call()


@pytest.mark.parametrize(
    "wrong",
    [
        {"mcp_method": None},
        {"mcp_method": "tools/list"},
        {"mcp_method": "Tools/Call"},
        {"mcp_name": None},
        {"mcp_name": "other"},
        {"mcp_name": "=?base64?!?="},
        {"mcp_name": "\xe4"},
        {"mcp_name": "=?base64?\xe4?="},
        {"mcp_param_region": None},
        {"mcp_param_region": "EU"},
        {"mcp_param_count": "43"},
        {"mcp_param_count": "42.5"},
        {"mcp_param_count": "+42"},
        {"mcp_param_count": "4_2"},
        {"mcp_param_count": "4.2e1"},
        {"mcp_param_count": "9" * 5000},
        {"mcp_param_flag": "True"},
        {"arguments": {"region": None, "count": 42, "deep": {"flag": True}}},
        {"arguments": {"region": "eu", "count": 42}},
        {"arguments": {"region": ["eu"], "count": 42, "deep": {"flag": True}}},
        {"repeated": ("mcp-name",)},
        {"repeated": ("mcp-param-region",)},
    ],
)
def test_a_header_that_differs_from_the_body_is_a_mismatch(wrong: dict[str, Any]) -> None:
    with pytest.raises(HeaderMismatch) as refused:
        call(**wrong)
    assert (refused.value.rpc_code, refused.value.status) == (-32020, 400)


def test_integers_compare_as_numbers_and_sentinels_are_decoded() -> None:
    call(mcp_param_count="42.0", mcp_name="=?base64?dA==?=", mcp_param_region=" eu\t")


def test_unknown_parameter_headers_are_ignored_even_twice() -> None:
    call(repeated=("mcp-param-other",), mcp_param_other="x")


def test_the_uri_of_a_resource_and_the_id_of_a_task_are_the_name() -> None:
    headers = {"mcp-method": "resources/read", "mcp-name": "=?base64?w6Q=?="}
    validate("resources/read", raw({"uri": "ä"}), headers, (), {})
    validate("tasks/get", raw({"taskId": "7"}), {"mcp-method": "tasks/get", "mcp-name": "7"}, (), {})


def test_a_method_without_a_name_needs_none() -> None:
    validate("tools/list", {}, {"mcp-method": "tools/list"}, (), {})


@given(TEXT)
def test_values_are_written_as_the_reference_writes_them_and_read_back(value: str) -> None:
    encoded = encode_header_value(value)
    assert encoded == inbound.encode_header_value(value)
    assert decode_header_value(encoded) == value


@given(st.text(max_size=20) | st.from_regex(r"=\?base64\?[A-Za-z0-9+/=]{0,12}\?=", fullmatch=True))
def test_values_are_read_as_the_reference_reads_them(value: str) -> None:
    assume(value == value.strip(" \t") and value.isascii())
    assert decode_header_value(value) == inbound.decode_header_value(value)


@given(SCHEMAS)
def test_annotations_are_judged_as_the_reference_judges_them(schema: dict[str, Any]) -> None:
    invalid = find_invalid_x_mcp_header(schema)
    assert (invalid is None) == (inbound.find_invalid_x_mcp_header(schema) is None)
    assert x_mcp_header_map(schema) == ({} if invalid else inbound.x_mcp_header_map(schema))


@given(st.fixed_dictionaries({}, optional={"region": VALUES, "count": VALUES, "deep": VALUES}))
def test_parameters_are_mirrored_as_the_reference_mirrors_them(arguments: dict[str, Any]) -> None:
    assert mcp_param_headers(WANTED, arguments) == inbound.mcp_param_headers(WANTED, arguments)


@given(
    st.fixed_dictionaries(
        {}, optional={"region": TEXT | st.none(), "count": st.integers() | st.floats(-9, 9) | st.none()}
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "mcp-param-region": st.sampled_from(["", "a", "=?base64?YQ==?=", "=?base64?!?="]),
            "mcp-param-count": st.sampled_from(["0", "0.0", "-0", "1", "1.00", "1.5", "1e0", "x", "007"]),
        },
    ),
    st.booleans(),
)
def test_parameters_are_checked_as_the_reference_checks_them(
    arguments: dict[str, Any], headers: dict[str, str], mirrored: bool
) -> None:
    if mirrored:
        headers = headers | {k.lower(): v for k, v in mcp_param_headers(WANTED, arguments).items()}
    expected = inbound.validate_mcp_param_headers(SCHEMA, arguments, headers) is not None
    base = {"mcp-method": "tools/call", "mcp-name": "t"}
    try:
        validate("tools/call", raw({"name": "t", "arguments": arguments}), base | headers, (), WANTED)
    except HeaderMismatch:
        assert expected
    else:
        assert not expected


def test_a_deep_schema_is_walked_without_recursion() -> None:
    schema: dict[str, Any] = {}
    for _ in range(50_000):
        schema = {"items": schema}
    assert find_invalid_x_mcp_header(schema) is None


@pytest.mark.parametrize("arguments", [b'{"region":"eu","n":1e999}', b'{"n":' + b"9" * 5000 + b"}"])
def test_arguments_that_nobody_can_read_are_refused(arguments: bytes) -> None:
    params = {"name": Raw(b'"t"'), "arguments": Raw(arguments)}

    with pytest.raises(RpcError, match="nobody can represent"):
        validate("tools/call", params, {"mcp-method": "tools/call", "mcp-name": "t"}, (), WANTED)
