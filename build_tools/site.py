"""Hooks of mkdocs: the site has pages of files outside docs/, and a reference.

The documents link to each other as they lie in the repository, so that the links work
there. Here a link to a file that is a page goes to the page; any other file that is
linked to comes along as it is, under files/.
"""

import ast
import json
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {  # file of the repository -> page
    "README.md": "start.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/RESULTS.md": "results.md",
}
FILES = {page: file for file, page in PAGES.items()}
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_NESTED = re.compile(r"^ {2,3}(?=[-*] )", re.MULTILINE)
_NAMED = re.compile(r"(?<!\[)`((?:docs/|benchmarks/)?\w+\.md)`(?!\])")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages of the reference to the navigation."""
    pages = [{name: f"reference/{name}.md"} for name in packages()]
    config.nav.append({"Reference": pages})
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of other files, the reference, and the files that are linked to."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    for name in packages():
        page, content = f"reference/{name}.md", reference_text(name)
        files.append(File.generated(config, page, content=content))
    documents = [
        *PAGES,
        *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
    ]
    linked = {
        place
        for name in documents
        for _, target, _, _ in _LINK.findall((ROOT / name).read_text())
        if (place := placed(name, target)).startswith("files/")
    }
    for place in sorted(linked):
        source = str(ROOT / place.removeprefix("files/"))
        files.append(File.generated(config, place, abs_src_path=source))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Have the links of a page, and the documents that it names, lead to pages.

    Lists within lists are written with two spaces; Python's Markdown wants four.
    """
    own = page.file.src_uri
    name = FILES.get(own, f"docs/{own}")

    def linked(match: re.Match) -> str:
        opening, target, anchor, closing = match.groups()
        return f"{opening}{placed(name, target)}{anchor or ''}{closing}"

    def named(match: re.Match) -> str:
        target = placed("README.md", match[1])
        known = target in FILES or (ROOT / "docs" / target).is_file()
        return f"[{match[0]}]({target})" if known and target != own else match[0]

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    for place, part in enumerate(parts):
        if not part.startswith("```"):
            part = _NAMED.sub(named, _LINK.sub(linked, part))
            parts[place] = _NESTED.sub("    ", part)
    return "".join(parts)


def placed(name: str, target: str) -> str:
    """Where on the site a link of a file of the repository leads to."""
    if re.match(r"[a-z]+:|/|#", target):
        return target
    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    if path in PAGES:
        return PAGES[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}"


def packages() -> list[str]:
    """Packages of the library that have public names."""
    files = (ROOT / "helix_jax").glob("*/__init__.py")
    return sorted(path.parent.name for path in files if origins(path.parent.name))


def origins(package: str) -> dict[str, str]:
    """Public name of a package -> the module that it comes from, see helix_jax.lazy."""
    source = (ROOT / "helix_jax" / package / "__init__.py").read_text()
    return {
        name.asname or name.name: line.module or ""
        for block in ast.parse(source).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for name in line.names
    }


def reference_text(package: str) -> str:
    """A page of the public names of a package, with their docstrings.

    What comes from another package is on that one's page, and what has the name of its
    module, which the package means and not the module, has a place of its own.
    """
    whole, found = f"helix_jax.{package}", origins(package)
    foreign = [name for name in found if not found[name].startswith(f"{whole}.")]
    filters = ["!^_", *(f"!^{name}$" for name in foreign)]
    own = [name for name, module in found.items() if module == f"{whole}.{name}"]
    blocks = [f"::: {whole}\n    options:\n      filters: {json.dumps(filters)}\n"]
    blocks += [f"::: {found[name]}.{name}\n" for name in own]
    return f"# {package}\n\n" + "\n".join(blocks)
