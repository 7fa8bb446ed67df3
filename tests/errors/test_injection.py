"""Names from a model file: they never become code, markup, templates, file names or terminal commands.

The same network is built under plain and under hostile names. Its C must be the same but for comments, compile without
a warning, and its page must have the markup of the plain one.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper
from test_bad_onnx import OPSET, value

from tinycompile.commands.samples import random_inputs
from tinycompile.emulate.host import run_host
from tinycompile.frontends.naming import c_prefix
from tinycompile.pipeline import Build, ImportOptions, build_model
from tinycompile.report.summary import Budgets
from tinycompile.target import load_target

HOSTILE = {
    "end of comment": "*/ int main(void) { return 1; } /*",
    "escaped newline": "name \\\n#error injected",
    "trigraph": "name ??/\n#error injected ??/",
    "quotes": "\"'`; #error injected",
    "control": "\x1b]0;title\x07\x1b[31m\r\x00\x7f\x9b31m",
    "bidirectional": "\u202e\u2066gnp\u2069 \u200b",
    "line separators": "a\u2028#error injected\u2029b\x85c\x0bd\x0ce",
    "template": "{{ 7 * 191 }}{% include '/etc/passwd' %}{# #}",
    "html": "</td></table><script>alert(1)</script><img src=x onerror=alert(1)>",
    "svg": '"><svg onload="alert(1)"><title></style></svg>',
    "entities": "&lt;script&gt;&#60;b&#62;",
    "cmake": "${CMAKE_BINARY_DIR} $ENV{HOME} ) execute_process(COMMAND touch x",
    "path": "../../../../tmp/escaped",
    "absolute": "/etc/cron.d/escaped",
    "format": "%n%s{0.__class__}",
    "printable macro": "NULL",
    "long": "n" * 100_000,
    "digits": "0",
}


def network(name: str) -> Any:
    """Two convolutions, a concatenation and a softmax; every name, description and domain holds `name`."""
    rng = np.random.default_rng(0)
    x, w, a, b, c, y = (f"{name}{k}" if name else f"t{k}" for k in range(6))
    nodes = [
        helper.make_node("Conv", [x, w], [a], name=f"{name}n", pads=[1] * 4),
        helper.make_node("Relu", [a], [b], name=name, doc_string=name),
        helper.make_node("Concat", [a, b], [c], name=f"{name}m", axis=1),
        helper.make_node("Softmax", [c], [y], name=f"{name}o", axis=3),
    ]
    weights = numpy_helper.from_array(rng.standard_normal((2, 2, 3, 3)).astype(np.float32), w)
    graph = helper.make_graph(nodes, name or "g", [value(x, (1, 2, 4, 4))], [value(y, None)], [weights])
    model = helper.make_model(graph, opset_imports=OPSET, ir_version=9, producer_name=name, doc_string=name)
    helper.set_model_props(model, {"key": name})
    return model


def built(name: str, folder: Path) -> Build:
    path = folder / "model.onnx"
    path.write_bytes(network(name).SerializeToString())
    return build_model(path, load_target("cortex-m7"), Budgets(None, None), ImportOptions())


def without_comments(source: str) -> str:
    return re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)


class Markup(HTMLParser):
    """The tags of a page, and the names of their attributes. Labels of the memory map are left out: long ones are."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "text":
            self.tags.append((tag, tuple(key for key, _ in attrs)))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Build:
    return built("", tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_code_is_that_of_plain_names(kind: str, plain: Build, tmp_path: Path) -> None:
    files = built(HOSTILE[kind], tmp_path).files
    assert set(files) == set(plain.files)
    for name, text in files.items():
        if name.endswith((".c", ".h", "CMakeLists.txt")):
            assert without_comments(text) == without_comments(plain.files[name]), name
            assert text.isascii()
            assert all(c.isprintable() or c == "\n" for c in text)
            assert "??/" not in text
            assert "\\\n" not in text or name.startswith("tc_")
            assert text.count("/*") == text.count("*/") == plain.files[name].count("*/")


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_page_has_the_markup_of_plain_names(kind: str, plain: Build, tmp_path: Path) -> None:
    files = built(HOSTILE[kind], tmp_path).files
    page = files["report.html"]
    assert Markup(page).tags == Markup(plain.files["report.html"]).tags
    assert "<script" not in page
    assert "1337" not in page, "a template was run"
    assert all(c.isprintable() or c == "\n" for c in page)
    assert isinstance(json.loads(files["report.json"]), dict)


def test_the_markup_check_finds_a_tag(plain: Build) -> None:
    """The control."""
    page = plain.files["report.html"]
    assert Markup(page.replace("<h1>", "<h1><script></script>")).tags != Markup(page).tags


def test_hostile_names_compile_without_a_warning(tmp_path: Path) -> None:
    """All at once, under every warning as an error, with sanitizers; and the results are those of the plain network."""
    outputs = []
    for label, name in (("plain", ""), ("hostile", "".join(HOSTILE.values())[:50_000])):
        folder = tmp_path / label
        folder.mkdir()
        build = built(name, folder)
        for file, text in build.files.items():
            (folder / file).write_text(text, encoding="utf-8")
        interface = build.plan.interface
        outputs.append(run_host(folder, interface, random_inputs(interface, 2)).outputs[0])
    np.testing.assert_array_equal(*outputs)


@pytest.mark.parametrize(
    "stem", ["..", "a;touch x", "$(touch x)", "-o", "model\n", "int", "tc_types", "é", "{{7*7}}", "con"]
)
def test_files_are_named_by_plain_words(stem: str, tmp_path: Path) -> None:
    """The names of generated files come from the model's own file name or from --name, reduced to an identifier."""
    prefix = c_prefix(stem)
    assert re.fullmatch(r"[a-z_][a-z0-9_]*", prefix)
    path = tmp_path / "model.onnx"
    path.write_bytes(network("").SerializeToString())
    made = build_model(path, load_target("cortex-m7"), Budgets(None, None), ImportOptions(name=stem)).files
    for name in made:
        assert re.fullmatch(r"[A-Za-z0-9_]+\.(c|h|txt|html|json)", name)
        assert name.startswith((prefix, "tc_", "CMakeLists", "report"))
