"""Orders the sections of the documentation, so that no page has to be listed anywhere."""

from typing import Any

SECTIONS = ["Tutorial", "How-to guides", "Reference", "Explanation"]
NAMES = {"How to": "How-to guides"}


def on_nav(nav: Any, **_: Any) -> Any:
    """Called by MkDocs with the navigation that it made from the folders."""
    for item in nav.items:
        if item.is_section:
            item.title = NAMES.get(item.title, item.title)
    nav.items.sort(key=lambda item: SECTIONS.index(item.title) if item.is_section else -1)
    return nav
