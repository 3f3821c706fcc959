"""Packages that tests install: a folder with modules and metadata, put on the path."""

import importlib
import sys
from pathlib import Path


def install(monkeypatch, folder, name, modules, offers, version="1.0"):
    """Install a package; what it offers is a dict of group -> name -> path."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)
        monkeypatch.delitem(sys.modules, module, raising=False)
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for group, entries in offers.items():
        lines += [f"[ritz.{group}]", *(f"{key} = {path}" for key, path in entries.items())]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
