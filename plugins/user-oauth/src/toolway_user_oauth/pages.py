"""The pages that people see: rendered here, without scripts, and not to be framed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

HEADERS = {
    "content-security-policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "same-origin",  # the link stays here, and forms say where they come from
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
)


def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """One page; every value is escaped."""
    return HTMLResponse(_templates.get_template(template).render(values), status, HEADERS)


def told(title: str, text: str, status: int = 200) -> HTMLResponse:
    """A page with one sentence."""
    return page("page.html", status, title=title, text=text)
