"""The HTML of a chat page back to the Markdown that it was drawn from: what ShareGPT's dumps hold in place of answers."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_BLOCKS = frozenset("p div ul ol li pre h1 h2 h3 h4 h5 h6 blockquote table tr section article hr br".split())
# A drawn answer begins with a block and ends with one. An answer that is a page itself has tags that no drawn one has.
_BEGINS = re.compile(r"\s*<(p|div|ul|ol|pre|h[1-6]|blockquote|table)[\s>]", re.IGNORECASE)
_ENDS = re.compile(r"</(p|div|ul|ol|pre|h[1-6]|blockquote|table)>\s*$", re.IGNORECASE)
_OF_A_PAGE = re.compile(
    r"<(!doctype|html|head|body|script|style|link|meta|form|input|button|nav|img|svg|canvas)\b", re.IGNORECASE
)
_MARKS = {"strong": "**", "b": "**", "em": "*", "i": "*", "del": "~~"}


def is_drawn(text: str) -> bool:
    """Whether a text is an answer as a chat page draws it, and not one that shows HTML.

    Example:
        >>> is_drawn("<p>Paris.</p>"), is_drawn("<div><script>alert(1)</script></div>"), is_drawn("Use <p> for that.")
        (True, False, False)
    """
    return bool(_BEGINS.match(text) and _ENDS.search(text) and not _OF_A_PAGE.search(re.sub(r"(?s)<pre.*?</pre>", "", text)))


def to_text(html: str) -> str:
    """The text of a drawn answer: code in fences, lists and headings in Markdown, the buttons of the page left out.

    Example:
        >>> print(to_text("<p>Try <code>ls</code>:</p><ol><li>one</li><li>two &amp; three</li></ol>"))
        Try `ls`:
        <BLANKLINE>
        1. one
        2. two & three
    """
    page = _Page()
    page.feed(html)
    page.close()
    return re.sub(r"\n{3,}", "\n\n", page.text()).strip()


class _Page(HTMLParser):
    """Collects the text of a page as it is parsed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._lists: list[int] = []  # the number of the next entry of each open list; 0 where they have none
        self._code: list[str] | None = None  # what stands in the open <pre>, outside of its <code> too
        self._in_code = False
        self._language = ""
        self._headings = 0  # how many heading cells the open row of a table has

    def text(self) -> str:
        """All that was collected."""
        return "".join(self._parts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag opens."""
        if tag == "pre":
            self._code, self._language = [], ""
        elif tag == "code":
            self._in_code = True
            if self._code is None:
                self._parts.append("`")
            elif match := re.search(r"language-([\w+#-]+)", dict(attrs).get("class") or ""):
                self._language = match[1]
        elif tag in ("ul", "ol"):
            if not self._lists:
                self._parts.append("\n")
            self._lists.append(int(dict(attrs).get("start") or 1) if tag == "ol" else 0)
        elif tag == "li" and self._lists:
            number = self._lists[-1]
            self._parts.append("\n" + "  " * (len(self._lists) - 1) + (f"{number}. " if number else "- "))
            self._lists[-1] += bool(number)
        elif tag in ("td", "th"):
            self._parts.append("| ")
            self._headings += tag == "th"
        elif re.fullmatch(r"h[1-6]", tag):
            self._parts.append(f"\n\n{'#' * int(tag[1])} ")
        elif tag in _MARKS:
            self._parts.append(_MARKS[tag])
        elif tag in _BLOCKS:
            is_entry = bool(self._lists) and bool(re.fullmatch(r"\n *(\d+\.|-) ", self._parts[-1]))
            self._parts.append("" if is_entry else "\n" if tag in ("br", "tr") or self._lists else "\n\n")

    def handle_endtag(self, tag: str) -> None:
        """A tag closes."""
        if tag == "pre" and self._code is not None:
            code, self._code = "".join(self._code).strip("\n"), None
            self._parts.append(f"\n\n```{self._language}\n{code}\n```\n\n")
        elif tag == "code":
            self._in_code = False
            if self._code is None:
                self._parts.append("`")
        elif tag in ("ul", "ol") and self._lists:
            self._lists.pop()
            self._parts.append("" if self._lists else "\n\n")
        elif tag in _MARKS:
            self._parts.append(_MARKS[tag])
        elif tag in ("td", "th"):
            self._parts.append(" ")
        elif tag == "tr":
            self._parts.append("|" + (f"\n{'| --- ' * self._headings}|" if self._headings else ""))
            self._headings = 0
        elif tag in _BLOCKS and tag not in ("li", "br", "hr"):
            self._parts.append("" if self._lists else "\n\n")

    def handle_data(self, data: str) -> None:
        """Text between tags."""
        if self._code is not None:
            if self._in_code:  # beside it stand the language and the page's "Copy code"
                self._code.append(data)
        elif self._in_code:
            self._parts.append(data)
        else:
            self._parts.append(re.sub(r"\s*\n\s*", " ", data) if data.strip() else "")
