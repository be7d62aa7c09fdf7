"""The docs match the code: findings, commands, directives and options have pages, and links and examples work."""

import inspect
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
import yaml
from alembic.operations import MigrateOperation

import reports
from dupe_audit import errors, render
from dupe_audit.checks import render as render_check
from dupe_audit.cli import main
from dupe_audit.directives import operations, options
from dupe_audit.findings import CATALOGUE
from dupe_audit.model import CleanupRule, Counts, DuplicateReport, IndexState, Suggestion, UniqueKey, VerifyReport
from dupe_audit.statements import template
from dupe_audit.watch import render as render_watch
from dupe_audit.watch.facts import Activity, Blocker, Phase, RunSummary, View

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted([*DOCS.rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))])
JOBS = [*(ROOT / ".github" / "workflows").glob("*.yml"), ROOT / ".pre-commit-hooks.yaml"]
FINDINGS = {path.stem: path for path in (REFERENCE / "findings").glob("*.md") if path.stem != "index"}

#: one word per idea
VOCABULARY = {
    *("key", "group", "survivor", "extra", "affected", "exact", "divergent"),
    *("archive", "run", "batch", "finding", "attach"),
}

#: runs a test once per page, with the page's path as its id
pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def without_code(text: str) -> str:
    """Return Markdown without its code, in which brackets and hashes mean something else."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def headings(page: Path) -> list[str]:
    """Return the headings of a page, as written."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)


def anchor(heading: str) -> str:
    """Return a heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """Yield the fenced blocks of these languages; they may be indented in a list."""
    for indent, text in re.findall(
        rf"^( *)```(?:{'|'.join(languages)})\n(.*?)^ *```$", page.read_text(), flags=re.DOTALL | re.MULTILINE
    ):
        yield re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)


def shell_commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each command that a page tells its reader to type, without redirections and pipes."""
    for block in blocks(page, "console", "bash"):
        prompted = "\n$ " in f"\n{block}"
        for line in block.replace("\\\n", " ").splitlines():
            if prompted and not line.startswith("$ "):
                continue  # output of the command
            yield command_of(line.removeprefix("$ "))


def command_of(line: str) -> list[str]:
    """Return the words of a line's first command, up to a redirection, a pipe or a separator."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    command: list[str] = []
    for word in words:
        if set(word) <= set("();<>|&"):
            break
        if command or not re.match(r"\w+=", word):
            command.append(word)
    return command


def job_commands(node: object) -> Iterator[list[str]]:
    """Yield the words of each command in the parsed YAML of jobs or hooks."""
    if isinstance(node, list):
        for child in node:
            yield from job_commands(child)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in {"run", "script", "entry"}:
                lines = value if isinstance(value, list) else value.splitlines()
                yield from (command_of(line) + node.get("args", []) for line in lines)
            else:
                yield from job_commands(value)


def rejected(arguments: list[str]) -> str | None:
    """Return the error of click's parser, or None; no command is executed."""
    try:
        with main.make_context("dupe-audit", list(arguments)) as context:
            # The words that the group leaves to its command: click keeps the first, the command's name, separately.
            name, command, remaining = main.resolve_command(context, [*context._protected_args, *context.args])
            if command is None:
                return f"no command {name}"
            command.make_context(name, remaining, parent=context)
    except click.exceptions.Exit:
        return None  # --help and --version
    except click.ClickException as error:
        return error.format_message()
    return None


def directives() -> dict[str, inspect.Signature]:
    """Return the directives with their signatures, as a revision calls them but without types."""
    signatures = {}
    for operation in vars(operations).values():
        if inspect.isclass(operation) and issubclass(operation, MigrateOperation) and operation is not MigrateOperation:
            name = next(name for name, member in vars(operation).items() if isinstance(member, classmethod))
            _alembics, *parameters = inspect.signature(getattr(operation, name)).parameters.values()
            signatures[name] = inspect.Signature(
                [parameter.replace(annotation=parameter.empty) for parameter in parameters]
            )
    return signatures


@pytest.mark.parametrize("finding", sorted(CATALOGUE.keys() | FINDINGS.keys()))
def test_every_finding_has_its_page(finding):
    """Each finding has a page with its severity, problem and solution, and each page has a finding."""
    assert finding in CATALOGUE, "a page without a finding"
    assert finding in FINDINGS, "a finding without a page"
    entry = CATALOGUE[finding]
    acceptable = "yes" if entry.acceptable else "no" if entry.severity == "error" else "not needed"
    assert headings(FINDINGS[finding]) == [finding, "Problem", "Solution"]
    expected = f"Severity: **{entry.severity}**. Can be accepted: {acceptable}"
    assert FINDINGS[finding].read_text().splitlines()[2].startswith(expected)


