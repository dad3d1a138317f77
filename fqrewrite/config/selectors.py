"""Selectors: which layers a config rule means.

* ``net/block1``: the node of that name, and every node in the scope of that name (not ``net/block10``).
* a glob: ``*`` stays within one component of the name, ``**`` is any number of whole components (none, too),
  ``?`` is one character. A glob must match the whole name: ``**/conv*`` is not also what lies beneath.
* ``regex:...``: a Python regular expression that must match the whole name (put ``.*`` around a part).
* an op type, or several: equality.
"""

from __future__ import annotations

import functools
import re

from msgspec import Struct

from fqrewrite.errors import ConfigError

REGEX_PREFIX = "regex:"


class Selector(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Matches layers by name, by op type, or by both at once.

    Attributes:
        name: a name, scope, glob or ``regex:``; None for any name.
        ops: op types; empty for any.
    """

    name: str | None = None
    ops: tuple[str, ...] = ()

    def matches(self, names: tuple[str, ...], op: str) -> bool:
        """Whether the layer is meant.

        Args:
            names: the name of the layer's node and those of its weight variables: in TF-Slim graphs they are
                in different scopes, and a user may have either in mind.
            op: the op type of the layer's node.
        """
        if self.ops and op not in self.ops:
            return False
        if self.name is None:
            return True
        fullmatch = _compile(self.name).fullmatch
        return any(fullmatch(name) for name in names)

    def __str__(self) -> str:
        """The selector as a user would write it, for messages."""
        parts = [self.name] if self.name is not None else []
        if self.ops:
            parts.append("op " + " or ".join(self.ops))
        return " and ".join(parts)


def check(pattern: str, *, where: str) -> None:
    """Refuses a name pattern that could never match a node, or not what it seems to say.

    Args:
        pattern: a name, scope, glob or ``regex:``.
        where: file, line and key, for the message.

    Raises:
        ConfigError: config-selector.
    """
    problem = _problem(pattern)
    if problem is not None:
        raise ConfigError("config-selector", f'"{pattern}" {problem}', where=where)


def _problem(pattern: str) -> str | None:
    if pattern.startswith(REGEX_PREFIX):
        try:
            re.compile(pattern[len(REGEX_PREFIX) :])
        except (re.error, RecursionError, OverflowError) as error:
            return f"is not a regular expression: {error}"
        return None
    if pattern.startswith("/"):
        return "begins with a slash; node names do not"
    if re.search(r":\d+$", pattern):
        return "names a tensor, but rules match nodes: leave the port out"
    # What TensorFlow allows in node names, and the three wildcards.
    foreign = re.search(r"[^A-Za-z0-9_.\\/>*?-]", pattern)
    if foreign:
        return f"has a {foreign[0]!r}, which no node name has; globs know *, ** and ?, for more write regex:..."
    components = pattern.removesuffix("/").split("/")
    if "" in components:
        return "has an empty component between two slashes"
    if any("**" in component and component != "**" for component in components):
        return "has a ** next to other characters; ** stands alone between slashes, * matches within a component"
    return None


@functools.lru_cache(maxsize=1024)
def _compile(pattern: str) -> re.Pattern[str]:
    """The regular expression (for fullmatch) of a pattern that has passed `check`."""
    if pattern.startswith(REGEX_PREFIX):
        return re.compile(pattern[len(REGEX_PREFIX) :])
    pattern = pattern.removesuffix("/")
    if "*" not in pattern and "?" not in pattern:
        return re.compile(re.escape(pattern) + r"(?:/.*)?")
    components = pattern.split("/")
    expression = ""
    for index, component in enumerate(components):
        last = index == len(components) - 1
        if component != "**":
            expression += "".join(_GLOB.get(char) or re.escape(char) for char in component) + ("" if last else "/")
        elif index and components[index - 1] == "**":
            continue
        elif not last and set(components[index:]) != {"**"}:
            expression += "(?:[^/]+/)*"
        elif index:
            # The slash before the last ** belongs to what may be missing.
            expression = expression.removesuffix("/") + "(?:/.+)?"
        else:
            expression = ".+"
    return re.compile(expression)


_GLOB = {"*": "[^/]*", "?": "[^/]"}
