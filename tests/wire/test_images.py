"""`mcp.images`: every image comes out in a form that clients take, within its limits, or as a note."""

from __future__ import annotations

import base64
import io
import struct
import sys
import zlib
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from kernel_supervisor.mcp.images import Image, prepare, prepare_all
from kernel_supervisor.outputs.transcript import Picture


def encoded(form: str, size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Pillow.linear_gradient("L").resize(size, Pillow.Resampling.NEAREST).convert(mode).save(out, form, **options)
    return out.getvalue()


def noise(size: tuple[int, int]) -> bytes:
    out = io.BytesIO()
    Pillow.merge("RGB", [Pillow.effect_noise(size, 90) for _ in "rgb"]).save(out, "PNG")
    return out.getvalue()


def decoded(image: Image | str) -> Pillow.Image:
    assert isinstance(image, Image), image
    found = Pillow.open(io.BytesIO(image.data))
    found.load()
    assert found.size == (image.width, image.height)
    assert image.mime == Pillow.MIME[found.format or ""]
    return found


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
def test_image_that_will_do_is_passed_on_untouched(form: str) -> None:
    data = encoded(form)
    image = prepare(data, Pillow.MIME[form])
    assert isinstance(image, Image)
    assert image.data == data
    assert image.mime == Pillow.MIME[form]
    assert base64.b64decode(image.base64) == data


@pytest.mark.parametrize(("form", "mime"), [("BMP", "image/bmp"), ("TIFF", "image/tiff")])
def test_format_that_clients_refuse_becomes_png(form: str, mime: str) -> None:
    assert decoded(prepare(encoded(form), mime)).format == "PNG"


def test_the_content_decides_not_the_declared_type() -> None:
    image = prepare(encoded("JPEG"), "image/png")
    assert isinstance(image, Image)
    assert image.mime == "image/jpeg"


@pytest.mark.parametrize("size", [(3000, 1500), (100, 9000), (5000, 3)])
def test_large_image_is_scaled_to_the_long_edge(size: tuple[int, int]) -> None:
    image = prepare(encoded("PNG", size), "image/png")
    assert max(decoded(image).size) == 1568
    assert isinstance(image, Image)
    assert image.remark == f"scaled from {size[0]}×{size[1]}"


def test_large_photograph_stays_a_jpeg() -> None:
    image = prepare(encoded("JPEG", (2000, 1500)), "image/jpeg")
    found = decoded(image)
    assert (found.format, found.size) == ("JPEG", (1568, 1176))
    assert isinstance(image, Image)
    assert image.remark == "scaled from 2000×1500"


def test_image_over_its_budget_is_encoded_more_coarsely() -> None:
    data = noise((400, 400))
    image = prepare(data, "image/png", byte_budget=len(data) // 4)
    assert decoded(image).format == "JPEG"
    assert isinstance(image, Image)
    assert len(image.data) <= len(data) // 4


def test_image_far_over_its_budget_gets_smaller() -> None:
    image = prepare(noise((400, 400)), "image/png", byte_budget=5000)
    assert isinstance(image, Image)
    assert len(image.data) <= 5000
    assert image.width < 400


def test_budget_that_nothing_fits_into_is_told() -> None:
    image = prepare(noise((100, 100)), "image/png", byte_budget=100)
    assert isinstance(image, str)
    assert "does not fit" in image


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I;16", "I", "F"])
def test_unusual_pixels_become_ordinary_ones(mode: str) -> None:
    data = encoded("TIFF", mode=mode)
    assert decoded(prepare(data, "image/tiff")).mode in ("L", "RGB", "RGBA")


def test_sixteen_bits_keep_their_contrast() -> None:
    out = io.BytesIO()
    deep = Pillow.new("I;16", (2, 1))
    deep.putpixel((0, 0), 100)
    deep.putpixel((1, 0), 60_000)
    deep.save(out, "PNG")
    found = decoded(prepare(out.getvalue(), "image/png"))
    assert (found.getpixel((0, 0)), found.getpixel((1, 0))) == (0, 255)


def test_transparency_survives_scaling() -> None:
    out = io.BytesIO()
    Pillow.new("RGBA", (3000, 10), (255, 0, 0, 0)).save(out, "PNG")
    assert decoded(prepare(out.getvalue(), "image/png")).mode == "RGBA"


def test_turned_photograph_is_turned_back() -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    assert decoded(prepare(encoded("JPEG", (40, 20), exif=exif), "image/jpeg")).size == (20, 40)


def test_animation_shows_its_first_frame_where_it_must_be_scaled() -> None:
    frames = [Pillow.new("L", (2000, 10), 100 * shade) for shade in range(3)]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    image = prepare(out.getvalue(), "image/gif")
    decoded(image)
    assert isinstance(image, Image)
    assert "of 3 frames" in image.remark


def test_decompression_bomb_is_not_decoded() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    bomb += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    image = prepare(bomb, "image/png")
    assert isinstance(image, str)
    assert "60000×60000" in image


def test_damaged_image_is_a_note() -> None:
    whole = encoded("PNG", (200, 200))
    for data in (whole[: len(whole) // 2], b"", b"not an image", whole[:20]):
        image = prepare(data, "image/png")
        assert isinstance(image, str)
        assert "image/png" in image


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow warns of damage; pytest's filters come before ours
@given(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"]), st.data())
def test_no_damage_raises(form: str, data: st.DataObject) -> None:
    damaged = bytearray(encoded(form))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=8)):
        damaged[place] = data.draw(st.integers(0, 255))
    image = prepare(bytes(damaged), Pillow.MIME[form], byte_budget=20_000)
    assert isinstance(image, str) or len(image.data) <= 20_000


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="300" height="150"><rect width="9" height="9"/></svg>'


def test_svg_is_named_with_its_size_where_nothing_draws_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cairosvg", None)
    image = prepare(SVG, "image/svg+xml")
    assert isinstance(image, str)
    assert image.startswith(f"SVG, 300×150, {len(SVG)} bytes: not shown")


def test_svg_is_drawn_where_something_can(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def svg2png(**arguments: object) -> bytes:
        asked.update(arguments)
        return encoded("PNG", (800, 400))

    monkeypatch.setitem(sys.modules, "cairosvg", SimpleNamespace(svg2png=svg2png))
    assert decoded(prepare(SVG, "image/svg+xml")).size == (800, 400)
    assert (asked["output_width"], asked["output_height"]) == (800, 400)


def test_svg_that_cannot_be_drawn_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def svg2png(**arguments: object) -> bytes:
        raise RuntimeError("no such element")

    monkeypatch.setitem(sys.modules, "cairosvg", SimpleNamespace(svg2png=svg2png))
    image = prepare(b'<svg viewBox="0 0 20 10">', "image/svg+xml")
    assert isinstance(image, str)
    assert image == "SVG, 20×10, 25 bytes: could not be drawn (no such element)"


def test_all_images_of_a_call_share_its_budget() -> None:
    data = base64.encodebytes(noise((300, 300))).decode()
    pictures = [Picture(number=number, mime="image/png", data=data) for number in range(1, 5)]
    images = prepare_all(pictures, byte_budget=200_000)
    assert all(isinstance(image, Image) for image in images)
    assert sum(len(image.data) for image in images if isinstance(image, Image)) <= 200_000


def test_what_is_not_base64_is_a_note() -> None:
    (image,) = prepare_all([Picture(number=1, mime="image/png", data="Ä not base64")])
    assert isinstance(image, str)
