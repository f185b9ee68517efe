"""Items that tell of a crystal, put into the CIF text that holds it."""

from __future__ import annotations

from collections.abc import Mapping


def with_items(text: str, items: Mapping[str, str]) -> str:
    """A CIF text of one block with more items at its beginning.

    Args:
        text: as `to_cif` writes it.
        items: values by data name; they are quoted as CIF needs it, and those in use must not be in the text.
    """
    import gemmi

    head, line, rest = text.partition("\ndata_")
    if not line:
        head, line, rest = "", "data_", text.removeprefix("data_")
    name, _, body = rest.partition("\n")
    width = max((len(item) for item in items), default=0) + 1
    added = "".join(f"{item:<{width}}{gemmi.cif.quote(value)}\n" for item, value in items.items())
    return f"{head}{line}{name}\n{added}{body}"
