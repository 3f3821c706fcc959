"""Random damage to the bytes of files."""

import random
import shutil
from pathlib import Path


def flip(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :]


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def cut_front(data: bytes, chance: random.Random) -> bytes:
    return data[chance.randrange(1, len(data) + 1) :]


def empty(data: bytes, chance: random.Random) -> bytes:
    return b""


def zeros(data: bytes, chance: random.Random) -> bytes:
    first = chance.randrange(len(data))
    return data[:first] + bytes(len(data) - first)


def garbage(data: bytes, chance: random.Random) -> bytes:
    return data + chance.choice([chance.randbytes(20), b"\n\n", b"garbage\n", b"1,2,3\n", b"{"])


def replaced(data: bytes, chance: random.Random) -> bytes:
    return chance.choice([b"null", b"[]", b"{}", b"0", b"a: b: c", b"\xff\xfe\x00", b"[" * 2000])


def duplicate_line(data: bytes, chance: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    place = chance.randrange(len(lines))
    return b"".join([*lines[: place + 1], *lines[place:]])


def drop_line(data: bytes, chance: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    del lines[chance.randrange(len(lines))]
    return b"".join(lines)


def swap_lines(data: bytes, chance: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    first, second = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


def change_digit(data: bytes, chance: random.Random) -> bytes:
    """The likeliest silent damage: another number in the place of one."""
    places = [i for i, byte in enumerate(data) if chr(byte).isdigit()]
    if not places:
        return flip(data, chance)
    place = chance.choice(places)
    other = chance.choice([d for d in b"0123456789" if d != data[place]])
    return data[:place] + bytes([other]) + data[place + 1 :]


OF_BYTES = (
    flip,
    cut,
    cut_front,
    empty,
    zeros,
    garbage,
    replaced,
    duplicate_line,
    drop_line,
    swap_lines,
    change_digit,
)


def damage(folder: Path, chance: random.Random) -> str:
    """Damage one random file (or folder of files) in `folder`; what was done."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    by_name: dict[str, list[Path]] = {}
    for file in files:  # each name of a file as often as another, however many there are
        inside = file.relative_to(folder).parts
        by_name.setdefault(inside[0] if len(inside) == 1 else file.name[:12], []).append(file)
    file = chance.choice(by_name[chance.choice(sorted(by_name))])
    name = str(file.relative_to(folder))
    way = chance.choice([*OF_BYTES, "delete", "delete folder", "folder"])
    if way == "delete folder" and file.parent != folder:
        shutil.rmtree(file.parent)
        return f"deleted the folder {Path(name).parent}"
    if isinstance(way, str):
        file.unlink()
        if way == "folder":
            file.mkdir()
            return f"made {name} a folder"
        return f"deleted {name}"
    data = file.read_bytes()
    if not data:
        way = garbage
    file.write_bytes(way(data, chance))
    return f"{way.__name__} on {name}"
