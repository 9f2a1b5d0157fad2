"""Handmade images with intact pixels and odd metadata, and the orientation of each."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIZE = 16
PICTURE = Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
)

ORIENTATION, WIDTH, MAKE, X_RESOLUTION, Y_RESOLUTION = 0x0112, 0x0100, 0x010F, 0x011A, 0x011B
UNIT, SOFTWARE, EXIF_IFD, GPS_IFD, MAKER_NOTE = 0x0128, 0x0131, 0x8769, 0x8825, 0x927C
BYTE, ASCII, SHORT, LONG, RATIONAL, SBYTE, UNDEFINED, SSHORT, SLONG, SRATIONAL, FLOAT, DOUBLE = (
    range(1, 13)
)
FAR, MANY = 0x7FFFFFF0, 2**32 - 1

Entry = tuple[int, int, int, str, float]  # tag, type, count, and its field in struct's words


def held(value: int = 6, kind: int = SHORT, form: str = "H", count: int = 1) -> Entry:
    return ORIENTATION, kind, count, form, value


def exif(
    *entries: Entry, order: str = "<", magic: bytes = b"", start: int = 8,
    count: int | None = None, tail: bytes = b"", after: int = 0,
) -> bytes:  # fmt: skip
    """EXIF block of one directory, at 8; `tail` lies behind it."""
    directory = struct.pack(order + "H", len(entries) if count is None else count)
    for tag, kind, number, form, value in entries:
        field = struct.pack(order + form, value).ljust(4, b"\0")
        directory += struct.pack(order + "HHL", tag, kind, number) + field
    head = (magic or (b"II*\0" if order == "<" else b"MM\0*")) + struct.pack(order + "L", start)
    return head + directory + struct.pack(order + "L", after) + tail


def valued(tag: int, kind: int, count: int, value: bytes, *others: Entry) -> bytes:
    """EXIF block with an orientation, others, and a tag whose value lies behind the directory."""
    entries = [(tag, kind, count, "L", 8 + 2 + 12 * (len(others) + 2) + 4), *others, held()]
    return exif(*sorted(entries, key=lambda entry: entry[0]), tail=value)


def own(tag: int, kind: int, form: str, value: float, count: int = 1) -> bytes:
    return exif((tag, kind, count, form, value), held())


INCH = (UNIT, SHORT, 1, "H", 2)
CENTIMETRE = (UNIT, SHORT, 1, "H", 3)

# Name: block, and its orientation.
BLOCKS: dict[str, tuple[bytes, int]] = {
    **{f"orientation {n}": (exif(held(n)), n) for n in range(1, 9)},
    **{f"big endian {n}": (exif(held(n), order=">"), n) for n in range(1, 9)},
    **{f"orientation {n}": (exif(held(n)), 1) for n in (0, 9, 65535)},
    "orientation as byte": (exif(held(6, BYTE, "B")), 6),
    "orientation as long": (exif(held(6, LONG, "L")), 6),
    "orientation as big-endian long": (exif(held(6, LONG, "L"), order=">"), 6),
    "orientation as signed byte": (exif(held(6, SBYTE, "b")), 6),
    "orientation as signed short": (exif(held(6, SSHORT, "h")), 6),
    "orientation as signed long": (exif(held(6, SLONG, "l")), 6),
    "orientation -6": (exif(held(-6, SSHORT, "h")), 1),
    "orientation as text": (exif(held(0x36, ASCII, "H", 2)), 1),
    "orientation as undefined": (exif(held(6, UNDEFINED, "L", 4)), 1),
    "orientation as float": (exif(held(6, FLOAT, "f")), 1),
    "orientation NaN": (exif((ORIENTATION, FLOAT, 1, "f", float("nan"))), 1),
    "orientation as rational": (exif(held(26, RATIONAL, "L"), tail=struct.pack("<LL", 6, 1)), 1),
    "orientation as rational over 0": (exif(held(26, RATIONAL, "L"), tail=bytes(8)), 1),
    "orientation of unknown type 0": (exif(held(6, 0)), 1),
    "orientation of unknown type 65535": (exif(held(6, 65535)), 1),
    "orientation counted 0": (exif(held(count=0)), 1),
    "orientation counted 2": (exif(held(count=2)), 6),
    "orientation counted 3": (exif(held(26, form="L", count=3), tail=b"\6\0\1\0\1\0"), 6),
    "orientation counted 2^32-1": (exif(held(26, form="L", count=MANY), tail=b"\6\0"), 1),
    "orientation far away": (exif(held(FAR, LONG, "L", 2)), 1),
    "orientations, equal": (exif(held(), held()), 6),
    "orientations, differing": (exif(held(3), held(6)), 6),
    "orientations, the last one invalid": (exif(held(6), held(0)), 6),
    "orientations, the first one invalid": (exif(held(9), held(6)), 6),
    "orientations, the first one far away": (exif(held(FAR, LONG, "L", 2), held(6)), 6),
    "resolution negative": (valued(X_RESOLUTION, SRATIONAL, 1, struct.pack("<ll", -72, 1)), 6),
    "resolution of long negative": (own(X_RESOLUTION, SLONG, "l", -72), 6),
    "resolution over 0": (valued(X_RESOLUTION, RATIONAL, 1, struct.pack("<LL", 72, 0)), 6),
    "resolution 0 over 0": (valued(X_RESOLUTION, RATIONAL, 1, bytes(8), INCH), 6),
    "resolution NaN": (own(X_RESOLUTION, FLOAT, "f", float("nan")), 6),
    "resolution infinite": (own(Y_RESOLUTION, FLOAT, "f", float("inf")), 6),
    "resolution NaN per cm": (
        valued(X_RESOLUTION, DOUBLE, 1, struct.pack("<d", float("nan")), CENTIMETRE), 6,
    ),
    "resolution as text": (own(X_RESOLUTION, ASCII, "L", 0x003237, count=3), 6),
    "resolution counted 2^32-1": (own(X_RESOLUTION, RATIONAL, "L", 8, count=MANY), 6),
    "resolution in the header": (own(X_RESOLUTION, RATIONAL, "L", 0), 6),
    "resolution far away": (own(X_RESOLUTION, RATIONAL, "L", FAR), 6),
    "width NaN": (own(WIDTH, FLOAT, "f", float("nan")), 6),
    "width as text": (own(WIDTH, ASCII, "L", MANY, count=4), 6),
    "width negative": (own(WIDTH, SSHORT, "h", -1), 6),
    "make far away, before the orientation": (own(MAKE, ASCII, "L", FAR, count=20), 6),
    "make one byte beyond the end": (own(MAKE, ASCII, "L", 34, count=5), 6),
    "make in the header": (own(MAKE, ASCII, "L", 2, count=10), 6),
    "make without NUL": (own(MAKE, ASCII, "L", 0x41414141, count=4), 6),
    "make of wrong bytes": (valued(MAKE, ASCII, 6, b"\xff\xfe\x80\0\xc3\x28"), 6),
    "make counted 0": (own(MAKE, ASCII, "L", 0, count=0), 6),
    "make of an unknown type": (own(MAKE, 99, "L", FAR), 6),
    "software as double": (valued(SOFTWARE, DOUBLE, 1, struct.pack("<d", float("nan"))), 6),
    "Exif IFD far away": (own(EXIF_IFD, LONG, "L", FAR), 6),
    "Exif IFD is this IFD": (own(EXIF_IFD, LONG, "L", 8), 6),
    "Exif IFD at a negative offset": (own(EXIF_IFD, SLONG, "l", -8), 6),
    "Exif IFD as text": (own(EXIF_IFD, ASCII, "L", 0x41414141, count=4), 6),
    "Exif IFD as NaN": (own(EXIF_IFD, FLOAT, "f", float("nan")), 6),
    "GPS IFD far away": (own(GPS_IFD, LONG, "L", MANY), 6),
    "GPS IFD of garbage": (valued(GPS_IFD, LONG, 1, b"\xff" * 50), 6),
    "GPS IFD as undefined": (own(GPS_IFD, UNDEFINED, "L", MANY, count=4), 6),
    "maker note of garbage": (valued(MAKER_NOTE, UNDEFINED, 20, b"FUJIFILM" + b"\xff" * 12), 6),
    "next IFD is this IFD": (exif(held(), after=8), 6),
    "next IFD far away": (exif(held(), after=FAR), 6),
    "65535 entries said": (exif(held(), count=65535), 6),
    "0 entries said": (exif(held(), count=0), 1),
    "5000 entries before it": (exif(*[(7, SHORT, 1, "H", 0)] * 5000, held()), 6),
    "directory beyond the end": (exif(held(), start=FAR), 1),
    "directory at the very end": (exif(held(), start=26), 1),
    "directory in the header": (exif(held(), start=0), 1),
    "magic of nothing": (exif(held(), magic=b"XX*\0"), 1),
    "magic of no TIFF": (exif(held(), magic=b"II\1\2"), 1),
    "magic in the wrong order": (exif(held(), magic=b"II\0*"), 6),
    "prefix twice": (b"Exif\0\0" + exif(held()), 6),
    "ends in the tag": (exif(held())[:21], 1),
    "ends after the tag": (exif(held())[:22], 6),
    "ends after the magic": (b"II*\0", 1),
    "three bytes": (b"II*", 1),
    "one byte": (b"M", 1),
    "empty": (b"", 1),
    "only zeros": (bytes(200), 1),
}  # fmt: skip


def saved(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    PICTURE.save(stream, kind, **options)
    return stream.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg(*segments: bytes, dpi: bool = False) -> bytes:
    """With a resolution in its own header, Pillow does not look at EXIF for one."""
    plain = saved("JPEG", quality=95, dpi=(72, 72)) if dpi else saved("JPEG", quality=95)
    return plain[:2] + b"".join(segments) + plain[2:]


def app1(block: bytes) -> bytes:
    return segment(0xE1, b"Exif\0\0" + block)


def xmp(value: object, form: str = 'tiff:Orientation="%s"') -> bytes:
    return f"<x:xmpmeta>{form % value}</x:xmpmeta>".encode()


def app1_xmp(*value: object) -> bytes:
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(*value))


def chunk(kind: bytes, body: bytes, off: int = 0) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + body) ^ off)
    return struct.pack(">I", len(body)) + kind + body + check


def png(*chunks: bytes, late: bool = False) -> bytes:
    plain = saved("PNG")
    at = len(plain) - 12 if late else 33
    return plain[:at] + b"".join(chunks) + plain[at:]


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    body = saved("WEBP", lossless=True)[12:]
    body = b"VP8X" + struct.pack("<LB3x", 10, 0x0C) + bytes([15, 0, 0, 15, 0, 0]) + body
    for name, content in chunks:
        body += name + struct.pack("<L", len(content)) + content + bytes(len(content) % 2)
    return b"RIFF" + struct.pack("<L", len(body) + 4) + b"WEBP" + body


def tiff(*entries: Entry, **options: object) -> bytes:
    """Pillow's own, and more entries in its directory, which is put behind everything."""
    plain = saved("TIFF", **options)
    (start,) = struct.unpack_from("<L", plain, 4)
    (count,) = struct.unpack_from("<H", plain, start)
    tags = [plain[start + 2 + 12 * n : start + 14 + 12 * n] for n in range(count)]
    for tag, kind, number, form, value in entries:
        field = struct.pack("<" + form, value).ljust(4, b"\0")
        tags.append(struct.pack("<HHL", tag, kind, number) + field)
    tags.sort(key=lambda entry: struct.unpack_from("<H", entry))
    plain += bytes(len(plain) % 2)
    directory = struct.pack("<H", len(tags)) + b"".join(tags) + bytes(4)
    return plain[:4] + struct.pack("<L", len(plain)) + plain[8:] + directory


