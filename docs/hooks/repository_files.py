"""Links of the documentation to files of the repository: the site gets a copy, so that they lead somewhere in both.

Leaves out links between pages, which MkDocs follows by itself.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_LINK = re.compile(r"\]\(((?:\.\./)+[^)#\s]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point each link that leaves the documentation's folder to a copy of the file that it names."""
    docs = Path(config.docs_dir)
    root = Path(config.config_file_path).parent

    def to_copy(link: re.Match[str]) -> str:
        target = (docs / page.file.src_uri).parent.joinpath(link[1]).resolve()
        if target.is_relative_to(docs) or not target.is_file() or not target.is_relative_to(root):
            return link[0]  # a page, or a broken link, which MkDocs reports
        # A page of the repository that is none of the site's would be made one: it goes as the text that it is.
        copy = f"files/{target.relative_to(root).as_posix()}{'.txt' if target.suffix == '.md' else ''}"
        if files.get_file_from_path(copy) is None:
            files.append(File.generated(config, copy, abs_src_path=str(target)))
        return f"]({posixpath.relpath(copy, posixpath.dirname(page.file.src_uri))})"

    return _LINK.sub(to_copy, markdown)
