"""Arrays in files: what is read, and that no whole one is ever held."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fqrewrite.errors import InputError
from fqrewrite.run.columns import stored_columns

ARRAY = np.random.RandomState(0).normal(size=(10, 3, 2)).astype(np.float32)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_front_to_back(save: Callable[..., None], tmp_path: Path) -> None:
    save(tmp_path / "d.npz", a=ARRAY, across=np.asfortranarray(ARRAY), odd=np.array([{}]))
    with stored_columns(tmp_path / "d.npz") as columns:
        for key in ("a", "across"):
            column = columns[key]
            assert column.shape == (10, 3, 2) and column.dtype == np.float32
            assert column.where.endswith(f"d.npz: {key}")
            parts = [column.read(4) for _ in range(4)]
            assert [len(part) for part in parts] == [4, 4, 2, 0]
            np.testing.assert_array_equal(np.concatenate(parts), ARRAY)


def test_single_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", ARRAY)
    with stored_columns(tmp_path / "d.npy") as columns:
        (key,) = columns
        assert key is None
        np.testing.assert_array_equal(columns[None].read(99), ARRAY)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    array = np.zeros((1000, 32, 1024), np.uint8)
    np.savez_compressed(tmp_path / "d.npz", a=array)
    with stored_columns(tmp_path / "d.npz") as columns:
        tracemalloc.start()
        for _ in range(100):
            columns["a"].read(10)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < array.nbytes / 10


def failure(path: Path, key: str | None = None) -> InputError:
    with pytest.raises(InputError) as caught, stored_columns(path) as columns:
        columns[key].read(9999)
    assert caught.value.where is not None and path.name in caught.value.where
    return caught.value


@pytest.mark.parametrize("name", ["none.npz", "none.npy"])
def test_files_that_do_not_exist(name: str, tmp_path: Path) -> None:
    assert failure(tmp_path / name).code == "data-unreadable"


@pytest.mark.parametrize("name", ["d.npz", "d.npy"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x93NUMPY\x01\x00"])
def test_files_that_are_no_arrays(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert failure(tmp_path / name).code == "data-unreadable"


@pytest.mark.parametrize("name", ["d.npz", "d.npy"])
def test_files_that_are_cut_off(name: str, tmp_path: Path) -> None:
    if name == "d.npy":
        np.save(tmp_path / name, ARRAY)
    else:
        np.savez(tmp_path / name, ARRAY)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[:-60] if name == "d.npy" else data[:60])
    found = failure(tmp_path / name)
    assert found.code == "data-unreadable"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_archive(save: Callable[..., None], tmp_path: Path) -> None:
    save(tmp_path / "d.npz", a=np.random.RandomState(0).normal(size=5000))
    data = bytearray((tmp_path / "d.npz").read_bytes())
    data[2000:2100] = bytes(100)
    (tmp_path / "d.npz").write_bytes(data)
    assert failure(tmp_path / "d.npz", "a").code == "data-unreadable"


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.array([{}]), "data-unreadable"),
        (np.zeros(3, [("é", np.float32)]), "data-unreadable"),
        (np.float32(1), "data-shape"),
    ],
)
def test_arrays_that_are_no_samples(array: Any, code: str, tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", array, allow_pickle=True)
    assert failure(tmp_path / "d.npy").code == code
