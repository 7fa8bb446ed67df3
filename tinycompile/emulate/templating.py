"""The harness and firmware templates, rendered."""

from __future__ import annotations

from typing import Any

import jinja2

from tinycompile.ir.interface import InputMode, Interface, OutputMode
from tinycompile.resources import data_dir


def render(template: str, interface: Interface | None = None, **context: Any) -> str:
    """Text of ``templates/<template>``; an interface gives `prefix`, its ports and the arena's figures."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(data_dir("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    if interface is not None:
        context |= {
            "prefix": interface.prefix,
            "inputs": interface.inputs,
            "outputs": interface.outputs,
            "stateful": bool(interface.states),
            "arena_align": interface.arena_align,
            "resident": interface.input_mode is InputMode.RESIDENT,
            "popped": interface.output_mode is OutputMode.STREAMED,
        }
    return environment.get_template(template).render(**context)
