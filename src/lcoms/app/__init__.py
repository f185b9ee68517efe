"""Prediction in the browser: `make_app`."""

from lcoms.app.server import LOCAL_NAMES, Settings, make_app

__all__ = ["LOCAL_NAMES", "Settings", "make_app"]
