"""Foreign rows to the texts of a sample, by the names of their columns or the turns of a conversation."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from srd.config import ColumnNames
from srd.datasets.conversations import LISTS, first_exchange
from srd.errors import UserError, nearest
from srd.runtime.progress import say

DOLLY = ColumnNames(instruction="instruction", input="context", output="response")
"""The columns of Databricks' own file."""


@dataclass
class Reader:
    """Turns the rows of one data set into texts, and counts what it leaves aside."""

    columns: ColumnNames
    name: str
    """Of the data set, in what is said."""
    rows: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    used: set[str] = field(default_factory=set)
    longer: int = 0
    """Conversations of which only the first question and its answer are read."""

    def texts(self, row: dict[str, Any], where: str) -> dict[str, Any]:
        """`instruction`, `input`, `output` and `where`, with `system` where the row has one."""
        self.rows += 1
        row = _opened(row, self.columns)
        self.seen.update(key for key, value in row.items() if not _is_nothing(value))
        turns = next((key for key in LISTS if isinstance(row.get(key), list)), None)
        if turns is not None and self.columns.output not in row and self.columns.instruction not in row:
            exchange = first_exchange(row[turns], f"{where}: {turns}")
            self.used.add(turns)
            self.longer += exchange.is_longer
            system = exchange.system or self._system(row, where)
            return _checked(exchange.question, "", exchange.answer, system, where)
        columns = self._columns(row)
        fixed = columns.instruction_text
        # A task whose instruction is fixed is nothing without what the instruction is about.
        needed = (columns.instruction if fixed is None else columns.input, columns.output)
        for key in needed:
            if key not in row:
                raise UserError(
                    f"{where}: no column '{key}'; found {', '.join(row) or 'none'}; name it with dataset.columns.*"
                )
        self.used |= {*needed, columns.input}
        instruction = fixed if fixed is not None else _text(row[columns.instruction], f"{where}: {columns.instruction}")
        value = row.get(columns.input)
        if columns.input == columns.tests:
            value = "\n".join(_texts(value, f"{where}: {columns.input}"))
        input = "" if value is None else _text(value, f"{where}: {columns.input}")
        answer, place = row[columns.output], f"{where}: {columns.output}"
        output = [_text(each, place) for each in answer] if isinstance(answer, list) else _text(answer, place)
        tested = self._tested(row, where)
        return _checked(instruction, input, output, self._system(row, where), where) | tested

    def close(self) -> None:
        """After the last row: a `UserError` for a named column that no row has; says what was not used."""
        for what in ("input", "system", "tests", "setup", "entry_point"):
            named, usual = getattr(self.columns, what), getattr(ColumnNames(), what)
            if named is not None and named != usual and self.rows and not self.seen[named]:
                raise UserError(
                    f"dataset.columns.{what}={named}: no row of {self.name} has that column; "
                    f"{nearest(named, self.seen)}"
                )
        unused = [f"{key} ({count} rows)" for key, count in self.seen.items() if key not in self.used]
        if unused:
            say(f"{self.name}: columns that are not used: {', '.join(unused)}")
        if self.longer:
            say(
                f"{self.name}: {self.longer} of {self.rows} conversations have more turns than one question and its "
                "answer, which alone are read"
            )

    def _columns(self, row: Mapping[str, Any]) -> ColumnNames:
        """The names that are set; where none is, those of the only layout that has other ones."""
        dolly = DOLLY.output in row and DOLLY.input in row and "output" not in row
        return DOLLY if dolly and self.columns == ColumnNames() else self.columns

    def _tested(self, row: Mapping[str, Any], where: str) -> dict[str, Any]:
        """What code in an answer is tested by: `tests`, `setup` and `entry_point`, those that the row has."""
        found = {}
        for what in ("tests", "setup", "entry_point"):
            name = getattr(self.columns, what)
            if name is not None and not _is_nothing(row.get(name)):
                found[what] = _texts(row[name], f"{where}: {name}")
                self.used.add(name)
        tested: dict[str, Any] = {what: "\n".join(texts) for what, texts in found.items() if what != "tests"}
        if found.get("tests"):
            called = f"\n\ncheck({tested['entry_point']})\n" if "entry_point" in tested else ""
            # HumanEval's tests are a function that is handed the one to test.
            tested["tests"] = [text + called if "def check(" in text else text for text in found["tests"]]
        return {what: value for what, value in tested.items() if value}

    def _system(self, row: Mapping[str, Any], where: str) -> str:
        name = self.columns.system
        if name is None:
            return ""
        self.used.add(name)
        return "" if row.get(name) is None else _text(row[name], f"{where}: {name}")


def _opened(row: dict[str, Any], columns: ColumnNames) -> dict[str, Any]:
    """A row with the fields of those columns as columns of their own that a name has a field of."""
    names = [name for key, name in vars(columns).items() if name is not None and key != "instruction_text"]
    for column in {name.partition(".")[0] for name in names if "." in name and name not in row}:
        if isinstance(row.get(column), dict):
            fields = {f"{column}.{field}": value for field, value in row[column].items()}
            row = {key: value for key, value in row.items() if key != column} | fields
    return row


def named_columns(columns: ColumnNames) -> dict[str, str]:
    """The names of the columns as a fingerprint knows them."""
    return {key: name for key, name in vars(columns).items() if name is not None and key != "text"}


def read_texts(rows: Iterator[tuple[str, Mapping[str, Any]]], reader: Reader, split: str) -> Iterator[dict[str, Any]]:
    """The texts of every row as raw samples of a split."""
    for where, row in rows:
        yield reader.texts(dict(row), where) | {"split": split}


def read_document(row: Mapping[str, Any], column: str, where: str) -> dict[str, Any]:
    """The text in one column of a row as a raw sample that has nothing else; no text is an empty one."""
    if column not in row:
        raise UserError(
            f"{where}: no column '{column}'; found {', '.join(row) or 'none'}; name it with dataset.columns.text"
        )
    text = "" if row[column] is None else _text(row[column], f"{where}: {column}")
    return _checked("", "", text, "", where)


def _is_nothing(value: Any) -> bool:
    return value is None or value == ""


def _text(value: Any, place: str) -> str:
    """A text, or a number as text; anything else is a `UserError` with its place and value."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    shown = repr(value)[:60]
    raise UserError(f"{place} is {shown}: expected text or a number (the output may be a list of texts); mend the row")


def _texts(value: Any, place: str) -> list[str]:
    """One text, or those of a list."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [_text(each, place) for each in values]


def _checked(instruction: str, input: str, output: str | list[str], system: str, where: str) -> dict[str, Any]:
    try:
        "".join([instruction, input, system, *(output if isinstance(output, list) else [output])]).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{where}: not text that UTF-8 can hold ({error.reason}); mend the row") from None
    told = {"system": system} if system else {}
    return {"instruction": instruction, "input": input, "output": output, "where": where, **told}
