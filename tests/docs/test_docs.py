"""The documentation is true: its code runs, its links lead somewhere, and
nothing public and no file is missing from it.

A code block marked `python` in README.md or docs/ is run as a program of its
own; blocks with `>>>` are doctests. An HTML comment right before a block says
more about the run, as KEY: VALUE pairs with semicolons between them:

    <!-- signal: TERM; status: -15; prints: saved -->

signal  sent once a killer is installed or a section is open
after   sent once the program has printed a line that begins so, instead
status  the exit status; minus the signal's number for a death by it; else 0
prints  a part of what the program prints, on either stream
args    the program's arguments
slow    why it takes longer than 0.25 s
skip    why the block cannot be run here
"""

from __future__ import annotations

import inspect
import pkgutil
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "gracefulexit"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
KEYS = {"signal", "after", "status", "prints", "args", "slow", "skip"}
LIMIT = 20.0  # seconds for one block

# Runs the block in the file sys.argv[1] as a program. Says on stdout when there
# is something that a signal can reach.
RUN = """
import os, sys
import gracefulexit

def announce(cls, method):
    original = getattr(cls, method)
    def wrapper(self, *args, **kwargs):
        result = original(self, *args, **kwargs)
        sys.stdout.flush()
        os.write(1, b"\\nREADY FOR SIGNALS\\n")
        return result
    setattr(cls, method, wrapper)

announce(gracefulexit.GracefulKiller, "__init__")
announce(gracefulexit.TerminateProtected, "__enter__")
announce(gracefulexit.TerminateProtected, "__aenter__")
del sys.argv[0], announce
exec(compile(open(sys.argv[0]).read(), sys.argv[0], "exec"))
"""

DOCTEST = """
import doctest, sys
text = open(sys.argv[1]).read()
test = doctest.DocTestParser().get_doctest(text, {}, sys.argv[1], sys.argv[1], 0)
sys.exit(doctest.DocTestRunner().run(test).failed != 0)
"""

MODULE_DOCTEST = """
import doctest, importlib, sys
sys.exit(doctest.testmod(importlib.import_module(sys.argv[1])).failed != 0)
"""

BLOCK = re.compile(
    r"(?:^<!--[ ](?P<said>[^\n]*?)[ ]-->\n+)?^```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)


@dataclass
class Block:
    page: Path
    line: int
    code: str
    said: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text()
        for match in BLOCK.finditer(text):
            pairs = (match["said"] or "").split("; ") if match["said"] else []
            said = dict(pair.split(": ", 1) for pair in pairs)
            line = text.count("\n", 0, match.start("code"))
            yield Block(page, line, match["code"], said)


BLOCKS = list(blocks())


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b, id=b.id, marks=[pytest.mark.slow] if "slow" in b.said else [])
        for b in BLOCKS
    ],
)
def test_block_runs(block: Block, start_child, tmp_path: Path) -> None:
    """The block does what the page says."""
    assert block.said.keys() <= KEYS
    if "skip" in block.said:
        pytest.skip(block.said["skip"])
    path = tmp_path / "block.py"
    path.write_text(block.code)
    runner = DOCTEST if ">>>" in block.code else RUN

    child = start_child(runner, path, *block.said.get("args", "").split())
    if "signal" in block.said:
        child.wait_line(block.said.get("after", "READY FOR SIGNALS"), LIMIT)
        child.signal(signal.Signals[f"SIG{block.said['signal']}"])
    done = child.finish(LIMIT)

    assert done.status == int(block.said.get("status", "0")), done.out + done.err
    assert block.said.get("prints", "") in done.out + done.err


def test_there_are_blocks_everywhere() -> None:
    """A page whose blocks the pattern no longer finds is not a success."""
    fences = [
        (page.name, page.read_text().count("```python"))
        for page in PAGES
        if "```python" in page.read_text()
    ]
    found = [block.page.name for block in BLOCKS]

    assert {name: found.count(name) for name in found} == dict(fences)
    assert "README.md" in found


