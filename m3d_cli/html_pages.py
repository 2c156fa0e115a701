"""HTML pages from jinja2 templates: every value is escaped, and a policy lets no script run but the page's own."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def environment(package: str) -> Environment:
    """Templates in the folder ``templates`` of ``package``."""
    loader = PackageLoader(package)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def inline(package: str, *names: str) -> Markup:
    """The text of style or script files among the templates of ``package``, which is ours and not escaped."""
    folder = resources.files(package) / "templates"
    return Markup("".join((folder / name).read_text(encoding="utf-8") for name in names))  # noqa: S704 - our own files


def policy_hash(text: str) -> str:
    """How a content security policy names an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def jpeg_uri(data: bytes) -> str:
    """A JPEG inside the page."""
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
