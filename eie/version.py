"""The version, read by packaging, reports and the command line; and those of the packages that results depend on."""

from importlib.metadata import version

__version__ = "0.2.0"


def package_versions() -> dict[str, str]:
    """Versions that a result or program file names."""
    return {"eie": __version__, **{name: version(name) for name in ("numpy", "numba")}}
