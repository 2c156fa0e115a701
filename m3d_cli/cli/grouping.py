"""Groups of options: frozen dataclasses whose annotated fields become the options of a command.

A command names the groups that it takes as keyword parameters; `grouped` shows Typer one flat signature and hands the
command the groups, filled. Panels of the help come in the order of the groups. A `setting` can also be given in the
environment, as ``M3D_`` and the name of its field.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.models import OptionInfo

# Stands for the variable that `grouped` names after the field.
_BY_FIELD = "M3D_"


def option(help_text: str, *names: str, **more: Any) -> Any:
    """An option of the command line; ``more`` as for `typer.Option`."""
    return typer.Option(*names, help=help_text, **more)


def setting(help_text: str, *names: str, **more: Any) -> Any:
    """An option that the environment can give, too."""
    return typer.Option(*names, help=help_text, **{"envvar": _BY_FIELD, **more})


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with the fields of its dataclass parameters as options of their own."""
    hints = get_type_hints(command, include_extras=True)
    flat: list[inspect.Parameter] = []
    groups: dict[str, type[Any]] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        hint = hints[name]
        if isinstance(hint, type) and is_dataclass(hint):
            groups[name] = hint
            flat += _parameters(hint)
        else:
            annotation = _finished(name, hint, None)
            flat.append(parameter.replace(annotation=annotation, kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def flattened(**values: Any) -> None:
        made = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**values, **made)

    # Typer would otherwise look through to the command, whose parameters are the groups.
    del flattened.__wrapped__
    flattened.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    flattened.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return flattened


def given(context: typer.Context, *names: str) -> tuple[str, ...]:
    """Those of the parameters ``names`` that stand on the command line."""
    return given_by(context, "COMMANDLINE", names)


def given_by(context: typer.Context, place: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the parameters ``names`` that come from ``place``, such as ENVIRONMENT."""
    sources = {name: context.get_parameter_source(name) for name in names}
    return tuple(name for name, source in sources.items() if source is not None and source.name == place)


def _parameters(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=_finished(field.name, hints[field.name], getattr(group, "PANEL", None)),
        )
        for field in fields(group)
    ]


def _finished(name: str, hint: Any, panel: str | None) -> Any:
    """The annotation with the panel of its group and the variable of its field."""
    if len(get_args(hint)) != 2 or not isinstance(get_args(hint)[1], OptionInfo):
        return hint
    kind, info = get_args(hint)[0], copy.copy(get_args(hint)[1])
    if info.rich_help_panel is None:
        info.rich_help_panel = panel
    if kind is bool and not info.param_decls:
        # Typer would add --no-NAME.
        info.param_decls = ("--" + name.replace("_", "-"),)
    if info.envvar == _BY_FIELD:
        info.envvar = _BY_FIELD + name.upper()
    return Annotated[kind, info]
