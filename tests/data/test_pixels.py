"""Pixels of image files: grey values are scaled from the range that the file defines; what has no
such range, or cannot be read, is refused in a line that names the file.
"""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mpifl.data.pixels import UnreadableImage, read_pixels

GREY = np.array([[0, 51], [102, 255]], dtype=np.uint8)
"""as every file of GREYS has it, in its own range"""
WIDE = GREY.astype(np.uint16) * 257


def tiff(path, values, bits, sample_format=1, photometric=1):
    """An uncompressed TIFF of one channel; `values` are its rows of bytes."""
    tags = {256: 2, 257: 2, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 2}
    tags |= {279: len(values), 339: sample_format}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<I", 8 + len(values))
    path.write_bytes(head + values + struct.pack("<H", len(tags)) + entries + bytes(4))


def twelve_bits(values):
    """Values of 12 bits, big-endian and without gaps, as TIFF packs them."""
    bits = "".join(f"{value:012b}" for value in values)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def pgm(most):
    def write(path):
        values = np.rint(GREY / 255 * most).astype(">u2" if most > 255 else np.uint8)
        path.write_bytes(f"P5\n2 2\n{most}\n".encode() + values.tobytes())

    return write


def saved(image, **options):
    return lambda path: image.save(path, **options)


GREYS = {
    "png of 8 bits": ("png", saved(Image.fromarray(GREY))),
    "png of 16 bits": ("png", saved(Image.fromarray(WIDE))),
    "png of 16 bits, big-endian": ("png", saved(Image.fromarray(WIDE.astype(">u2")))),
    "tiff of 16 bits": ("tif", saved(Image.fromarray(WIDE))),
    "tiff of 16 bits, compressed": ("tif", saved(Image.fromarray(WIDE), compression="tiff_lzw")),
    "tiff of 16 bits, big-endian": ("tif", saved(Image.fromarray(WIDE.astype(">u2")))),
    "tiff of 16 bits, white is 0": (
        "tif",
        lambda path: tiff(path, (65535 - WIDE).tobytes(), 16, photometric=0),
    ),
    "tiff of 8 bits, white is 0": (
        "tif",
        lambda path: tiff(path, (255 - GREY).tobytes(), 8, photometric=0),
    ),
    "tiff of 12 bits": (
        "tif",
        lambda path: tiff(path, twelve_bits([0, 819, 1638, 4095]), 12),
    ),
    "pgm up to 255": ("pgm", pgm(255)),
    "pgm up to 4095": ("pgm", pgm(4095)),
    "pgm up to 65535": ("pgm", pgm(65535)),
    "grey with alpha": ("png", saved(Image.fromarray(GREY).convert("LA"))),
    "jpeg 2000 of 16 bits": ("png", saved(Image.fromarray(WIDE), format="JPEG2000")),
}


@pytest.mark.parametrize("name", GREYS)
def test_grey_values_are_scaled_from_the_file_s_range(tmp_path, name):
    suffix, write = GREYS[name]
    path = tmp_path / f"grey.{suffix}"
    write(path)
    pixels = read_pixels(path, 2)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, [GREY] * 3)
    np.testing.assert_array_equal(read_pixels(path, 2, channels=1), [GREY])


RGB = Image.new("RGB", (2, 2), (250, 30, 40))
COLOURS = {
    "RGB": ("png", RGB),
    "RGBA": ("png", RGB.convert("RGBA")),
    "transparent RGBA": ("png", Image.new("RGBA", (2, 2), (250, 30, 40, 0))),
    "P": ("png", RGB.quantize()),
    "PA": ("tif", RGB.quantize().convert("PA")),
    "CMYK": ("tif", RGB.convert("CMYK")),
    "YCbCr": ("tif", RGB.convert("YCbCr")),
    "LAB": ("tif", None),
    "webp": ("webp", RGB),
    "jpeg": ("jpg", RGB),
    "bmp": ("bmp", RGB),
    "ppm": ("ppm", RGB),
}


def lab():
    """RGB's colour in CIE L*a*b*."""
    return Image.merge("LAB", [Image.new("L", (2, 2), value) for value in (139, 205, 183)])


