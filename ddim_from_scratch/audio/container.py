"""Where the sound is in a file: its streams, corrected where a header is wrong, and what is missing at the end.

libsndfile believes headers. Recorders, pipes and web servers write headers with a length that is a guess, zero, too
short or too long, and files with several streams one after the other. So we walk through each container ourselves,
and read no other containers.
Sources: RIFF and RF64 (EBU Tech 3306), AIFF-C, Sony Wave64, Apple CAF, Sun AU, RFC 9639 (FLAC), RFC 3533 (Ogg), ISO
11172-3 (MP3) with the Xing, Info and VBRI headers of its encoders.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

GUESSED = 0x7FFF0000  # a size from here on was written before the sound was there, if the file is shorter
MOST_STREAMS = 100  # a file with more is damaged
MOST_JUNK = 1 << 16  # bytes to search for the next MP3 frame
FEW = 0.01  # share of a stream that may be missing
MOST_CHUNKS = 10_000
LITTLE_REST = 4096  # bytes after the sound that nobody misses: padding, and tags that are not chunks

FOREIGN = (  # (offset, first bytes, what such a file is)
    (4, b"ftyp", "an MP4, M4A (AAC or Apple Lossless) or MOV file"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media (WMA) file"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM file"),
    (0, b"MAC ", "a Monkey's Audio (APE) file"),
    (0, b"wvpk", "a WavPack file"),
    (0, b"MPCK", "a Musepack file"),
    (0, b"MP+", "a Musepack file"),
    (0, b"TTA1", "a True Audio file"),
    (0, b"tBaK", "a TAK file"),
    (0, b"DSD ", "a DSD file"),
    (0, b"FRM8", "a DSD file"),
    (0, b"#!AMR", "an AMR file"),
    (0, b".RMF", "a RealAudio file"),
    (0, b"MThd", "a MIDI file"),
    (8, b"AVI ", "an AVI video"),
    (8, b"WEBP", "a WebP picture"),
    (0, b"\x00\x05\x16\x07", "a macOS resource fork (metadata without sound)"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ", "an xz archive"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
    (0, b"SQLite format", "an SQLite database"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\xff\xf1", "an AAC stream (ADTS)"),
    (0, b"\xff\xf9", "an AAC stream (ADTS)"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the sound itself (run git lfs pull)"),
)
KNOWN = "WAV, AIFF, CAF, AU, Wave64, FLAC, Ogg or MP3"


class ContainerError(ValueError):
    """Raised for a file that cannot hold usable sound. The message completes "FILE ..."."""


@dataclass
class Stream:
    """One stream of sound in a file.

    start, end: its bytes in the file. head: bytes to read before them. patches: corrected bytes by their offset in the
    file. frames: how many samples a channel the header states, where a patch hides it from libsndfile, else 0.
    note, error: what to warn of, and why it cannot be used; "" if nothing is wrong. They complete "FILE ...".
    """

    start: int
    end: int
    head: bytes = b""
    patches: dict[int, bytes] = field(default_factory=dict)
    frames: int = 0
    note: str = ""
    error: str = ""

    def expect(self, have: int, promised: int, unit: str = "bytes") -> None:
        """Notes what is missing at the end: little is a warning, much an error."""
        if have < promised:
            said = f"is cut short ({max(have, 0)} of {promised} {unit})"
            if promised - have <= FEW * promised:
                self.note = f"{said}: what is there is used"
            else:
                self.error = f"{said}: copy it again"


class Excerpt(io.RawIOBase):
    """A stream as a file of its own, for libsndfile."""

    def __init__(self, file: BinaryIO, stream: Stream):
        self.file, self.stream, self.at = file, stream, 0
        self.failure: OSError | None = None  # an exception cannot pass through C

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        size = len(self.stream.head) + self.stream.end - self.stream.start
        self.at = max(offset + (0, self.at, size)[whence], 0)
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        head = self.stream.head[self.at :][: len(buffer)]
        start = self.stream.start + max(self.at - len(self.stream.head), 0)
        try:
            data = bytearray(_bytes(self.file, start, min(len(buffer) - len(head), max(self.stream.end - start, 0))))
        except OSError as error:
            self.failure = error
            return 0
        for offset, patch in self.stream.patches.items():
            for i, byte in enumerate(patch, offset - start):
                if 0 <= i < len(data):
                    data[i] = byte
        self.at += len(head) + len(data)
        buffer[: len(head) + len(data)] = head + bytes(data)
        return len(head) + len(data)


def streams(file: BinaryIO) -> list[Stream]:
    """The streams of sound in an open file, in order: one, unless files were joined or a broadcast was recorded.

    Raises ContainerError if the file is empty or has too many streams.
    """
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        raise ContainerError("is empty (0 bytes): copy it again")
    start = _after_id3(file, 0)
    walk = _walk_of(file, start)
    if (
        not walk
        and (first := _next_frame(file, start, end)) >= 0
        and not _bytes(file, start, first - start).strip(b"\0")
    ):
        walk = _mp3
    if not walk:
        return [Stream(start, end, error=_foreign(file, start))]
    found: list[Stream] = []
    for stream in walk(file, start, _before_tags(file, start, end) if walk in (_mp3, _flac) else end):
        found.append(stream)
        if len(found) > MOST_STREAMS:
            raise ContainerError(f"is damaged (more than {MOST_STREAMS} pieces of sound with gaps): replace it")
    return found


def _walk_of(file: BinaryIO, at: int) -> Walk | None:
    magic = _bytes(file, at, 8)
    return next((walk for mark, walk in WALKS.items() if magic.startswith(mark)), None)


def _foreign(file: BinaryIO, start: int) -> str:
    """The error of a file without sound. It says what the file is, as far as its first bytes tell."""
    begin = _bytes(file, start, 4096)
    kind = next((kind for offset, magic, kind in FOREIGN if begin[offset:].startswith(magic)), "")
    if begin.lstrip()[:64].lower().startswith((b"<!doctype html", b"<html")):
        kind = "a web page (HTML), perhaps a server's error message"
    elif not begin.strip(b"\0"):
        kind = "nothing but zeros"
    with suppress(UnicodeDecodeError):
        encoding = "utf-16" if begin[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
        text = codecs.getincrementaldecoder(encoding)().decode(begin)  # the last character may be incomplete
        kind = kind or ("text" if all(char.isprintable() or char.isspace() for char in text) else "")
    if not kind:
        return f"is damaged, or no {KNOWN} file: replace it, or convert it to WAV or FLAC"
    return f"is not audio that can be read, but {kind}: convert it to WAV or FLAC, or leave it out"


def _bytes(file: BinaryIO, at: int, n: int) -> bytes:
    if not 0 <= at < 1 << 62:
        return b""
    file.seek(at)
    return file.read(n)


def _after_id3(file: BinaryIO, at: int) -> int:
    """The position after any ID3v2 tags. Their size has 7 bits a byte."""
    while (tag := _bytes(file, at, 10))[:3] == b"ID3" and len(tag) == 10 and max(tag[6:]) < 128:
        size = tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9]
        at += 10 + size + 10 * (tag[5] >> 4 & 1)  # a footer
    return at


def _before_tags(file: BinaryIO, start: int, end: int) -> int:
    """The end of the sound before ID3v1 and APE tags."""
    if end - start > 128 and _bytes(file, end - 128, 3) == b"TAG":
        end -= 128
    footer = _bytes(file, max(end - 32, start), 32)
    if footer[:8] == b"APETAGEX":
        size = struct.unpack("<I", footer[12:16])[0] + 32 * (footer[23] >> 7)  # the size counts no header
        end = max(end - size, start)
    return end


class Chunks(NamedTuple):
    """How a container writes its chunks. header: struct's form of a chunk's name and size.

    first: position of the first chunk. align: a chunk's length is a multiple. counted: bytes of the header in the size.
    """

    header: str
    first: int = 12
    align: int = 2
    counted: int = 0

    def walk(self, file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        """(name, body's position, stated size) of the chunks from `at` on."""
        length = struct.calcsize(self.header)
        for _ in range(MOST_CHUNKS):
            if at + length > end:
                return
            name, size = struct.unpack(self.header, _bytes(file, at, length))
            if not re.match(rb"[\w .()\xa9-]{4}", name):
                return
            yield name, at + length, size - self.counted
            at = self.after(at + length, size - self.counted)

    def after(self, body: int, size: int) -> int:
        """The position of the next chunk."""
        return body + max(size + -size % self.align, 0)

    def fill(self, file: BinaryIO, at: int, end: int) -> bool:
        """Whether chunks, and no sound, fill the file from `at` on."""
        for _, body, size in self.walk(file, at, end):
            at = self.after(body, size)
        return end <= at < end + self.align


CHUNKS = {
    b"RIFF": Chunks("<4sI"),
    b"RIFX": Chunks(">4sI"),
    b"RF64": Chunks("<4sI"),  # its sizes are in a chunk "ds64"
    b"BW64": Chunks("<4sI"),
    b"FORM": Chunks(">4sI"),
    b"caff": Chunks(">4sq", first=8, align=1),
    b"riff": Chunks("<4s12xQ", first=40, align=8, counted=24),
}


def _chunked(file: BinaryIO, start: int, end: int) -> Iterator[Stream]:
    """WAV, AIFF (and Amiga's IFF, whose sound is named BODY), CAF and Wave64."""
    mark = _bytes(file, start, 4)
    form, stream, ds64 = CHUNKS[mark], Stream(start, end), (0, b"")
    if mark == b"BW64":  # RF64, but libsndfile does not know the name
        stream.patches = {start: b"RF64"}
    for name, body, size in form.walk(file, start + form.first, end):
        if name == b"ds64" and size >= 16:
            ds64 = body + 8, _bytes(file, body + 8, 8)
        if name in (b"data", b"SSND", b"BODY"):
            number = form.header[0] + form.header[-1]
            most = 0xFFFFFFFE if number[1] == "I" else 1 << 62
            patch = body - struct.calcsize(number), struct.pack(number, min(end - body + form.counted, most))
            if size == 0xFFFFFFFF and len(ds64[1]) == 8:
                size = struct.unpack("<Q", ds64[1])[0]
                patch = ds64[0], struct.pack("<Q", end - body)
            before = 8 if name == b"SSND" else 4 if mark == b"caff" else 0  # bytes of a chunk without sound
            yield from _sound(file, stream, form, body + before, size - before, patch)
            return
    yield Stream(start, end, error=_foreign(file, start))


def _sound(
    file: BinaryIO, stream: Stream, form: Chunks, body: int, size: int, patch: tuple[int, bytes]
) -> Iterator[Stream]:
    """A stream, given its sound's position and stated size, and then the streams of files that were appended."""
    end, here, after = stream.end, stream.end - body, form.after(body, size)
    if (size >= GUESSED and size > here) or (size <= 0 and not form.fill(file, after, end)):
        stream.patches |= [patch]
        yield stream
        return
    others = list(form.walk(file, after, end))
    for _, other, _ in others:
        at = other - struct.calcsize(form.header)
        if walk := _walk_of(file, at):
            stream.end = at
            yield stream
            yield from walk(file, at, end)
            return
    if size > here:
        stream.patches |= [patch]
        stream.expect(here, size)
    elif not others and here - size > max(size, LITTLE_REST):
        stream.patches |= [patch]
        stream.note = f"states {size} bytes of sound and holds {here}: all are used"
    else:
        if not others and here - size > LITTLE_REST:
            stream.note = f"has {here - size} bytes after the sound that its header states: they are left out"
        if form.counted:
            stream.end = min(after, end)  # libsndfile would play Wave64's chunks after it
    yield stream


def _au(file: BinaryIO, start: int, end: int) -> Iterator[Stream]:
    form = ">II" if _bytes(file, start, 4) == b".snd" else "<II"
    offset, size = struct.unpack(form, _bytes(file, start + 4, 8).ljust(8, b"\0"))
    yield from _sound(file, Stream(start, end), Chunks(">4sI", align=1), start + offset, size, (start + 8, b"\xff" * 4))


def _flac(file: BinaryIO, start: int, end: int) -> Iterator[Stream]:
    """FLAC: each stream begins with its mark and a block of 34 bytes. libsndfile counts the samples."""
    begins, block, at = [start], 1 << 20, start + 4
    while len(data := _bytes(file, at, block)) >= 8:
        begins += [at + found.start() for found in re.finditer(rb"fLaC[\x00\x80]\x00\x00\x22", data)]
        at += block - 7
    begins = sorted(set(begins))
    for begin, stop in zip(begins, [*begins[1:], end], strict=True):
        stream, total = Stream(begin, stop), _bytes(file, begin + 21, 5)
        if len(total) == 5:  # 36 bits, of which libsndfile gets 0, "unknown": then it reads to the end
            stream.frames = int.from_bytes(total, "big") & 0xFFFFFFFFF
            stream.patches = {begin + 21: bytes([total[0] & 0xF0, 0, 0, 0, 0])}
        yield stream


def _ogg(file: BinaryIO, start: int, end: int) -> Iterator[Stream]:
    """Ogg: pages. A page that begins a stream after pages of sound begins a new link of a chain."""
    at, stream, sounding, sounds = start, Stream(start, end), False, 0
    open_streams: set[bytes] = set()
    while len(header := _bytes(file, at, 27)) == 27 and header[:4] == b"OggS":
        kind, serial = header[5], header[14:18]
        lacing = file.read(header[26])
        if kind & 2:
            if sounding:
                stream.end = at
                yield stream
                stream, sounding, open_streams, sounds = Stream(at, end), False, set(), 0
            open_streams.add(serial)
            sounds += file.read(8).startswith((b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex"))
            if sounds > 1:
                stream.note = f"holds {sounds} sound tracks at once: only one is used"
        else:
            sounding = True
        if kind & 4:
            open_streams.discard(serial)
        stop = at + 27 + len(lacing) + sum(lacing)
        if stop > end:
            stream.error = "is cut short (in the middle of a page): copy it again"
            break
        at = stop
    else:
        if open_streams:
            stream.note = "has no end mark: it may be cut short"
    yield stream


RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by MPEG's version bits
KBITS = {  # by (version is 1, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def _frame(header: bytes) -> tuple[int, tuple[int, ...]] | None:
    """(bytes, kind) of the MP3 frame with this header, or None. Frames of one stream are of one kind."""
    if len(header) < 4 or header[0] != 0xFF or header[1] >> 5 != 7:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bits, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or bits in (0, 15) or rate == 3:
        return None
    kbits, hertz = KBITS[version == 3, layer][bits - 1], RATES[version][rate]
    padding = header[2] >> 1 & 1
    if layer == 1:
        size = (12000 * kbits // hertz + padding) * 4
    else:
        size = (72000 if layer == 3 and version != 3 else 144000) * kbits // hertz + padding
    return size, (version, layer, rate, header[3] >> 6 == 3)


def _mp3(file: BinaryIO, start: int, end: int) -> Iterator[Stream]:
    """MP3 (layers 1 to 3): runs of frames. A new kind of frame, an Xing header, a tag or a gap begins a new stream."""
    at, run = start, None
    while at < end:
        header = _bytes(file, at, 4)
        frame = _frame(header)
        if frame is None:
            if run:
                yield run.stream(at)
            run = None
            if (at := _next_frame(file, at, end)) < 0:
                return
            continue
        size, kind = frame
        begin = file.read(48) if run is None or size > 48 else b""
        info = re.search(rb"Xing|Info|VBRI", begin)
        if run and (info or kind != run.kind):
            yield run.stream(at)
            run = None
        if run is None:
            run = _Run(at, kind, header)
            if info:
                run.take_header(file, at, at + 4 + info.start(), size)
        if at + size > end:
            run.missing = at + size - end
            at = end
            break
        run.frames += not info
        at += size
    if run:
        yield run.stream(at)


@dataclass
class _Run:
    """Frames of one kind, one after the other."""

    start: int
    kind: tuple[int, ...]
    header: bytes
    frames: int = 0
    stated: int | None = None  # frames, by the Xing, Info or VBRI header
    place: int | None = None  # of that number in an Xing or Info header
    missing: int = 0  # bytes of the last frame

    def take_header(self, file: BinaryIO, at: int, mark: int, size: int) -> None:
        name, flags, frames, *_ = struct.unpack(">4sIII", _bytes(file, mark, 16).ljust(16, b"\0"))
        if name == b"VBRI":  # libsndfile would play it as a frame
            self.stated = struct.unpack(">I", _bytes(file, mark + 14, 4).ljust(4, b"\0"))[0]
            self.start = at + size
        elif flags & 1:
            self.stated, self.place = frames, mark + 8
        else:
            self.start = at + size

    def stream(self, end: int) -> Stream:
        """With a header that states the true number of frames."""
        stream = Stream(min(self.start, end), end)
        stream.expect(end - self.start, end - self.start + self.missing)
        stream.expect(self.frames, self.stated or 0, "frames")
        if self.place is None:
            stream.head = _xing(self.header, self.frames)
        elif self.stated != self.frames:
            stream.patches = {self.place: struct.pack(">I", self.frames)}
        return stream


def _xing(header: bytes, frames: int) -> bytes:
    """A silent frame with an Xing header, for a stream whose frames have this header. Empty for layers 1 and 2."""
    first = bytes([header[0], header[1] | 1, header[2] & 0x0C | 0xB0, header[3]])  # no checksum, 192 or 112 kbit/s
    frame = _frame(first)
    if frame is None or frame[1][1] != 3:
        return b""
    size, (version, _, _, mono) = frame
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    return (first + bytes(side) + struct.pack(">4sII", b"Xing", 1, frames)).ljust(size, b"\0")


def _next_frame(file: BinaryIO, at: int, end: int) -> int:
    """The next position of two MP3 frames in a row, after any tag, or -1."""
    at = _after_id3(file, at)
    data = _bytes(file, at, min(MOST_JUNK, max(end - at, 0)))
    for found in re.finditer(rb"\xff[\xe0-\xff]", data):
        first = _frame(data[found.start() :][:4])
        if first and (second := _frame(_bytes(file, at + found.start() + first[0], 4))) and second[1] == first[1]:
            return at + found.start()
    return -1


Walk = Callable[[BinaryIO, int, int], Iterator[Stream]]
WALKS: dict[bytes, Walk] = {
    **dict.fromkeys(CHUNKS, _chunked),
    b".snd": _au,
    b"dns.": _au,
    b"fLaC": _flac,
    b"OggS": _ogg,
}
