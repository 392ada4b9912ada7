"""What counts as the same between a page and what a command prints."""

from __future__ import annotations

import pytest

from tests.support.pages import alike

TABLE = "NODE     PID  LISTENS AT\ncloud-1  42   127.0.1.1:19600\n"


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (TABLE, "NODE      PID     LISTENS AT\ncloud-1   42137   127.7.1.1:4001\n"),
        ("a\n...\nz\n", "a\nb\nc\nz\n"),
        ("a\n...\nz\n", "a\nz\n"),
        (
            "id 5f0c9d3b2a1e4f6780aa is 37s old, 16Mi\n",
            "id aa0c9d3b2a1e4f6780ff is 2m5s old, 1Gi\n",
        ),
        ('{"a": [1, {"b": "c-1"}]}', '{"a": [7, {"b": "c-1"}]}'),
        ('{"a": [\n  1,\n  ...\n]}', '{"a": [7, 8, 9]}'),
    ],
)
def test_numbers_and_widths_are_free(shown, printed):
    assert alike(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (TABLE, TABLE.replace("cloud-1", "cloud-2")),
        (TABLE, TABLE.replace("PID", "ID")),
        (TABLE, TABLE + "more\n"),
        (TABLE, ""),
        ("a\n...\nz\n", "a\nb\n"),
        ("5 of 5 nodes\n", "4 of 5 nodes\n"),
        ('{"a": 1}', '{"a": 1, "b": 2}'),
        ('{"a": 1}', '{"a": null}'),
        ('{"a": 1}', '{"a": true}'),
        ('{"a": [1]}', '{"a": [1, 2]}'),
        ('{"a": "cloud-1"}', '{"a": "cloud-2"}'),
        ('{"a": 1}', "cachectl: no"),
    ],
)
def test_names_columns_and_fields_are_not(shown, printed):
    assert not alike(shown, printed)