def modules() -> list[str]:
    import gracefulexit

    names = [m.name for m in pkgutil.iter_modules(gracefulexit.__path__)]
    return ["gracefulexit", *(f"gracefulexit.{n}" for n in names if n != "__main__")]


@pytest.mark.parametrize("module", modules())
def test_docstring_examples(module: str, start_child) -> None:
    """The examples in the docstrings of a module run."""
    done = start_child(MODULE_DOCTEST, module).finish(LIMIT)

    assert done.status == 0, done.out + done.err


NATIVE = DOCS / "examples" / "native"
EXCERPT = re.compile(r"^```(c|cython|py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_native_code_is_that_of_the_examples() -> None:
    """Code that is compiled is shown as it stands in an example, which a test runs."""
    files = [f for f in NATIVE.rglob("*") if f.suffix in (".c", ".py", ".pyx")]
    texts = [file.read_text() for file in files]
    shown = EXCERPT.findall((DOCS / "howto" / "native-code.md").read_text())

    assert {kind for kind, _ in shown} == {"c", "cython", "py"}
    assert [code for _, code in shown if not any(code in text for text in texts)] == []


def test_reference_names_every_function_of_the_header() -> None:
    """docs/reference/c-api.md is complete."""
    header = (PACKAGE / "include" / "gracefulexit.h").read_text()
    functions = set(re.findall(r"^(gracefulexit_\w+)\(", header, re.MULTILINE))

    assert len(functions) == 3
    assert functions - documented(DOCS / "reference" / "c-api.md") == set()


# --- links


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Headings as the usual renderers turn them into anchors."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found
    }


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text()))


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "csrc" / "README.md", ROOT / "CHANGELOG.md"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that is there, and a heading in it."""
    broken = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


def test_every_page_is_reached_from_the_index() -> None:
    """A page that nothing links to is a page that nobody reads."""
    seen: set[Path] = set()
    todo = [DOCS / "index.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        todo += [
            (page.parent / link.partition("#")[0]).resolve() for link in links(page)
        ]

    assert set(DOCS.rglob("*.md")) - seen == set()


# --- nothing is missing


def public_members(cls: type, base: type = object) -> set[str]:
    """What a class adds to its base, as a user sees it."""
    return {
        name
        for name in dir(cls)
        if not name.startswith("_") and not hasattr(base, name)
    }


MADE_IN_INIT = {"event"}  # of GracefulKiller; the class does not have it


def documented(page: Path) -> set[str]:
    """Names that stand in code font on a page, at least once in a heading or list."""
    return set(re.findall(r"`(?:\w+\.)*@?(\w+)[^`]*`", page.read_text()))


def test_reference_names_every_public_member() -> None:
    """docs/reference/api.md is complete."""
    import multiprocessing
    import subprocess
    import threading

    import gracefulexit as ge

    expected = set(ge.__all__)
    expected |= public_members(ge.GracefulKiller)
    expected |= public_members(ge.TerminateProtected)
    expected |= public_members(ge.WorkerGroup)
    expected |= public_members(ge.Worker, threading.Thread)
    expected |= {"error", "run", "start"}  # of Worker
    expected |= public_members(ge.ProcessWorker, multiprocessing.Process)
    expected |= public_members(ge.Popen, subprocess.Popen)
    expected |= {"stdin", "stop"}  # its arguments
    expected |= set(inspect.signature(ge.GracefulKiller).parameters)
    expected |= set(inspect.signature(ge.TerminateProtected).parameters)
    expected |= {"code", "reason"}  # of GracefulExit
    for record in (ge.SignalInfo, ge.Report):
        expected |= public_members(record, tuple)  # its fields, too

    assert expected - documented(DOCS / "reference" / "api.md") == set()


def test_reference_names_every_lowlevel_function() -> None:
    """docs/reference/lowlevel.md is complete."""
    from gracefulexit import lowlevel

    expected = set(lowlevel.__all__)

    assert expected - documented(DOCS / "reference" / "lowlevel.md") == set()


def test_reference_has_no_invented_member() -> None:
    """Each heading of a member in api.md names one that is there."""
    import gracefulexit as ge

    text = (DOCS / "reference" / "api.md").read_text()
    cls: object = None
    invented = []
    for level, name in re.findall(r"^(##+) `@?(\w+)", text, re.MULTILINE):
        if level == "##":
            cls = getattr(ge, name, None)
            if cls is None:
                invented.append(name)
        elif name not in {*dir(cls), *dir(ge), *MADE_IN_INIT}:
            fields = getattr(cls, "__annotations__", {})
            parameters = inspect.signature(cls).parameters
            if name not in fields and name not in parameters:
                invented.append(f"{cls!r}.{name}")

    assert invented == []


def test_map_has_every_file() -> None:
    """The map of the code tells one line about each file."""
    text = (DOCS / "contributing.md").read_text()
    text += (ROOT / "csrc" / "README.md").read_text()
    files = [*PACKAGE.glob("*.py"), *PACKAGE.glob("*.pyi")]
    files += [*(ROOT / "csrc").rglob("*.[ch]")]
    # ge_x.h is the face of ge_x.c: one line is for both.
    missing = [f.name for f in files if not re.search(rf"`{_either(f)}`", text)]

    assert missing == []


def _either(path: Path) -> str:
    if path.suffix in (".c", ".h"):
        return rf"{re.escape(path.stem)}\.(?:\[ch\]|{path.suffix[1]})"
    return re.escape(path.name)


def test_map_has_no_file_that_is_gone() -> None:
    """What the map tells about is there."""
    text = (DOCS / "contributing.md").read_text()
    text += (ROOT / "csrc" / "README.md").read_text()
    names = {p.name for folder in (PACKAGE, ROOT / "csrc") for p in folder.rglob("*")}
    told = re.findall(r"^(?:\||-) `(\w+)\.(\w+|\[ch\])`", text, re.MULTILINE)
    gone = [
        f"{stem}.{suffix}"
        for stem, suffix in told
        if not {f"{stem}.{s}" for s in suffix.strip("[]")} & names
        and f"{stem}.{suffix}" not in names
    ]

    assert told != []
    assert gone == []


# --- the README's commands


def command_of_ci() -> str:
    text = (ROOT / ".ci" / "run").read_text()
    match = re.search(r'^TEST_COMMAND="(.*)"$', text, re.MULTILINE)
    assert match is not None
    return match[1]


def test_readme_and_ci_run_the_same_tests() -> None:
    """Who follows the README runs what CI runs."""
    assert command_of_ci() in (ROOT / "README.md").read_text().splitlines()


@pytest.mark.slow
def test_readme_main_command(start_child, tmp_path: Path) -> None:
    """The last part of the README's first command works where it is given: in
    the source tree, whose own gracefulexit/ is not compiled."""
    text = (ROOT / "README.md").read_text()
    command = r"&& \.venv/bin/python ((?:-I )?-m gracefulexit .*)$"
    match = re.search(command, text, re.MULTILINE)
    assert match is not None
    program = """
        import os, sys
        os.chdir(sys.argv[1])
        os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
    """

    child = start_child(program, ROOT, *match[1].split(), env={"TMPDIR": str(tmp_path)})
    done = child.finish()

    assert done.status == 0, done.out + done.err


def test_versions_are_the_same() -> None:
    """The changelog's newest entry is the version of the package."""
    import gracefulexit

    text = (ROOT / "CHANGELOG.md").read_text()
    newest = re.search(r"^## (\S+)", text, re.MULTILINE)

    assert newest is not None
    assert gracefulexit.__version__.startswith(newest[1])
    assert sys.version_info >= (3, 10)
