"""The version, read by packaging, reports and the command line; and those of the packages that results depend on."""

__version__ = "0.2.0"


def package_versions() -> dict[str, str]:
    """Versions that a result or program file names."""
    # Here and not above: it takes longer to import than all else that ``import eie`` does.
    from importlib.metadata import version

    return {"eie": __version__, **{name: version(name) for name in ("numpy", "numba")}}
