"""Tables of cases as one test hide no failure."""

from __future__ import annotations

import pytest
from cases import every


def test_every_failing_case_is_named_and_every_case_is_tried():
    tried = []

    @every(("got", "expected"), [(1, 1), ("alpha", "beta"), (2, 2), ("gamma", "delta"), (0, 0)])
    def table(got, expected):
        tried.append(got)
        if got == 0:
            raise ZeroDivisionError("none left")
        assert got == expected

    with pytest.raises(pytest.fail.Exception) as failed:
        table()
    assert tried == [1, "alpha", 2, "gamma", 0]
    text = str(failed.value)
    assert text.startswith("3 of 5 cases fail:")
    assert all(part in text for part in ("'alpha', 'beta'", "'gamma', 'delta'", "0, 0", "ZeroDivisionError: none left"))


def test_what_should_have_been_raised_counts_as_a_failure():
    @every("text", ["7", "x"])
    def table(text):
        with pytest.raises(ValueError, match="invalid"):
            int(text)

    with pytest.raises(pytest.fail.Exception, match="1 of 2 cases fail:\n    '7'"):
        table()


def test_a_skip_is_a_skip():
    @every("text", ["x"])
    def table(text):
        pytest.skip("not here")

    with pytest.raises(pytest.skip.Exception):
        table()


def test_mistakes_in_a_table_are_found():
    with pytest.raises(AssertionError, match="without cases"):
        every("text", [])
    with pytest.raises(AssertionError, match="does not take"):
        every("txt", ["x"])(lambda text: None)


@every("number", [1, 2])
def test_fixtures_still_work(tmp_path, number):
    (tmp_path / str(number)).touch()
    assert len(list(tmp_path.iterdir())) == number
