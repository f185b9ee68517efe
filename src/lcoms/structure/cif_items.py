"""Additional data items in the CIF text of a crystal."""

from __future__ import annotations

from collections.abc import Mapping


def with_items(text: str, items: Mapping[str, str]) -> str:
    """Return the CIF text of one block with items added at its beginning.

    Args:
        text: as `to_cif` writes it.
        items: values by data name, quoted here as CIF requires; the names must not yet occur in the text.
    """
    import gemmi

    head, line, rest = text.partition("\ndata_")
    if not line:
        head, line, rest = "", "data_", text.removeprefix("data_")
    name, _, body = rest.partition("\n")
    width = max((len(item) for item in items), default=0) + 1
    added = "".join(f"{item:<{width}}{gemmi.cif.quote(value)}\n" for item, value in items.items())
    return f"{head}{line}{name}\n{added}{body}"
