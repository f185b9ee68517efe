"""Hooks of the documentation site: what MkDocs cannot take from a file as it is.

- pages of the API, one for each package, the command reference and the picture of the architecture, from the code;
- the notebook, the changelog, CONTRIBUTING.md, benchmarks/README.md and the model card as pages;
- equations as MathML, which browsers draw without scripts, fonts or a network.
"""

from __future__ import annotations

import html
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))
from architecture import picture

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "lcoms"
API_TITLE = "API reference"
WHOLE_FILES = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "benchmarks.md": "benchmarks/README.md",
    "model-card.md": "src/lcoms/weights/MODEL_CARD.md",
}
NOTEBOOKS = {"notebook.md": "docs/notebook.ipynb"}
MOVED_LINKS = {
    "../benchmarks/README.md": "benchmarks.md",
    "../docs/comparison.md": "comparison.md",
    "../docs/results.md": "results.md",
    "../src/lcoms/weights/MODEL_CARD.md": "model-card.md",
    "docs/oracles.md": "oracles.md",
    "docs/results.md": "results.md",
}
MATH = re.compile(r'<(span|div) class="arithmatex">\s*\\[(\[](.*?)\\[)\]]\s*</\1>', re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name the pages of the API in the navigation, where it has an entry without pages for them."""
    _fill_navigation(config.nav or [])
    return config


def _fill_navigation(entries: list[Any]) -> None:
    for entry in entries:
        if isinstance(entry, dict):
            if API_TITLE in entry:
                entry[API_TITLE] = list(api_pages())
            else:
                _fill_navigation([part for part in entry.values() if isinstance(part, list)])
        elif isinstance(entry, list):
            _fill_navigation(entry)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here."""
    from mkdocs.structure.files import File

    pages = {**api_pages(), "commands.md": command_reference()}
    pages |= {page: (ROOT / path).read_text(encoding="utf-8") for page, path in WHOLE_FILES.items()}
    for page, path in NOTEBOOKS.items():
        pages[page], images = notebook_page(ROOT / path)
        for name, content in images.items():
            files.append(File.generated(config, name, content=content))
    pages["images/architecture.svg"] = picture()
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Links that are right in the repository, turned to where their targets stand on the site."""
    for path, target in MOVED_LINKS.items():
        markdown = markdown.replace(f"]({path})", f"]({target})")
    return markdown


def on_page_content(content: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Equations as MathML."""
    return MATH.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    from latex2mathml.converter import convert

    display = "block" if found[1] == "div" else "inline"
    return str(convert(html.unescape(found[2]).strip(), display=display))


def api_pages() -> dict[str, str]:
    """Markdown of the API pages: the modules of the root, then one page for each package."""
    modules = [info for info in pkgutil.iter_modules([str(SOURCE)]) if info.name != "__main__"]
    single = ["lcoms", *(f"lcoms.{info.name}" for info in modules if not info.ispkg)]
    pages = {"api/lcoms.md": _api_page("lcoms", single)}
    for info in modules:
        if info.ispkg:
            inside = [f"lcoms.{info.name}.{one.name}" for one in pkgutil.iter_modules([str(SOURCE / info.name)])]
            pages[f"api/{info.name}.md"] = _api_page(f"lcoms.{info.name}", [f"lcoms.{info.name}", *inside])
    return pages


def _api_page(title: str, modules: list[str]) -> str:
    return f"# {title}\n\n" + "\n".join(f"::: {module}\n" for module in modules)


def command_reference() -> str:
    """Markdown of all commands with their arguments and options, as `--help` has them."""
    from lcoms.cli.main import COMMANDS, load_command

    parts = [
        "# Commands\n",
        "Errors are one sentence and exit code 2; an interruption ends with 130. `--help` says the same.\n",
    ]
    for name, lazy in COMMANDS.items():
        command = load_command(name)
        if hasattr(command, "commands"):
            parts.append(f"## lcoms {name}\n\n{lazy.help}\n")
            for inner, one in command.commands.items():
                parts.append(_describe(one, f"lcoms {name} {inner}", 3))
        else:
            parts.append(_describe(command, f"lcoms {name}", 2))
    return "\n".join(parts)


def _describe(command: Any, path: str, level: int) -> str:
    import typer

    context = typer.Context(command, info_name=path)
    usage = command.get_usage(context).removeprefix("Usage: ")
    rows = "\n".join(f"| `{name}` | {_cell(text)} |" for name, text in _records(command, context))
    table = f"| argument or option | meaning |\n| --- | --- |\n{rows}\n" if rows else ""
    return f"{'#' * level} {path}\n\n{command.help or ''}\n\n```text\n{usage}\n```\n\n{table}"


def _records(command: Any, context: Any) -> Iterator[tuple[str, str]]:
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None:
            yield record


def _cell(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "\\|").replace("[", "\\[").replace("]", "\\]")


def notebook_page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Markdown of a notebook with its outputs, and the images in it by name."""
    from nbconvert import MarkdownExporter

    exporter: Callable[..., tuple[str, dict[str, Any]]] = MarkdownExporter().from_filename
    text, resources = exporter(str(path))
    return text, dict(resources["outputs"])