def test_the_table_of_findings_is_complete():
    """The table has each finding once, with its severity and whether it can be accepted."""
    page = (REFERENCE / "findings" / "index.md").read_text()
    table = re.findall(r"^\| \[([\w-]+)\]\(\1\.md\) \| (\w+) \| (yes)? *\|", page, flags=re.MULTILINE)
    assert table == [(id_, entry.severity, "yes" if entry.acceptable else "") for id_, entry in CATALOGUE.items()]


def test_the_table_of_findings_says_who_reports_each():
    """The table names the same steps and commands as the finding's page, whose rule and details it leaves out."""
    page = (REFERENCE / "findings" / "index.md").read_text()
    table = dict(re.findall(r"^\| \[([\w-]+)\]\(.*\| ([^|]+) \|$", page, flags=re.MULTILINE))
    pages = {id_: re.findall(r"(?m)^Reported by: (.+)\.$", path.read_text()) for id_, path in FINDINGS.items()}
    left_out = r", rule \[.*|scripts of (?=`--sql`)|, when they .*|; .*"
    assert table == {id_: re.sub(left_out, "", *reporters) for id_, reporters in pages.items()}


def test_contributors_find_every_folder_of_the_source():
    """CONTRIBUTING.md says of each folder of the package what goes there."""
    folders = {path.parent.name for path in (ROOT / "src" / "dupe_audit").glob("*/__init__.py")}
    table = re.findall(r"^\| .+ \|$", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    assert folders <= set(re.findall(r"`(\w+)/", "".join(table)))


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_has_its_page(name):
    """Each command has help with an example, and a page that names all its options and that the overview links to."""
    command = main.commands[name].command
    page = (REFERENCE / "commands" / f"{name}.md").read_text()
    options = [name for option in command.params if isinstance(option, click.Option) for name in option.opts]

    assert "Example: dupe-audit" in (command.help or "")
    assert page.startswith(f"# dupe-audit {name}\n")
    assert [name for name in options if f"`{name}" not in page] == ["--version"]  # common to all: cli.md
    assert f"(commands/{name}.md)" in (REFERENCE / "cli.md").read_text()


def test_every_page_of_a_command_is_about_an_existing_one():
    """The reference has no page for a command that was renamed or removed."""
    assert {path.stem for path in (REFERENCE / "commands").glob("*.md")} == set(main.commands)


@pages
def test_commands_in_the_prose_exist(page):
    """Each dupe-audit command that a page tells its reader to type exists and has the options used."""
    commands = [words[1:] for words in shell_commands(page) if words[:1] == ["dupe-audit"]]
    assert {shlex.join(arguments): problem for arguments in commands if (problem := rejected(arguments))} == {}


@pytest.mark.parametrize("file", [*PAGES, *JOBS], ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_jobs_exist(file):
    """Each dupe-audit command in a job or a hook, in a page or in this repository, exists and has the options used."""
    texts = blocks(file, "yaml") if file.suffix == ".md" else [file.read_text()]
    commands = [
        words[1:] for text in texts for words in job_commands(yaml.safe_load(text)) if words[:1] == ["dupe-audit"]
    ]
    assert {shlex.join(arguments): problem for arguments in commands if (problem := rejected(arguments))} == {}


@pages
def test_links_work(page):
    """A relative link leads to an existing file, and its anchor to a heading in that file."""
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (fragment and fragment not in map(anchor, headings(file))):
            dead.append(target)
    assert dead == []


def test_every_page_can_be_reached():
    """A reader who starts at the index and follows links can reach every page."""
    reached, pending = set(), [DOCS / "index.md"]
    while pending:
        page = pending.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)#\s]+)", without_code(page.read_text()))
        pending += [(page.parent / link).resolve() for link in links if not re.match(r"[a-z]+:", link)]
    assert sorted(set(DOCS.rglob("*.md")) - reached) == []


@pages
def test_directives_in_the_prose_exist(page):
    """Each of our operations that a page calls on op exists and has the arguments used."""
    signatures = directives()
    alembics = {"create_unique_constraint"}  # Alembic's own, which pages compare with ours
    parentheses = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"  # of the call, of sa.text, and of a function in it
    pattern = rf"\bop\.(\w*(?:duplicates|unique_constraint|unique_index)\w*)({parentheses})?"
    for name, call in re.findall(pattern, page.read_text()):
        assert name in signatures.keys() | alembics, f"there is no op.{name}"
        arguments = set(re.findall(r"\b(\w+)=(?!=)", call))
        assert name in alembics or arguments <= signatures[name].parameters.keys(), f"op.{name}{call}"


@pytest.mark.parametrize("name", sorted(directives()))
def test_every_argument_of_a_directive_is_documented(name):
    """The page of the directives shows the signature of each directive with its defaults."""
    section = (REFERENCE / "directives.md").read_text().split(f"## op.{name}\n")[1]
    shown = re.sub(r"\s|,\s*(?=\))", "", section.split("```python\n")[1].split("```")[0])
    assert shown == f"op.{name}{directives()[name]}".replace(" ", "").replace("'", '"')


def test_every_x_option_is_documented():
    """The page of options has a row for each -x option, and no other."""
    rows = re.findall(r"^\| `dupe_audit\.(\w+)` \|", (REFERENCE / "options.md").read_text(), flags=re.MULTILINE)
    assert sorted(rows) == sorted(options.OPTIONS)


@pages
def test_x_options_in_the_prose_exist(page):
    """No page names a -x option that would be refused."""
    assert set(re.findall(r"-x dupe_audit\.(\w+)=", page.read_text())) <= options.OPTIONS.keys()


def test_the_glossary_has_every_word():
    """The glossary explains each word of the vocabulary, and its terms are in alphabetical order."""
    terms = re.findall(r"^\*\*(.+)\*\*$", (DOCS / "glossary.md").read_text(), flags=re.MULTILINE)
    assert VOCABULARY - set(terms) == set()
    assert terms == sorted(terms)


def test_every_exit_code_is_documented():
    """The page of exit codes has the exit code of each of our errors."""
    page = (REFERENCE / "exit-codes.md").read_text()
    codes = {error.exit_code for error in vars(errors).values() if hasattr(error, "exit_code")}
    assert [code for code in sorted(codes) if f"\n| {code} |" not in page] == []


@pytest.mark.parametrize("table", ["run", "batch"])
def test_every_column_of_the_ledger_is_documented(table):
    """The page of the ledger names each column of its tables and each state of a run."""
    section = (REFERENCE / "ledger.md").read_text().split(f"## dupe_audit.{table}\n")[1].split("\n## ")[0]
    definition = template(f"create_{table}_table")
    columns = re.findall(r"^    ([a-z_]+) ", definition, flags=re.MULTILINE)
    states = re.findall(r"'(\w+)'", "".join(re.findall(r"state IN \((.*?)\)", definition)))
    assert [name for name in [*columns, *states] if f"`{name}`" not in section] == []


def test_every_column_of_an_archive_is_documented():
    """The page of the ledger names each column that an archive has in addition to the table's."""
    page = (REFERENCE / "ledger.md").read_text()
    columns = re.findall(r"ADD COLUMN (\w+)", template("finish_archive"))
    assert columns != []
    assert [name for name in columns if f"`{name}`" not in page] == []


def test_json_examples_have_the_printed_keys():
    """The JSON examples in the reference have the keys that the commands print."""
    key = UniqueKey(table="orders", columns=("id",))
    counts = Counts(**dict.fromkeys(Counts.__slots__, 0))
    blank: dict[str, Any] = dict.fromkeys(IndexState.__slots__)
    running = RunSummary(**dict.fromkeys(RunSummary.__slots__, ()))
    blocker = Blocker(pid=1, name=None, state=None, seconds=None)
    activity = Activity(schema="public", table="orders", run=running, blockers=(blocker,))
    view = render_watch.as_json(View(at="", ledger=True, working=(activity,)))
    printed = {
        "watch": view,
        "preflight": render.preflight_json(
            DuplicateReport(
                key=key,
                counts=counts,
                differs={"received_at": 2, "note": 1},
                suggestion=Suggestion(
                    columns={"received_at": ""}, ignore=("received_at",), exact_groups=1, divergent_groups=2
                ),
                rule=CleanupRule(),
            )
        ),
        "verify": render.verify_json(VerifyReport(key=key, index=IndexState(**blank), extras=0, run=None)),
        "check": render_check.as_json(reports.report(reports.result())),
    }
    for command, documented in printed.items():
        shown = json.loads(next(blocks(REFERENCE / "commands" / f"{command}.md", "json")))
        assert list(shown) == list(documented)
        nested = {name for name, value in documented.items() if isinstance(value, dict)}
        assert {name: list(shown[name]) for name in nested} == {name: list(documented[name]) for name in nested}
        listed = {
            name
            for name, value in documented.items()
            if value and isinstance(value, list) and isinstance(value[0], dict)
        }
        assert {name: list(shown[name][0]) for name in listed} == {name: list(documented[name][0]) for name in listed}
        if command == "watch":
            working, documented_working = shown["working"][0], documented["working"][0]
            assert [list(working[name]) for name in ("run", "progress")] == [
                list(documented_working[n]) for n in ("run", "progress")
            ]
            assert list(working["blockers"][0]) == list(documented_working["blockers"][0])


def test_every_phase_is_documented():
    """The page of watch has a row for each phase that it can show."""
    rows = re.findall(r"^\| `(\w+)` \| [A-Z]", (REFERENCE / "commands" / "watch.md").read_text(), flags=re.MULTILINE)
    assert sorted(get_args(Phase)) == sorted(rows)
