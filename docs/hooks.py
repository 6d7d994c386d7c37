"""What the site needs beside its pages: equations as MathML, and the references, which are written from the code."""

import html
import importlib
import inspect
import re
from typing import Any

ROOMS = (
    *("progress", "slides", "tiles", "annotations", "encoders", "extraction", "tasks", "attention", "bags", "models"),
    *("training", "settings", "runs", "evaluation", "figures", "report", "study", "viewer", "deploy", "testing"),
    "bench",
)
"""A page each, in the order of the data."""
_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\([\[(])(.*?)\\[\])]</\1>', re.DOTALL)


def on_config(config: Any, **_: Any) -> Any:
    """Put the pages of the rooms into the navigation, behind the page that lists them."""
    (reference,) = (section["Reference"] for section in config.nav if "Reference" in section)
    reference += [{f"asmil.{room}": f"api/{room}.md"} for room in ROOMS]
    return config


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Make the pages of the rooms."""
    from mkdocs.structure.files import File

    for room in ROOMS:
        files.append(File.generated(config, f"api/{room}.md", content=room_page(room)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the references where the pages ask for them."""
    for mark, write in (
        ("<!-- commands -->", commands_page),
        ("<!-- settings -->", settings_page),
        ("<!-- api -->", rooms_table),
    ):
        if mark in markdown:
            markdown = markdown.replace(mark, write())
    return markdown


def on_page_content(content: str, **_: Any) -> str:
    """Every equation becomes MathML, which browsers draw without a script."""
    return _EQUATION.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    from latex2mathml.converter import convert

    return convert(html.unescape(found[3]), display="block" if found[2] == "[" else "inline")


def commands_page() -> str:
    """Every command with its arguments and options, as Markdown."""
    from asmil.cli import _load, command_summaries

    parts = []
    for name, summary in command_summaries().items():
        command = _load(name)
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
        words = "".join(f" {p.name.upper()}" if p.required else f" [{p.name.upper()}]" for p in arguments)
        rows = [f"| `{p.name.upper()}` | {_cell(p.help)} |" for p in arguments]
        rows += [f"| {_flags(p)} | {_cell(p.help)}{_default(p)} |" for p in options]
        parts += [f"## asmil {name}", f"`asmil {name}{words}`" if words else "", summary, _cell(command.help)]
        parts.append("\n".join(["| option | |", "|---|---|", *rows]) if rows else "")
    return "\n\n".join(parts)


def settings_page() -> str:
    """Every setting with its default, its unit and what it decides, as a Markdown table."""
    from asmil.settings import ABOUT

    rows = [
        f"| `{name}` | {_cell(about.sentence)} | {_value(about.default, about.unit)} | {about.decides} |"
        for name, about in ABOUT.items()
    ]
    return "\n".join(["| setting | | default | decides |", "|---|---|---|---|", *rows])


def _value(default: Any, unit: str) -> str:
    if default in (None, [], {}):
        return ""
    text = str(default).lower() if isinstance(default, bool) else str(default)
    return f"{text} {unit}".rstrip()


def _flags(option: Any) -> str:
    return " ".join(f"`{flag}`" for flag in [*option.opts, *option.secondary_opts])


def _default(option: Any) -> str:
    if not option.show_default or option.default in (None, [], ()) or callable(option.default):
        return ""
    value = option.default
    if isinstance(value, bool):
        return "" if not value and not option.secondary_opts else f" [{'yes' if value else 'no'}]"
    return f" [{getattr(value, 'value', value)}]"


def _cell(text: str | None) -> str:
    """Text of a help within a table: no line breaks, and nothing that Markdown or HTML would take for its own."""
    return html.escape(inspect.cleandoc(text or "").replace("\n", " "), quote=False).replace("|", r"\|")


def rooms_table() -> str:
    """What every room is, and where its page is, as a Markdown table."""
    rows = [
        f"| [asmil.{room}](api/{room}.md) | {_cell((_room(room).__doc__ or '').partition(chr(10))[0])} |"
        for room in ROOMS
    ]
    return "\n".join(["| room | |", "|---|---|", *rows])


def room_page(room: str) -> str:
    """Directives for mkdocstrings: every public name of a room, where it is defined."""
    package = _room(room)
    parts = [f"# asmil.{room}", (package.__doc__ or "").strip()]
    for name in package.__all__:
        part = getattr(package, name)
        if inspect.isclass(part) or inspect.isfunction(part):
            parts.append(f"::: {part.__module__}.{part.__qualname__}")
    return "\n\n".join(parts)


def _room(room: str) -> Any:
    return importlib.import_module(f"asmil.{room}")
