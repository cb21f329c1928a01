"""What is written as JSON has no bare NaN, and nothing is written where it would."""

import json
import math

import pytest

from export.client.bulk_rows import write_lines
from export.client.strict_json import dumped, finite
from tfmodels.utils.files import read_json_object, write_json


def strictly(text):
    def refused(constant):
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refused)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_refused_with_its_place_and_nothing_is_written(value, tmp_path):
    path = tmp_path / "values.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match=rf"no NaN and no infinity. Received: rows.1.loss={value}, for .*values.json"):
        write_json(path, {"rows": [{"loss": 0.5}, {"loss": value}]})
    assert path.read_text() == "{}"
    assert [actual.name for actual in tmp_path.iterdir()] == ["values.json"]
    with pytest.raises(ValueError, match="no NaN and no infinity"):
        dumped({"loss": value})


def test_a_missing_figure_is_null_where_that_is_meant(tmp_path):
    values = {"loss": [0.5, math.nan], "best": math.inf, "name": "nan", "count": 3, "pair": (1.0, -math.inf)}
    expected = {"loss": [0.5, None], "best": None, "name": "nan", "count": 3, "pair": [1.0, None]}
    assert finite(values) == expected
    write_lines(tmp_path / "rows.jsonl", [values, {}])
    assert [strictly(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()] == [expected, {}]


def test_a_number_of_too_many_digits_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "config.json").write_text('{"d_model": ' + "9" * 5000 + "}")
    with pytest.raises(ValueError, match="must be a JSON file in UTF-8. Received: .*config.json .*4300 digits"):
        read_json_object(tmp_path / "config.json")
