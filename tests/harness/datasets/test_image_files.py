"""Decoding: damaged files, formats, sizes, and the transform against torchvision's."""

import io
import os
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as torchvision_transforms

from eadbench.harness.datasets import image_files
from eadbench.harness.datasets.image_files import DecodedOnce, Decoder, common_mode, decode, decoder_for
from eadbench.harness.datasets.transform import Transform
from eadbench.harness.errors import UserError
from tests.harness.datasets.sample_images import pixels, png

ENCODINGS: dict[str, dict[str, Any]] = {
    "png": {"format": "PNG"},
    "palette png": {"format": "PNG", "mode": "P"},
    "jpeg": {"format": "JPEG"},
    "progressive jpeg": {"format": "JPEG", "progressive": True},
    "webp": {"format": "WEBP"},
    "lossless webp": {"format": "WEBP", "lossless": True},
    "bmp": {"format": "BMP"},
    "tiff": {"format": "TIFF"},
    "lzw tiff": {"format": "TIFF", "compression": "tiff_lzw"},
    "ppm": {"format": "PPM"},
}


def encoded(image: np.ndarray[Any, Any], mode: str = "RGB", **parameters: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).convert(mode).save(file, **parameters)
    return file.getvalue()


def decoded(source: bytes, mode: str = "RGB", **transform: Any) -> torch.Tensor:
    return decode(source, mode, Transform(**transform), "photo.png")


class Bytes(list[bytes]):
    """Encoded images in memory."""

    def where(self, index: int) -> str:
        return f"image {index}"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_flipped_bytes(encoding: str) -> None:
    """Damaged bytes give an image or one line that names the file, never another error."""
    whole = encoded(pixels(0, 12, 10, 3), **ENCODINGS[encoding])
    assert decoded(whole).shape == (3, 12, 10)
    generator = np.random.default_rng(1)
    refused = 0
    for trial in range(150):
        damaged = bytearray(whole)
        header = min(64, len(whole)) if trial % 2 else len(whole)  # every second time among the first bytes
        for position in generator.integers(0, header, 1 + trial % 3):
            damaged[position] ^= int(generator.integers(1, 256))
        if trial % 10 == 0:
            del damaged[int(generator.integers(len(damaged))) :]
        try:
            image = decoded(bytes(damaged))
        except UserError as error:
            refused += 1
            assert str(error).startswith("photo.png ") and "\n" not in str(error)
        else:
            assert image.dtype == torch.uint8 and image.shape[0] == 3
    assert refused > 10


def bomb(width: int, height: int) -> bytes:
    """A PNG of zeros whose header says how large it is."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda: bomb(8193, 8192), r"photo\.png has 8193x8192 pixels; at most 67,108,864 are read"),
        (lambda: bomb(60_000, 60_000), r"not a readable image: it has too many pixels; at most 67,108,864 are read"),
        (lambda: encoded(pixels(0, 8, 8, 3), format="PPM")[:-5], "photo.png is not a readable image: image file is tr"),
        (lambda: b"P6 8 8 0\n", "photo.png is not a readable image"),
        (lambda: b"", "photo.png is not a readable image: it is no PNG, JPEG, WebP, BMP, TIFF or PPM file"),
        (lambda: encoded(pixels(0, 8, 8, 3), format="GIF"), "it is no PNG, JPEG, WebP, BMP, TIFF or PPM file"),
        (lambda: encoded(pixels(0, 8, 8, 3), format="EPS"), "it is no PNG, JPEG, WebP, BMP, TIFF or PPM file"),
        (lambda: encoded(pixels(0, 8, 8), format="TIFF", mode="F"), "more than 8 bits a channel"),
    ],
    ids=["large", "bomb", "cut-ppm", "bad-ppm", "empty", "gif", "eps", "float"],
)
def test_refused(source: Callable[[], bytes], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        decoded(source())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [SyntaxError("broken PNG file"), ValueError, struct.error, EOFError, zlib.error, OverflowError, MemoryError,
     IndexError, KeyError("x"), AssertionError, RecursionError, Image.DecompressionBombError],
)  # fmt: skip
def test_whatever_pillow_raises(error: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Any) -> None:
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", fails)
    with pytest.raises(UserError, match=r"^photo\.png is not a readable image: .") as caught:
        decoded(encoded(pixels(0, 8, 8, 3), format="BMP"))
    assert "\n" not in str(caught.value)


def test_no_program_is_started_for_an_eps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands EPS to Ghostscript, which runs what the file says."""
    started: list[Any] = []
    monkeypatch.setattr(subprocess, "check_call", lambda *args, **_: started.append(args))
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **_: started.append(args))
    monkeypatch.setattr(os, "system", started.append)
    source = encoded(pixels(0, 8, 8, 3), format="EPS")
    with pytest.raises(UserError):
        decoded(source)
    assert common_mode(Bytes([source])) == "RGB" and not started


