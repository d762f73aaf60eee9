"""A JSON object read field by field, so that every problem in it is reported at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from prism_cli.registry.refusals import ManifestRefused

_SHOWN = 8  # problems named in one message; the rest are counted

Scalar = str | int | float | bool | None


def is_integer(value: object) -> bool:
    """Whether `value` is a whole number; JSON's true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Fields:
    """One object of a document, at the keys `where`; its faults are appended to `problems`.

    A getter whose field is missing or wrong returns a placeholder, so that reading goes on:
    nothing that was read is to be used before `finish` has passed.
    """

    values: dict[str, object]
    where: tuple[str, ...]
    problems: list[str]

    @classmethod
    def of(
        cls,
        values: dict[str, object],
        where: tuple[str, ...],
        problems: list[str],
        known: AbstractSet[str] | None = None,
    ) -> Fields:
        """Return the fields of an object; `known` are the keys it may have, None for any."""
        fields = cls(values, where, problems)
        if known is not None and not values.keys() <= known:
            problems += [
                f"{fields._label(key)} is unknown" for key in sorted(values.keys() - known)
            ]
        return fields

    def finish(self) -> None:
        """Raise `ManifestRefused` with every problem that was met."""
        if not self.problems:
            return
        rest = len(self.problems) - _SHOWN
        more = f"; and {rest} more" if rest > 0 else ""
        raise ManifestRefused("manifest.json: " + "; ".join(self.problems[:_SHOWN]) + more)

    def text(
        self, key: str, is_right: Callable[[str], bool] = lambda _: True, expected: str = "text"
    ) -> str:
        """Read a string that `is_right` accepts."""
        value = self._get(key, lambda v: isinstance(v, str) and is_right(v), expected)
        return value if isinstance(value, str) else ""

    def one_of(self, key: str, choices: Collection[str]) -> str:
        """Read one of the strings in `choices`."""
        value = self._get(key, lambda v: v in choices, " or ".join(choices))
        return value if isinstance(value, str) else ""

    def integer(self, key: str, least: int) -> int:
        """Read a whole number, at least `least`."""
        value = self._get(
            key,
            lambda v: isinstance(v, int) and is_integer(v) and v >= least,
            f"a whole number of at least {least}",
        )
        return value if isinstance(value, int) else least

    def number(self, key: str) -> float:
        """Read a whole or a decimal number."""
        value = self._get(key, lambda v: is_integer(v) or isinstance(v, float), "a number")
        return value if isinstance(value, int | float) else 0.0

    def measure(self, key: str) -> float | int | str:
        """Read a number or a string."""
        value = self._get(
            key, lambda v: is_integer(v) or isinstance(v, float | str), "a number or text"
        )
        return value if isinstance(value, int | float | str) else 0

    def scalar(self, key: str) -> Scalar:
        """Read anything but an object or a list."""
        value = self._get(key, lambda v: not isinstance(v, dict | list), "a single value")
        return value if isinstance(value, str | int | float | bool) else None

    def is_null(self, key: str) -> bool:
        """Tell whether the field is there and null."""
        return key in self.values and self.values[key] is None

    def nested(self, key: str, known: AbstractSet[str] | None = None) -> Fields:
        """Read the fields of a nested object."""
        value = self._get(key, lambda v: isinstance(v, dict), "an object")
        if not isinstance(value, dict):
            return Fields({}, (), [])  # its fields are not missing as well
        return Fields.of(value, (*self.where, key), self.problems, known)

    def array(self, key: str) -> Fields:
        """Read a list, as the fields "0", "1" and so on."""
        value = self._get(key, lambda v: isinstance(v, list), "a list")
        items: list[object] = value if isinstance(value, list) else []
        numbered = {str(i): item for i, item in enumerate(items)}
        return Fields(numbered, (*self.where, key), self.problems)

    def objects(self, known: AbstractSet[str]) -> Iterator[tuple[str, Fields]]:
        """Read every field of this object or list as a nested object."""
        for key in self.values:
            yield key, self.nested(key, known)

    def _get(self, key: str, is_right: Callable[[object], bool], expected: str) -> object:
        """Return the field's value, or None once its absence or wrongness has been reported."""
        if key not in self.values:
            self.problems.append(f"{self._label(key)} is missing")
            return None
        value = self.values[key]
        if is_right(value):
            return value
        self.problems.append(f"{self._label(key)} is {_shown(value)}, not {expected}")
        return None

    def _label(self, key: str) -> str:
        return ".".join(_shown_key(each) for each in (*self.where, key))


def _shown_key(key: str) -> str:
    """Return a key as it is, or a stranger's with its control characters escaped."""
    return key if re.fullmatch(r"[\w-]{1,64}", key, re.ASCII) else _shown(key)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    names = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return names[value]
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
