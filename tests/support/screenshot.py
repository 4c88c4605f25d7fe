"""A terminal's screen as a picture that stands alone: no font and nothing else is fetched from elsewhere."""

import io
import re
from collections.abc import Sequence

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

FORMAT = re.sub(r"@font-face \{\{.*?\}\}|<!--.*?-->", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def svg(lines: Sequence[str], title: str, columns: int = 80) -> str:
    """Lines with their escape sequences, as `Pane.lines(styled=True)` gives them."""
    console = Console(width=columns, record=True, file=io.StringIO(), force_terminal=True)
    for line in lines:
        console.print(Text.from_ansi(line), no_wrap=True, overflow="crop", highlight=False)
    return console.export_svg(title=title, code_format=FORMAT, unique_id="screen")