def test_orientation_in_exif_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    image = pixels(0, 4, 6, 3)
    expected = torch.from_numpy(image).permute(2, 0, 1)
    assert torch.equal(decoded(encoded(image, format="PNG", exif=exif)), expected)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("height", "width"), [(20, 31), (31, 20), (13, 13), (9, 40), (5, 6)])
def test_transform_is_torchvision_s(height: int, width: int, interpolation: Any) -> None:
    image = pixels(height, height, width, 3)
    found = decoded(png(image), size=13, crop=9, interpolation=interpolation)
    theirs = torchvision_transforms.resize(Image.fromarray(image), [13], InterpolationMode(interpolation))
    expected = torchvision_transforms.pil_to_tensor(torchvision_transforms.center_crop(theirs, [9]))
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("parameters", "shape"),
    [({}, (3, 10, 14)), ({"size": 5}, (3, 5, 5)), ({"crop": 8}, (3, 8, 8)), ({"size": 9, "crop": 4}, (3, 4, 4))],
)
def test_transform_shapes(parameters: dict[str, Any], shape: tuple[int, ...]) -> None:
    image = pixels(1, 10, 14, 3)
    found = decoded(png(image), **parameters)
    assert found.shape == shape
    if parameters == {"crop": 8}:
        assert torch.equal(found, torch.from_numpy(image[1:9, 3:11]).permute(2, 0, 1))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"size": 0}, "size must be a positive number of pixels, got 0"),
        ({"crop": -1}, "crop must be a positive number of pixels, got -1"),
        ({"size": 4, "crop": 5}, "crop must be at most size, 4; got 5"),
        ({"crop": 11}, "photo.png has 14x10 pixels, fewer than crop: 11; give a size"),
    ],
)
def test_transform_mistakes(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        decoded(png(pixels(1, 10, 14, 3)), **parameters)


def test_a_line_of_pixels_does_not_fill_the_memory() -> None:
    line = png(np.zeros((1, 60_000, 3), dtype=np.uint8))
    with pytest.raises(UserError, match="has 60000x1 pixels, too narrow to resize to 224"):
        decoded(line, size=224)


def test_small_splits_are_decoded_once_and_large_ones_on_access(monkeypatch: pytest.MonkeyPatch) -> None:
    images = Bytes([png(pixels(seed, 4, 4, 3)) for seed in range(3)])
    small = decoder_for(images, "RGB", Transform())
    monkeypatch.setattr(image_files, "MAX_BYTES", 3 * 48 - 1)
    large = decoder_for(images, "RGB", Transform())
    assert type(small) is DecodedOnce and type(large) is Decoder
    expected = np.stack([pixels(seed, 4, 4, 3) for seed in (2, 0)]).transpose(0, 3, 1, 2)
    for decoder in (small, large):
        assert np.array_equal(decoder([2, 0]).numpy(), expected)
    assert type(decoder_for(Bytes(), "RGB", Transform())) is DecodedOnce


def test_files_are_found_by_any_name(tmp_path: Path) -> None:
    names = ["a/é.png", "a/" + os.fsdecode(b"\xff\xfe") + ".png", "x" * 200 + ".png"]
    files = image_files.FileImages(tmp_path, names)
    assert [files[index] for index in range(3)] == [tmp_path / name for name in names]