EXIF_SEGMENT, EXIF_CHUNK = app1(exif(held())), chunk(b"eXIf", exif(held()))
RAW_PROFILE = b"Raw profile type exif\0"
DIGITS = b"\nexif\n      38\n" + (b"Exif\0\0" + exif(held())).hex().encode() + b"\n"
XMP_KEY = b"XML:com.adobe.xmp\0\0\0\0\0"
NOTHING = (X_RESOLUTION, ASCII, 1, "L", 0)  # an IndexError of Pillow's
APP13 = b"Photoshop 3.0\0" + b"8BIM\3\xed"
TIFF_XMP = {700: xmp(6)}
MPF = exif(
    (0xB001, LONG, 1, "L", 2), (0xB002, UNDEFINED, 32, "L", 38),
    tail=struct.pack("<LLLHH", 0x030000, 9, 0, 0, 0) + struct.pack("<LLLHH", 0, 9, FAR, 0, 0),
)  # fmt: skip

FILES: dict[str, tuple[bytes, int]] = {
    "jpeg, EXIF in two segments": (jpeg(app1(exif(held())[:20]), app1(exif(held())[20:])), 6),
    "jpeg, two EXIF blocks": (jpeg(app1(exif(held(6))), app1(exif(held(3)))), 6),
    "jpeg, empty EXIF, then one": (jpeg(app1(b""), EXIF_SEGMENT), 6),
    "jpeg, EXIF without its prefix": (jpeg(segment(0xE1, exif(held()))), 1),
    "jpeg, XMP alone": (jpeg(app1_xmp(6)), 6),
    "jpeg, XMP alone, as an element": (jpeg(app1_xmp(8, "<tiff:Orientation>%s<")), 8),
    "jpeg, XMP 0": (jpeg(app1_xmp(0)), 1),
    "jpeg, XMP 9": (jpeg(app1_xmp(9)), 1),
    "jpeg, XMP of garbage": (jpeg(app1_xmp("\udcff".encode("utf-8", "replace"))), 1),
    "jpeg, XMP contradicts EXIF": (jpeg(app1_xmp(3), EXIF_SEGMENT), 6),
    "jpeg, XMP, and EXIF without orientation": (jpeg(app1_xmp(3), app1(exif(INCH))), 3),
    "jpeg, XMP, and invalid orientation": (jpeg(app1_xmp(3), app1(exif(held(0)))), 3),
    "jpeg, XMP, and broken EXIF": (jpeg(app1_xmp(3), app1(b"broken")), 3),
    "jpeg, ICC of part 9 of 0": (jpeg(segment(0xE2, b"ICC_PROFILE\0\x09\0xyz"), EXIF_SEGMENT), 6),
    "jpeg, MPF of garbage": (jpeg(segment(0xE2, b"MPF\0" + b"\xff" * 9), EXIF_SEGMENT), 6),
    "jpeg, MPF of two images far away": (jpeg(segment(0xE2, b"MPF\0" + MPF), EXIF_SEGMENT), 6),
    "jpeg, APP13 of garbage": (jpeg(segment(0xED, APP13 + b"\0\0"), EXIF_SEGMENT), 6),
    "png, pHYs of negative size": (png(chunk(b"pHYs", b"\xff" * 9), EXIF_CHUNK), 6),
    "png, eXIf after the pixels": (png(EXIF_CHUNK, late=True), 6),
    "png, eXIf with its prefix": (png(chunk(b"eXIf", b"Exif\0\0" + exif(held()))), 6),
    "png, EXIF in hexadecimal digits": (
        png(chunk(b"zTXt", RAW_PROFILE + b"\0" + zlib.compress(DIGITS))), 6,
    ),
    "png, EXIF in wrong digits": (png(chunk(b"tEXt", RAW_PROFILE + b"\nexif\n 9\nzz\n")), 1),
    "png, text called exif": (png(chunk(b"zTXt", b"exif\0\0" + zlib.compress(b"text"))), 1),
    "png, text called xmp": (png(chunk(b"tEXt", b"xmp\0text")), 1),
    "png, XMP": (png(chunk(b"iTXt", XMP_KEY + xmp(6))), 6),
    "png, XMP that is no UTF-8": (png(chunk(b"iTXt", XMP_KEY + b"\xff" + xmp(6))), 6),
    "webp, EXIF without prefix": (webp((b"EXIF", exif(held()))), 6),
    "webp, EXIF with prefix": (webp((b"EXIF", b"Exif\0\0" + exif(held()))), 6),
    "webp, XMP": (webp((b"XMP ", xmp(6))), 6),
    "tiff, orientation": (tiff(held()), 6),
    "tiff, XMP": (tiff(tiffinfo=TIFF_XMP), 6),
    "tiff, XMP contradicts the tag": (tiff(held(1), tiffinfo=TIFF_XMP), 1),
    "tiff, orientation 0": (tiff(held(0)), 1),
    "tiff, resolution negative": (tiff((X_RESOLUTION, SLONG, 1, "l", -72), held()), 6),
    "tiff, resolution as text": (tiff((X_RESOLUTION, ASCII, 4, "L", 0x41414141), held()), 6),
    "tiff, software far away": (tiff((SOFTWARE, ASCII, 40, "L", FAR), held()), 6),
}  # fmt: skip

