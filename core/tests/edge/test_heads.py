"""What is remembered of heads that came before, and what is taken for the same."""

from __future__ import annotations

import pytest

from toolway.edge.heads import IN_VAIN, LARGE, LONGEST, MOST, Heads


def post(body: bytes, line: str = "Content-Length: %d", path: str = "/mcp") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{line % len(body)}\r\nAccept: */*\r\n\r\n".encode() + body


@pytest.fixture
def heads() -> Heads[str]:
    """One is known."""
    known: Heads[str] = Heads()
    known.learn(post(b"abc"), 3, lambda: "the head")
    return known


@pytest.mark.parametrize("body", [b"", b"x", b"abc", b"y" * 1_000, post(b"z")])
def test_a_head_is_known_whatever_the_length_of_its_body(heads: Heads[str], body: bytes) -> None:
    assert heads.find(post(body)) == ("the head", b"%d" % len(body), body)


@pytest.mark.parametrize("body", [b"", b"x", b"z" * 12])
def test_a_message_that_is_not_all_there_is_for_the_parser(heads: Heads[str], body: bytes) -> None:
    whole = post(body)

    assert [size for size in range(len(whole)) if heads.find(whole[:size]) is not None] == []
    assert heads.find(whole + b"x") is None


@pytest.mark.parametrize("length", [b"-3", b"+3", b" 3", b"3 ", b"0x3", b"", b"3\r\nX: 1", b"000003", b"3" * 5_000])
def test_a_length_that_is_not_plain_is_for_the_parser(heads: Heads[str], length: bytes) -> None:
    assert heads.find(post(b"abc").replace(b": 3", b": " + length)) is None


def test_a_long_message_is_for_the_parser(heads: Heads[str]) -> None:
    assert heads.find(post(b"x" * LARGE)) is None


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"\r\n\r\n" + post(b"abc"), 3),
        (post(b"abc") + b"\r\n\r\nd", 1),
        (post(b"abc"), 2),
        (post(b"abc", "X-Length: %d"), 3),
        (b"GET /mcp HTTP/1.1\r\nHost: localhost\r\n\r\nd", 1),
        (post(b"abc", "Content-Length: 0%d"), 3),
        (post(b"abc", "Content-Length: x%d"), 3),
        (post(b"abc", "Content-Length: %d0"), 3),
    ],
)
def test_what_is_framed_by_something_else_is_not_learned(data: bytes, size: int) -> None:
    heads: Heads[str] = Heads()
    heads.learn(data, size, lambda: "no head")

    assert not heads._known


def test_long_heads_and_messages_are_not_remembered_and_the_same_head_only_once(heads: Heads[str]) -> None:
    long = post(b"abc", f"X-Long: {'x' * LONGEST}\r\nContent-Length: %d")
    heads.learn(long, 3, lambda: "a long head")
    heads.learn(post(b"x" * LARGE), LARGE, lambda: "a long message")
    for _ in range(MOST):
        heads.learn(post(b"de"), 2, lambda: "the same head")

    assert heads.find(post(b"abc")) == ("the same head", b"3", b"abc")
    assert len(heads._known) == 1


def test_few_heads_are_remembered_and_none_for_long_that_do_not_come_again() -> None:
    heads: Heads[int] = Heads()

    def learn(number: int) -> bytes:
        data = post(b"x", path=f"/{number}")
        heads.learn(data, 1, lambda: number)
        return data

    learned = [learn(number) for number in range(IN_VAIN)]
    assert [heads.find(data) is not None for data in learned] == [False] * (IN_VAIN - MOST) + [True] * MOST
    unknown = [learn(IN_VAIN + number) for number in range(10 * IN_VAIN)]
    heads._learned = IN_VAIN
    assert [heads.find(learn(1_000 + number)) is not None for number in range(IN_VAIN)].count(True) == 1
    assert heads.find(unknown[0]) is None
