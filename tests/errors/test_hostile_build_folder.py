"""What is read back: a build folder's report.json and files of samples, made by anyone."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limited import run_limited
from onnx_models import ModelMaker

from tinycompile.array_files import MOST_BYTES, read_arrays
from tinycompile.commands.emulate import _interface
from tinycompile.commands.samples import read_inputs
from tinycompile.errors import UsageError
from tinycompile.ir.graph import Tensor
from tinycompile.ir.interface import Interface, Port
from tinycompile.ir.types import DType
from tinycompile.output_folder import earlier_build, write_folder
from tinycompile.quantize.calibration import read_samples

INTERFACE = Interface(
    "model",
    "cortex-m7",
    64,
    16,
    (Port("x", "input", (1, 4), DType.INT8, 0.5, 1),),
    (Port("y", "output", (1, 2), DType.FLOAT32),),
)
REPORT = {"interface": INTERFACE.to_json(), "files": {"model.c": 10, "report.json": 5}}

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["..", "../a", "/"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where each value of a JSON object stands."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(p for key, value in inner for p in places(value, (*path, key)))]


PLACES = places(REPORT)


def changed(place: tuple[Any, ...], value: Any) -> Any:
    data = json.loads(json.dumps(REPORT))
    if not place:
        return value
    at = data
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    return data


def test_the_report_that_the_others_are_made_from_is_read(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    assert _interface(tmp_path) == INTERFACE
    assert earlier_build(tmp_path) == ("model.c", "report.json")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(PLACES), value=VALUES)
def test_any_report_is_read_or_refused(place: tuple[Any, ...], value: Any, tmp_path: Path) -> None:
    """No exception but UsageError, no name that is no C identifier, and no file outside the folder."""
    (tmp_path / "report.json").write_text(json.dumps(changed(place, value)), encoding="utf-8")
    for name in earlier_build(tmp_path) or ():
        assert (tmp_path / name).resolve().is_relative_to(tmp_path.resolve())
    try:
        interface = _interface(tmp_path)
    except UsageError:
        return
    assert all(n.isidentifier() and n.isascii() for n in (interface.prefix, *(p.c_name for p in interface.inputs)))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_bytes_that_are_no_report(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(data)
    assert earlier_build(tmp_path) is None
    with pytest.raises(UsageError):
        _interface(tmp_path)


@pytest.mark.parametrize("c_name", ["a; system(0)", "", "1a", None])
def test_names_of_states_are_identifiers_too(c_name: Any, tmp_path: Path) -> None:
    port = {**REPORT["interface"]["inputs"][0], "c_name": c_name}  # type: ignore[index]
    states = [{"port": port, "input": 1, "output": 1}]
    (tmp_path / "report.json").write_text(json.dumps(changed(("interface", "states"), states)))
    with pytest.raises(UsageError):
        _interface(tmp_path)


@pytest.mark.parametrize("key", ["arena_bytes", "arena_align"])
def test_infinity_is_no_size(key: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(changed(("interface", key), float("inf"))))
    with pytest.raises(UsageError):
        _interface(tmp_path)


def test_a_report_nested_without_end(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("[" * 200_000)
    with pytest.raises(UsageError):
        _interface(tmp_path)
    assert earlier_build(tmp_path) is None


def test_a_second_build_removes_nothing_outside_its_folder(tmp_path: Path) -> None:
    """The list of files of an earlier build names others' files, by paths and through a link."""
    kept = tmp_path / "kept.txt"
    kept.write_text("mine")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "up").symlink_to(tmp_path)
    files = {"../kept.txt": 1, str(kept): 1, "up/kept.txt": 1, "a/../../kept.txt": 1, "old.c": 1}
    (folder / "old.c").write_text("")
    (folder / "report.json").write_text(json.dumps({**REPORT, "files": files}))
    write_folder(folder, {"new.c": "int x;\n", "report.json": "{}"}, force=False)
    assert kept.read_text() == "mine"
    assert not (folder / "old.c").exists()


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_pickled_samples_are_not_unpickled(tmp_path: Path) -> None:
    touched, path = tmp_path / "touched", tmp_path / "in.npz"
    np.savez(path, x=np.array([Payload(touched)], dtype=object))
    with pytest.raises(UsageError):
        read_inputs(path, INTERFACE)
    with pytest.raises(UsageError):
        read_arrays(path)
    path.write_bytes(pickle.dumps(Payload(touched)))
    with pytest.raises(UsageError):
        read_inputs(path, INTERFACE)
    with pytest.raises(UsageError):
        read_arrays(path)
    assert not touched.exists()
    with path.open("rb") as file:
        pickle.load(file)
    assert touched.exists(), "the control: this payload does what it says"


