"""How a name that somebody else chose is shown: as text on one line, never as markup, commands or a formula.

Names of classes, files, folders and layers. Figures: ``short``, drawn on ``reports.style.figure``, which reads no
mathematics. Terminal: ``cell`` in a table; all other messages are made safe by ``core.terminal``. CSV: ``in_csv``.
"""

from __future__ import annotations

import unicodedata

LONGEST = 24  # letters of a name where there is little room
FORMULA = ("=", "+", "-", "@", "\t", "\r")
JOINERS = "\u200c\u200d"  # part of words in Persian and Hindi, and of emoji


def text(name: object, keep: str = "") -> str:
    r"""A name on one line: what can't be seen, or moves what stands beside it, is written out (``\n``, ``\x1b``).

    Args:
        name: any.
        keep: letters that stay as they are.
    """
    return "".join(letter if letter in keep else _seen(letter) for letter in str(name))


def lines(message: object) -> str:
    """A text of several lines in the same way."""
    return text(message, keep="\n\t")


def short(name: object, most: int = LONGEST) -> str:
    """A name on one line of ``most`` letters; of a longer one the beginning and the end, where names differ."""
    shown = text(name)
    end = (most - 1) // 3
    return shown if len(shown) <= most else f"{shown[: most - 1 - end]}…{shown[len(shown) - end :]}"


def cell(name: object, width: int) -> str:
    """A name cut and filled to so many columns of a terminal, where some letters take two and some none."""
    from rich.cells import cell_len, set_cell_size

    shown = text(name)
    return set_cell_size(shown if cell_len(shown) <= width else short(shown, width), width)


def width(names: list[str] | tuple[str, ...], most: int = 40) -> int:
    """Columns that the widest of these names takes in a terminal, ``most`` at most."""
    from rich.cells import cell_len

    return min(most, max((cell_len(text(name)) for name in names), default=0))


def in_csv(name: str) -> str:
    """A name as a cell of a CSV file: as it is, with a ``'`` before what a spreadsheet would take for a formula."""
    return f"'{name}" if name.startswith(FORMULA) and not _is_number(name) else name


def from_csv(cell: str) -> str:
    """The name that ``in_csv`` wrote."""
    return cell[1:] if cell.startswith(tuple(f"'{sign}" for sign in FORMULA)) else cell


def path_in_csv(path: str) -> str:
    """A path as a cell of a CSV file: it still leads to the file, and no spreadsheet takes it for a formula."""
    return f"./{path}" if path.startswith(FORMULA) else path


def in_file_name(name: str, most: int = 100) -> str:
    """A part of a file's name made of a name, for every file system; ``most`` bytes at most."""
    kept = "".join("-" if letter in '/\\:*?"<>|' else letter for letter in text(name)).strip(". ") or "-"
    return kept.encode()[:most].decode(errors="ignore")


def _seen(letter: str) -> str:
    if letter.isprintable() or letter in JOINERS:
        return letter
    return " " if unicodedata.category(letter) == "Zs" else letter.encode("unicode_escape").decode()


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
