"""What a user may ask of an importer beyond the file. Read by `eie.importers` and the importers it applies to."""

from __future__ import annotations

from typing import Literal

Unsupported = Literal["refuse", "skip"]