# Pillow itself cannot open, or load, what follows.
REFUSED: dict[str, tuple[bytes, int]] = {
    "jpeg, resolution of no values": (jpeg(app1(exif(NOTHING, INCH, held()))), 6),
    "jpeg, the same, and XMP alone": (jpeg(app1(exif(NOTHING, INCH)), app1_xmp(8)), 8),
    "jpeg, ICC without a number": (jpeg(segment(0xE2, b"ICC_PROFILE\0"), EXIF_SEGMENT), 6),
    "jpeg, short JFIF": (jpeg(segment(0xE0, b"JFIF\0"), EXIF_SEGMENT), 6),
    "jpeg, short Adobe": (jpeg(segment(0xEE, b"Adobe"), EXIF_SEGMENT), 6),
    "jpeg, padded marker": (jpeg(b"\xff\xff", segment(0xEE, b"Adobe"), EXIF_SEGMENT), 6),
    "jpeg, APP13 that ends in a name": (jpeg(segment(0xED, APP13), EXIF_SEGMENT), 6),
    "png, short pHYs": (png(chunk(b"pHYs", b"\0"), EXIF_CHUNK), 6),
    "png, short gAMA": (png(chunk(b"gAMA", b"")), 1),
    "png, short cHRM": (png(chunk(b"cHRM", bytes(31))), 1),
    "png, wrong profile": (png(chunk(b"iCCP", b"x\0\7"), EXIF_CHUNK), 6),
    "png, wrong sum of a text": (png(chunk(b"tEXt", b"a\0b", off=1), EXIF_CHUNK), 6),
    "png, wrong sum of eXIf": (png(chunk(b"eXIf", exif(held()), off=1)), 6),
    "png, short pHYs after the pixels": (png(chunk(b"pHYs", b"\0"), late=True), 1),
    "png, animation of no frames": (png(chunk(b"acTL", b"")), 1),
    "tiff, description far away": (tiff((0x010E, ASCII, 40, "L", FAR), held()), 6),
    "tiff, description far away, packed": (
        tiff((0x010E, ASCII, 40, "L", FAR), held(), compression="tiff_lzw"), 6,
    ),
    "tiff, description far away, XMP": (
        tiff((0x010E, ASCII, 40, "L", FAR), tiffinfo=TIFF_XMP), 6,
    ),
    "tiff, Exif IFD at a negative offset": (tiff((EXIF_IFD, SLONG, 1, "l", -8), held()), 6),
    "tiff, XMP as numbers": (tiff((700, SHORT, 2, "L", 6), (X_RESOLUTION, SHORT, 1, "H", 1)), 1),
}  # fmt: skip


def carried(block: bytes) -> dict[str, bytes]:
    """The same block in every container that has a place for one."""
    return {
        "jpeg": jpeg(app1(block)),
        "jpeg with dpi": jpeg(app1(block), dpi=True),
        "png": png(chunk(b"eXIf", block)),
        "webp": webp((b"EXIF", block)),
    }
