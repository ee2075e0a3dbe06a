"""The `sources` section of params.yaml: where the rows come from, and how the tables are joined."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, RootModel, StringConstraints, model_validator

Format = Literal["csv", "parquet"]
FORMATS: dict[str, Format] = {".csv": "csv", ".parquet": "parquet"}

Text = Annotated[str, StringConstraints(min_length=1)]


class Join(BaseModel):
    """How a source meets the tables declared before it.

    `on` lists the key columns, or maps a column of the base table to the source's name for it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: Annotated[tuple[Text, ...] | dict[Text, Text], Field(min_length=1)]
    how: Literal["left", "inner"] = "left"

    @model_validator(mode="before")
    @classmethod
    def _undo_yaml_1_1(cls, value: Any) -> Any:
        # YAML 1.1 readers take a bare `on` for the truth value; DVC reads 1.2, where it is the word.
        if isinstance(value, dict) and True in value and "on" not in value:
            return {"on" if key is True else key: held for key, held in value.items()}
        return value

    @model_validator(mode="after")
    def _keys_are_distinct(self) -> Self:
        names = list(self.on.values()) if isinstance(self.on, dict) else list(self.on)
        if len(set(names)) < len(names):
            raise ValueError(f"on: expected each column once, found {', '.join(names)}; remove the repeated one")
        return self

    @property
    def keys(self) -> dict[str, str]:
        """Map each key column of the base table to its name in the source.

        >>> Join(on=["origin"]).keys
        {'origin': 'origin'}
        """
        return dict(self.on) if isinstance(self.on, dict) else {name: name for name in self.on}


class Source(BaseModel):
    """One table: files, a web address or a query.

    `rename` (old name: new name) comes first; `select`, `text`, `parse_dates` and `join` use the new names.
    `text` lists columns of a CSV that are read letter by letter, so that `007` and `NA` stay what they are.
    `parse_dates` lists columns of ISO 8601 text, or maps a column to its strptime format.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: Text | Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    url: Text | None = None
    headers: dict[Text, str] = Field(default_factory=dict)
    sql: Text | None = None
    connection: Text | None = None
    format: Format | None = None
    rename: dict[Text, Text] = Field(default_factory=dict)
    select: tuple[Text, ...] = ()
    text: tuple[Text, ...] = ()
    parse_dates: tuple[Text, ...] | dict[Text, Text] = ()
    join: Join | None = None

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        given = [name for name in ("files", "url", "sql") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ValueError(f"expected exactly one of files, url and sql, found {found}")
        return self

    @model_validator(mode="after")
    def _options_fit_the_kind(self) -> Self:
        misplaced = {
            "headers": bool(self.headers) and self.url is None,
            "connection": self.connection is not None and self.sql is None,
            "format": self.format is not None and self.sql is not None,
            "text": bool(self.text) and self.sql is not None,
        }
        for option, wrong in misplaced.items():
            if wrong:
                kind = "sql" if option == "connection" else "url" if option == "headers" else "files or url"
                raise ValueError(f"{option}: belongs to a source with {kind}; remove it")
        if self.sql is not None and self.connection is None:
            raise ValueError("connection: expected a database URL such as ${DATABASE}, found none; add it")
        return self

    @model_validator(mode="after")
    def _files_are_in_the_repository(self) -> Self:
        for pattern in self.patterns:
            if PurePosixPath(pattern).is_absolute():
                raise ValueError(f"files: expected a path relative to the repository's root, found {pattern!r}")
        return self

    @model_validator(mode="after")
    def _url_has_a_format(self) -> Self:
        if self.url is None:
            return self
        if not self.url.lower().startswith(("http://", "https://")):
            raise ValueError("url: expected an address that starts with https:// or http://")
        if self.format is None and PurePosixPath(urlsplit(self.url).path).suffix.lower() not in FORMATS:
            raise ValueError("format: the address ends neither in .csv nor in .parquet; add `format: csv` or parquet")
        return self

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        for option, names in (("rename", tuple(self.rename.values())), ("select", self.select)):
            if len(set(names)) < len(names):
                raise ValueError(f"{option}: expected each new name once, found {', '.join(names)}")
        return self

    @property
    def patterns(self) -> tuple[str, ...]:
        """The declared files, folders and globs, one or many, as a tuple."""
        if self.files is None:
            return ()
        return (self.files,) if isinstance(self.files, str) else self.files

    @property
    def date_formats(self) -> dict[str, str]:
        """Map each column of `parse_dates` to its format, `ISO8601` where none is declared."""
        if isinstance(self.parse_dates, dict):
            return dict(self.parse_dates)
        return dict.fromkeys(self.parse_dates, "ISO8601")


class Sources(RootModel[dict[Text, Source]]):
    """All sources by name, in the order of the file: the first is the base table, the others are joined to it."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="after")
    def _first_is_the_base(self) -> Self:
        if not self.root:
            raise ValueError("expected at least one source, found none; declare the base table first")
        base, *others = self.root.items()
        if base[1].join is not None:
            raise ValueError(f"{base[0]}.join: the first source is the base table; remove its join")
        for name, source in others:
            if source.join is None:
                raise ValueError(f"{name}.join: expected its keys, found no join; add `join: {{on: [column]}}`")
        return self
