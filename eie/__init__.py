"""EIE: what a pruned, weight-shared network costs on a sparse accelerator, and why.

All that a caller needs can be had from here. Names and their homes are listed once, in ``__init__.pyi``, which type
checkers read too; each is loaded on first use, so that ``import eie`` stays instant.
"""

from importlib import import_module

from eie.version import __version__ as __version__


def _homes() -> dict[str, tuple[str, str]]:
    """Read the stub: public name to its module and its name there."""
    imported: dict[str, tuple[str, str]] = {}
    public: dict[str, str] = {}
    # Plain words, not `ast`: parsing would take most of the time of ``import eie``.
    with open(f"{__file__}i", encoding="utf-8") as stub:
        for line in stub:
            match line.split():
                case ["from", module, "import", name]:
                    imported[name] = module, name
                case ["from", module, "import", name, "as", own]:
                    imported[own] = module, name
                    if own == name:
                        public[name] = name
                case [name, "=", other]:
                    public[name] = other
    del public["__version__"]
    return {name: imported[other] for name, other in public.items()}


_HOMES = _homes()
__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name in _HOMES:
        module, there = _HOMES[name]
        value = getattr(import_module(module), there)
        # `rtl` is a room as well, and there now; it answers a call as the function does.
        return globals().setdefault(name, value)
    raise AttributeError(f"module 'eie' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
