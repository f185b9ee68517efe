"""Predictions as a web page that needs no server: `page_html` and `PageWriter`."""

from lcoms.page.render import PageWriter, page_html

__all__ = ["PageWriter", "page_html"]
