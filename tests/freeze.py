"""Rewrite the frozen outputs in tests/fixtures (``make freeze``); look at the difference before committing it."""

import hashlib
from pathlib import Path

import numpy as np
from coded_models import SMALL, frozen_network

import eie

ROOT = Path(__file__).parent.parent


def image_digest() -> str:
    """SHA-256 over the PE images of the shipped LeNet."""
    program = eie.compile(eie.load(ROOT / "models" / "lenet-300-100.toml"))
    digest = hashlib.sha256()
    for layer in program.layers:
        for one in layer.passes:
            for name in ("bases", "pointers", "codes", "runs"):
                digest.update(np.ascontiguousarray(getattr(one, name)).tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    (ROOT / "tests" / "fixtures" / "lenet-300-100.image.sha256").write_text(image_digest() + "\n")
    eie.save(frozen_network(), ROOT / "tests" / "fixtures" / SMALL)
