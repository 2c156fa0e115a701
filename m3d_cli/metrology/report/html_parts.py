"""The parts of the pages that m3d makes, and the policies that keep any script but their own from running."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources


def page_asset(name: str) -> str:
    """The text of a file in the folder ``page``."""
    return (resources.files("m3d_cli.metrology.pick") / "page" / name).read_text(encoding="utf-8")


def policy_hash(text: str) -> str:
    """How a content security policy names an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def pick_page() -> tuple[str, str]:
    """The page, and its content security policy: its own style and script, its own server, nothing else."""
    style, script = page_asset("pick.css"), page_asset("pick.js") + page_asset("pick_items.js")
    policy = (
        f"default-src 'none'; img-src 'self'; connect-src 'self'; style-src '{policy_hash(style)}'; "
        f"script-src '{policy_hash(script)}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Measure</title>'
        f"<style>{style}</style></head><body>{page_asset('pick.html')}<script>{script}</script></body></html>\n"
    )
    return page, policy
