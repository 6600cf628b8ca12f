"""XML and JSON laid out for reading, token by token: nothing is expanded, resolved, rounded or reordered.

Both walk the text once without recursion, so neither depth nor size of a hostile document matters. What they yield is
for the eye only; the download is exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

# Deeper levels are no longer indented further: a hundred thousand levels would be gigabytes of spaces.
_DEEPEST = 40
_MAX_LINES = 20_000


class NotWellFormed(Exception):
    """The text cannot be laid out; the sentence says why."""


class _Enough(Exception):
    """More lines than any page shows."""


def _indent(depth: int) -> str:
    return "  " * min(depth, _DEEPEST)


class _XmlLines:
    """Collects lines from expat's events. Expat keeps its own stack on the heap and resolves no reference by itself."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.root = ""
        self.namespace = ""
        self._depth = 0
        self._opened: str | None = None
        self._text: list[str] = []

    def parse(self, text: str) -> None:
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.ordered_attributes = True
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.ExternalEntityRefHandler = self._refuse
        parser.XmlDeclHandler = self._declaration
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.CommentHandler = lambda data: self._aside(f"<!--{data}-->")
        parser.ProcessingInstructionHandler = lambda target, data: self._aside(f"<?{target} {data}?>")
        try:
            parser.Parse(text.encode("utf-8", "replace"), True)
        except expat.ExpatError as error:
            raise NotWellFormed(
                f"This is not well-formed XML ({expat.errors.messages.get(error.code, 'fault')}, line {error.lineno})."
            ) from None
        except _Enough:
            return

    def _refuse(self, *_declaration: object) -> int:
        raise NotWellFormed("This XML declares a document type. The portal never follows such declarations.")

    def _declaration(self, version: str, encoding: str | None, _standalone: int) -> None:
        said = f' encoding="{encoding}"' if encoding else ""
        self._put(f'<?xml version="{version}"{said}?>')

    def _start(self, name: str, attributes: list[str]) -> None:
        self._flush()
        pairs = list(zip(attributes[::2], attributes[1::2], strict=True))
        if not self.root:
            prefix, _, local = name.rpartition(":")
            self.root = local
            self.namespace = dict(pairs).get(f"xmlns:{prefix}" if prefix else "xmlns", "")
        self._opened = f"<{name}" + "".join(f" {key}={quoteattr(value)}" for key, value in pairs)
        self._depth += 1

    def _end(self, name: str) -> None:
        text = self._taken()
        self._depth -= 1
        if self._opened is None:
            self._block(text, self._depth + 1)
            self._put(f"</{name}>")
            return
        opened, self._opened = self._opened, None
        if not text:
            self._put(f"{opened}/>")
        elif "\n" not in text:
            self._put(f"{opened}>{text}</{name}>")
        else:
            self._put(f"{opened}>")
            self._block(text, self._depth + 1)
            self._put(f"</{name}>")

    def _aside(self, markup: str) -> None:
        self._flush()
        self._block(markup, self._depth)

    def _flush(self) -> None:
        text = self._taken()
        if self._opened is not None:
            self.lines.append(f"{_indent(self._depth - 1)}{self._opened}>")
            self._opened = None
        self._block(text, self._depth)

    def _taken(self) -> str:
        text = escape("".join(self._text).strip())
        self._text.clear()
        return text

    def _block(self, text: str, depth: int) -> None:
        for line in text.split("\n") if text else ():
            self.lines.append(f"{_indent(depth)}{line.strip()}")
        self._check()

    def _put(self, line: str) -> None:
        self.lines.append(f"{_indent(self._depth)}{line}")
        self._check()

    def _check(self) -> None:
        if len(self.lines) > _MAX_LINES:
            raise _Enough


def xml_lines(text: str) -> tuple[list[str], str, str]:
    """The lines of an XML document, the local name of its root, and the root's namespace.

    Raises NotWellFormed for what expat refuses, and for any document type declaration: no entity is ever declared, so
    none is expanded.
    """
    collected = _XmlLines()
    collected.parse(text)
    return collected.lines, collected.root, collected.namespace


# One token, or the white space between two. Atomic by construction: no two alternatives begin alike.
_TOKEN = re.compile(
    r'[ \t\n\r]*(?:(?P<string>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+")'
    r"|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)|(?P<word>true|false|null)|(?P<mark>[\[\]{},:]))"
)
_SPACE = re.compile(r"[ \t\n\r]*")


def _json_tokens(text: str) -> Iterator[tuple[str, str]]:
    at, end = 0, len(text)
    while True:
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        if at == end:
            return
        found = _TOKEN.match(text, at)
        if found is None:
            raise NotWellFormed("This is not well-formed JSON.")
        at = found.end()
        kind = str(found.lastgroup)
        yield kind, found[kind]


class _JsonLines:
    """A pushdown automaton: ``expect`` says what may come next, the stack holds the closing marks that are still due."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.resource = ""
        self._stack: list[str] = []
        self._line = ""
        self._expect = "value"
        self._key = ""

    def parse(self, text: str) -> None:
        for kind, token in _json_tokens(text):
            if len(self.lines) > _MAX_LINES:
                return
            if not self._take(kind, token):
                raise NotWellFormed("This is not well-formed JSON.")
        if self._expect != "end":
            raise NotWellFormed("This JSON ends too early.")
        self.lines.append(self._line)

    def _take(self, kind: str, token: str) -> bool:
        expect = self._expect
        if kind == "mark" and token in "]}":
            return expect in ("after", "first") and self._close(token)
        if expect == "after":
            return token == "," and kind == "mark" and self._next()
        if expect == "colon":
            self._line += ": "
            self._expect = "value"
            return kind == "mark" and token == ":"
        if expect == "end":
            return False
        if expect == "first":
            self._break()
            expect = "key" if self._stack[-1] == "}" else "value"
        if expect == "key":
            self._key, self._expect = token, "colon"
            self._line += token
            return kind == "string"
        return self._value(kind, token)

    def _value(self, kind: str, token: str) -> bool:
        if kind == "mark":
            if token not in "[{":
                return False
            self._stack.append("]" if token == "[" else "}")
            self._expect = "first"
        else:
            if kind == "string" and self._stack == ["}"] and self._key == '"resourceType"':
                self.resource = token.strip('"')
            self._expect = "after" if self._stack else "end"
        self._line += token
        return True

    def _close(self, token: str) -> bool:
        if not self._stack or self._stack.pop() != token:
            return False
        if self._expect == "after":
            self._break()
        self._line += token
        self._expect = "after" if self._stack else "end"
        return True

    def _next(self) -> bool:
        self._line += ","
        self._break()
        self._expect = "key" if self._stack[-1] == "}" else "value"
        return True

    def _break(self) -> None:
        self.lines.append(self._line)
        self._line = _indent(len(self._stack))


def json_lines(text: str) -> tuple[list[str], str]:
    """The lines of one JSON value, and the ``resourceType`` of a FHIR resource ('' for other JSON).

    Numbers and strings stay as they were written. Raises NotWellFormed.
    """
    collected = _JsonLines()
    collected.parse(text)
    return collected.lines, collected.resource
