"""Plugins of tests that can be enabled as installed ones are."""

from pathlib import Path


def distributed(directory: Path, name: str, entry_point: str) -> Path:
    """Put a distribution with one plugin into the directory, which goes onto `sys.path` or into `PYTHONPATH`."""
    info = directory / f"toolway_{name}-1.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: toolway-{name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[toolway.plugins]\n{name} = {entry_point}\n")
    return directory
