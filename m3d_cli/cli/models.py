"""``m3d models``: which networks there are, what may be done with them, and how good they are."""

from __future__ import annotations

import json

from m3d_cli.cli.option_groups import Json
from m3d_cli.cli.streams import write_line


def models(as_json: Json = False) -> None:
    """List the networks: installed or not, size, licence, accuracy, weaknesses."""
    from m3d_cli.models.description import description, facts, listed

    for spec, weights in listed():
        write_line(json.dumps(facts(spec, weights)) if as_json else description(spec, weights))
