"""What compiling a model does beyond computing: it reads the model and its external data, and nothing else happens.

Python reports file accesses, processes, connections and unpickling to audit hooks; a process compiles models under one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from test_bad_onnx import external_model

ROOT = Path(__file__).parents[2]
SEEDS = sorted((ROOT / "tests" / "fuzz" / "corpus").rglob("seed-*"))

PROGRAM = """
import json, os, sys
from pathlib import Path
events = []
WATCHED = ("subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "socket.", "pickle.",
           "ctypes.dlopen", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod",
           "os.truncate", "shutil.", "tempfile.", "urllib.")

def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        written = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if isinstance(flags, int) else False
        events.append(["write" if written else "read", os.fsdecode(path) if isinstance(path, (str, bytes)) else "-"])
    elif event.startswith(WATCHED):
        events.append([event, repr(arguments)[:200]])

from tinycompile.pipeline import ImportOptions, build_model
from tinycompile.report.summary import Budgets
from tinycompile.target import load_target

def build(path):
    return build_model(Path(path), load_target("cortex-m7"), Budgets(None, None), ImportOptions(name="model"))

import ortools.sat.python.cp_model  # as the planner does where addresses are contended
build(sys.argv[1])  # what is imported and compiled once is not the models' doing
sys.addaudithook(watch)
for path in sys.argv[1:]:
    build(path)
if {control}:
    __import__("subprocess").run(["true"])
    open(os.devnull, "w").close()
print(json.dumps(events))
"""


def side_effects(models: list[Path], control: bool = False) -> list[tuple[str, str]]:
    """(event, path or arguments) of a process that builds the models twice."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{control}", str(control)), *map(str, models)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [(event, what) for event, what in json.loads(done.stdout)]


def test_only_the_model_and_the_compiler_s_own_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "inside.bin").write_bytes(b"\0" * 16)
    external = tmp_path / "external.onnx"
    external.write_bytes(external_model("inside.bin").SerializeToString())
    models = [*SEEDS, external]
    own = (str(ROOT), sys.prefix, sys.base_prefix)
    allowed = {str(p) for p in models} | {str(tmp_path.resolve() / "inside.bin")}
    found = side_effects(models)
    assert {event for event, _ in found} == {"read"}, found
    assert [path for _, path in found if path not in allowed and not path.startswith(own)] == []
    assert ("read", str(tmp_path.resolve() / "inside.bin")) in found


def test_the_hook_sees_a_process_and_a_written_file() -> None:
    """The control."""
    events = {event for event, _ in side_effects(SEEDS[:1], control=True)}
    assert "subprocess.Popen" in events
    assert "write" in events