def header(shape: str) -> bytes:
    """A .npy file of int8 without data."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|i1", "fortran_order": False, "shape": (0,)})
    return file.getvalue().replace(b"(0,)", shape.encode(), 1).replace(b" " * (len(shape) - 4), b"", 1)


@pytest.mark.parametrize("shape", ["(1099511627776, 4)", "(4611686018427387904, 4)", "(-1, 4)", "(5, 4)"])
def test_samples_that_declare_more_than_they_hold(shape: str, tmp_path: Path) -> None:
    path = tmp_path / "in.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header(shape))
    with pytest.raises(UsageError):
        read_inputs(path, INTERFACE)
    with pytest.raises(UsageError):
        read_arrays(path)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04" + b"\0" * 50, b"\x93NUMPY\x01\x00", b"no archive"])
def test_samples_that_are_no_archive(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "in.npz"
    path.write_bytes(data)
    with pytest.raises(UsageError):
        read_inputs(path, INTERFACE)
    np.save(tmp_path / "in.npy", np.zeros((1, 1, 4), dtype=np.int8))
    with pytest.raises(UsageError):
        read_inputs(tmp_path / "in.npy", INTERFACE)


def bomb(path: Path, kibibytes: int, name: str = "x.npy") -> None:
    """A small archive of an array of int8 that is so large."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as member:
        member.write(header(f"({kibibytes * 256}, 4)"))
        for _ in range(kibibytes):
            member.write(bytes(1 << 10))


def test_samples_that_unpack_to_more_than_memory(tmp_path: Path) -> None:
    """A megabyte that unpacks to more than a gibibyte: of one array or of several, and a `.npy` of holes."""
    bomb(tmp_path / "one.npz", (MOST_BYTES >> 10) + 1)
    assert (tmp_path / "one.npz").stat().st_size < 4 << 20
    with pytest.raises(UsageError, match="more than"):
        read_inputs(tmp_path / "one.npz", INTERFACE)
    with (tmp_path / "holes.npy").open("wb") as file:
        file.write(header(f"({MOST_BYTES}, 4)"))
        file.truncate(MOST_BYTES * 4 + 1024)
    for name in ("one.npz", "holes.npy"):
        with pytest.raises(UsageError, match="more than"):
            read_arrays(tmp_path / name)
    np.savez(tmp_path / "two.npz", a=np.zeros(60, dtype=np.int8), b=np.zeros(60, dtype=np.int8))
    with pytest.raises(UsageError, match="more than"):
        read_arrays(tmp_path / "two.npz", 119)
    assert read_arrays(tmp_path / "two.npz", 120)["b"].size == 60, "the control"


def test_a_folder_of_calibration_files_that_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = Tensor("x", (1, 4), DType.FLOAT32)
    for k in range(3):
        np.savez_compressed(tmp_path / f"{k}.npz", x=np.zeros((100, 4), dtype=np.float32))
    monkeypatch.setattr("tinycompile.quantize.calibration.MOST_BYTES", 4800)
    assert len(read_samples(str(tmp_path), [x], 1000)) == 300, "the control"
    monkeypatch.setattr("tinycompile.quantize.calibration.MOST_BYTES", 4799)
    with pytest.raises(UsageError, match="more than"):
        read_samples(str(tmp_path), [x], 1000)


def test_calibrating_with_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    bomb(tmp_path / "bomb.npz", (MOST_BYTES >> 10) + 1)
    m = ModelMaker([1, 4], 0)
    onnx.save(m.model(m.node("Relu", "x")), tmp_path / "m.onnx")
    run = run_limited("quantize", tmp_path / "m.onnx", "--calibration", tmp_path / "bomb.npz")
    assert run.status == 2
    assert "bytes of arrays" in run.stderr


def test_good_samples_are_read(tmp_path: Path) -> None:
    """The control."""
    path = tmp_path / "in.npz"
    np.savez(path, x=np.ones((3, 1, 4), dtype=np.int8))
    assert read_inputs(path, INTERFACE)[0].shape == (3, 1, 4)


def test_emulating_a_folder_that_is_no_build(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(changed(("interface", "prefix"), "a; touch x")))
    run = run_limited("emulate", tmp_path)
    assert run.status == 2
    assert "Traceback" not in run.stderr
