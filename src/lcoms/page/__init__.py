"""Predictions as a web page that needs no server: `page_html` and `write_page`."""

from lcoms.page.render import page_html, write_page

__all__ = ["page_html", "write_page"]