@pytest.mark.parametrize("name", COLOURS)
def test_colours_of_every_mode_become_rgb_without_alpha(tmp_path, name):
    suffix, image = COLOURS[name]
    path = tmp_path / f"colour.{suffix}"
    (image or lab()).save(path)
    np.testing.assert_allclose(read_pixels(path, 2)[:, 0, 0], (250, 30, 40), atol=8)
    luma = 0.299 * 250 + 0.587 * 30 + 0.114 * 40
    np.testing.assert_allclose(read_pixels(path, 2, channels=1), [[[luma] * 2] * 2], atol=8)


def png_chunk(name, content):
    check = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + check


def png(width, height, bits, colours, rows, *chunks):
    head = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    body = [png_chunk(b"IHDR", head), *chunks, png_chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body) + png_chunk(b"IEND", b"")


def test_colours_of_16_bits_keep_their_high_byte(tmp_path):
    path = tmp_path / "wide.png"
    path.write_bytes(png(1, 1, 16, 2, b"\0" + struct.pack(">HHH", 65535, 30 * 256, 0)))
    assert read_pixels(path, 1).ravel().tolist() == [255, 30, 0]


@pytest.mark.parametrize(("value", "white"), [(0, 0), (1, 255)])
def test_an_image_of_one_bit_is_black_and_white(tmp_path, value, white):
    Image.new("1", (2, 2), value).save(tmp_path / "x.png")
    assert (read_pixels(tmp_path / "x.png", 2) == white).all()


def bomb_of_text(path):
    text = b"comment\0\0" + zlib.compress(bytes(2**21))
    path.write_bytes(png(1, 1, 8, 0, b"\0\0", png_chunk(b"zTXt", text)))


def bomb_of_pixels(path):
    path.write_bytes(png(20_000, 20_000, 1, 0, b""))


def long_strip(path):
    Image.new("L", (60_000, 1)).save(path)


def floats(path):
    Image.fromarray(np.linspace(0, 1, 4, dtype=np.float32).reshape(2, 2)).save(path)


def integers(path):
    Image.fromarray(np.array([[0, 1], [2, 2**30]], dtype=np.int32)).save(path)


def signed_16_bits(path):
    tiff(path, WIDE.astype(np.int16).tobytes(), 16, sample_format=2)


def signed_8_bits(path):
    tiff(path, GREY.tobytes(), 8, sample_format=2)


def float_pgm(path):
    path.write_bytes(b"Pf\n2 2\n-1.0\n" + np.ones(4, np.float32).tobytes())


def cut_short(path):
    Image.effect_noise((64, 64), 50).save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[:700])


@pytest.mark.parametrize(
    ("name", "write", "reason"),
    [
        ("f.tif", floats, "TIFF of signed or float values; the file does not say which value is"),
        ("i.tif", integers, "signed or float values"),
        ("s16.tif", signed_16_bits, "signed or float values"),
        ("s8.tif", signed_8_bits, "signed or float values"),
        ("f.pgm", float_pgm, "a PPM file of Pillow's mode F; the file does not say"),
        ("text.png", bomb_of_text, "too large"),
        ("many.png", bomb_of_pixels, r"Image size \(400000000 pixels\) exceeds limit"),
        ("long.png", long_strip, "60000 x 1 pixels: too long for its width"),
        ("short.jpg", cut_short, "truncated"),
        ("rubbish.png", lambda path: path.write_bytes(b"rubbish"), "damaged, or no image"),
        ("empty.png", lambda path: path.touch(), "damaged, or no image"),
        ("lost.png", lambda path: path.symlink_to("nowhere"), "No such file"),
        ("pipe.png", os.mkfifo, "no regular file"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line_that_names_the_file(
    tmp_path, name, write, reason
):
    write(tmp_path / name)
    with pytest.raises(UnreadableImage, match=rf"expected an image in \S*/{name}; got .*{reason}"):
        read_pixels(tmp_path / name, 64)


def test_unsigned_integers_of_32_bits_are_refused(tmp_path):
    tiff(tmp_path / "u.tif", WIDE.astype(np.uint32).tobytes(), 32)
    with pytest.raises(UnreadableImage, match="a TIFF file of Pillow's mode I; the file does not"):
        read_pixels(tmp_path / "u.tif", 2)
