"""``m3d doctor``: what m3d can do on this machine."""

from __future__ import annotations

import json

from m3d_cli.cli.option_groups import Json
from m3d_cli.cli.streams import write_line


def doctor(as_json: Json = False) -> None:
    """Show versions, devices, precision, formats and where the weights are."""
    from m3d_cli.pipeline.machine_facts import machine_facts

    facts = machine_facts()
    if as_json:
        write_line(json.dumps(facts))
        return
    for name, value in facts.items():
        write_line(f"{name:18}{', '.join(value) if isinstance(value, list) else value}")
