"""What the benchmarks' commands have in common."""

from __future__ import annotations

import pytest

from benchmarks import identification, offline_table


@pytest.mark.parametrize("text", ["0", "-1", "two"])
@pytest.mark.parametrize(
    ("parse", "flag"), [(identification.parse, "--jobs"), (offline_table.parse, "--steps")]
)
def test_counts_must_be_positive(parse, flag, text, capsys):
    """Named with their bound."""
    with pytest.raises(SystemExit):
        parse([f"{flag}={text}"])
    assert f"argument {flag}: {text} must be at least 1" in capsys.readouterr().err
