"""Sample data by what is named: files, folders of pictures, functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numeric import tf1

from fqrewrite.errors import ConfigError, FqrewriteError, InputError
from fqrewrite.run.data import open_data
from fqrewrite.run.images import ImageOptions
from fqrewrite.run.inputs import GraphInput

IMAGES = (GraphInput(name="x", dtype="float32", shape=(-1, 4, 6, 3), optional=False),)
PIXELS = np.random.RandomState(0).randint(0, 256, (3, 4, 6, 3)).astype(np.uint8)


def taking(*shape: int, dtype: str = "float32") -> tuple[GraphInput, ...]:
    return (GraphInput(name="x", dtype=dtype, shape=shape, optional=False),)


def read(text: str | Path, inputs: tuple[GraphInput, ...] = IMAGES, **options: Any) -> list[Any]:
    with open_data(str(text), inputs, 2, ImageOptions(**options)) as opened:
        return [batch.feed for batch in opened.batches]


def failure(text: str | Path, inputs: tuple[GraphInput, ...] = IMAGES, **options: Any) -> FqrewriteError:
    with pytest.raises(FqrewriteError) as caught:
        read(text, inputs, **options)
    return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, in the order of their names b, c/a, d, and a text."""
    (tmp_path / "pictures" / "c").mkdir(parents=True)
    with tf1.Graph().as_default(), tf1.Session() as session:
        for name, pixels in zip(("b.png", "c/a.PNG", "d.bmp.png"), PIXELS, strict=True):
            (tmp_path / "pictures" / name).write_bytes(session.run(tf1.image.encode_png(pixels)))
    (tmp_path / "pictures" / "notes.txt").write_text("no picture", encoding="utf-8")
    return tmp_path / "pictures"


def test_pictures(folder: Path) -> None:
    found = read(folder)
    assert [feed["x"].shape for feed in found] == [(2, 4, 6, 3), (1, 4, 6, 3)]
    np.testing.assert_allclose(np.concatenate([feed["x"] for feed in found]), PIXELS)
    scaled = read(folder, mean=(127.5,), std=(127.5,))
    np.testing.assert_allclose(scaled[0]["x"], PIXELS[:2] / 127.5 - 1, atol=1e-6)
    scaled = read(folder, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    np.testing.assert_allclose(scaled[0]["x"], (PIXELS[:2] - np.array([1, 2, 3])) / np.array([4, 5, 6]), rtol=1e-5)


def test_pictures_in_every_form(folder: Path) -> None:
    first = np.float32(PIXELS[0])
    np.testing.assert_allclose(read(folder, taking(4, 6, 3))[0]["x"], first)  # no batch axis
    np.testing.assert_allclose(read(folder, taking(1, 3, 4, 6))[0]["x"][0], first.transpose(2, 0, 1))
    grey = read(folder, taking(-1, 4, 6, 1))[0]["x"][0, :, :, 0]
    np.testing.assert_allclose(grey, first @ [0.2989, 0.587, 0.114], atol=1)
    for open_size in (taking(-1, -1, -1, 3), taking(-1, -1, -1, -1)):
        np.testing.assert_allclose(read(folder, open_size, size=(4, 6))[0]["x"][0], first)
    assert read(folder, taking(-1, -1, -1, -1), size=(2, 3), layout="NCHW")[0]["x"].shape == (2, 3, 2, 3)
    whole = read(folder, taking(-1, 4, 6, 3, dtype="int8"), mean=(128.0,))[0]["x"]
    np.testing.assert_array_equal(whole, PIXELS[:2].astype(int) - 128)
    assert whole.dtype == np.int8


def test_a_smaller_size_averages(folder: Path) -> None:
    small = read(folder, taking(-1, -1, -1, 3), size=(1, 1))[0]["x"]
    assert abs(small[0].mean() - PIXELS[0].mean()) < 30


@pytest.mark.parametrize(
    ("inputs", "options", "code"),
    [
        (taking(-1, -1, -1, 3), {}, "data-options"),
        (IMAGES, {"size": (5, 6)}, "data-options"),
        (IMAGES, {"mean": (1.0, 2.0)}, "data-options"),
        (IMAGES, {"std": (1.0,) * 4}, "data-options"),
        (taking(-1, 10), {}, "data-shape"),
        (taking(-1, 5, 6, 5), {}, "data-shape"),
        (IMAGES * 2, {}, "data-input-missing"),
        ((), {}, "data-input-missing"),
    ],
)
def test_pictures_that_do_not_fit(
    folder: Path, inputs: tuple[GraphInput, ...], options: dict[str, Any], code: str
) -> None:
    assert failure(folder, inputs, **options).code == code


def test_bad_pictures(folder: Path, tmp_path: Path) -> None:
    (folder / "c" / "z.jpg").write_bytes(b"nonsense")
    found = failure(folder)
    assert found.code == "data-unreadable" and str(found.where).endswith("z.jpg")
    (tmp_path / "empty").mkdir()
    assert failure(tmp_path / "empty").code == "data-empty"


def test_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.float32(PIXELS))
    np.save(tmp_path / "d.npy", np.float32(PIXELS))
    for name in ("d.npz", "d.npy"):
        np.testing.assert_array_equal(np.concatenate([feed["x"] for feed in read(tmp_path / name)]), PIXELS)
    assert isinstance(failure(tmp_path / "d.npz", size=(4, 6)), ConfigError)
    (tmp_path / "d.csv").write_text("1,2", encoding="utf-8")
    for name in ("d.csv", "none", "none.npz"):
        assert failure(tmp_path / name).code == "data-unreadable"


FUNCTIONS = """
import numpy as np

def feeds():
    for number in range(3):
        yield {"x": np.full((2, 3), number, np.float32)}

def arrays():
    return [np.zeros((1, 3), np.float32)]

def nothing():
    return []

def fails():
    yield {"x": np.zeros((1, 3), np.float32)}
    raise KeyError("lost")

number = 3
"""


def test_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "sample_feeds.py").write_text(FUNCTIONS, encoding="utf-8")
    inputs = taking(-1, 3)
    assert [feed["x"].tolist() for feed in read("sample_feeds:feeds", inputs)] == [[[n] * 3] * 2 for n in range(3)]
    assert len(read("sample_feeds:arrays", inputs)) == 1
    for name, code, words in (
        ("nothing", "data-empty", "yields nothing"),
        ("fails", "data-unreadable", "KeyError: 'lost'"),
        ("number", "data-unreadable", "TypeError"),
        ("missing", "data-unreadable", "AttributeError"),
    ):
        found = failure(f"sample_feeds:{name}", inputs)
        assert found.code == code and words in str(found), name
    assert "ModuleNotFoundError" in str(failure("no_such_module:feeds", inputs))
    found = failure("sample_feeds:arrays", inputs * 2)
    assert isinstance(found, InputError) and found.code == "data-input-missing"
