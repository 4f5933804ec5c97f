import doctest
import math

import pytest

from fcn8s_ms.errors import InputError
from fcn8s_ms.formats import schema
from fcn8s_ms.formats.schema import (
    anything,
    array,
    choice,
    fields,
    mapping,
    number,
    optional,
    text,
    truth,
    whole_number,
)


@pytest.mark.parametrize(
    ("description", "value"),
    [
        (anything(), object()),
        (text(3), "äbc"),
        (truth(), False),
        (whole_number(0, 255), 255),
        (whole_number(1), 2**62),
        (number(), 1),
        (number(0, 1), 0.5),
        (choice(["a", 2]), 2),
        (optional(text()), None),
        (array(truth()), []),
        (array(whole_number(0), 2, 2), (1, 2)),
        (mapping(number()), {"any": 1.5}),
        (fields({"a": truth()}), {"a": True, "further": []}),
        (fields({}, {"b": truth()}), {}),
    ],
)
def test_accepts(description, value):
    schema.check(value, description, "file", "remedy")


@pytest.mark.parametrize(
    ("description", "value", "message"),
    [
        (text(3), "abcd", "its content is 'abcd'; need a text of at most 3 characters"),
        (text(), 3, "is 3; need a text"),
        (text(), "\ud800", "without lone surrogates"),
        (truth(), 1, "is 1; need true or false"),
        (whole_number(0, 255), 256, "a whole number from 0 to 255"),
        (whole_number(0, 255), True, "is True; need a whole number"),
        (whole_number(0, 255), 1.0, "is 1.0; need a whole number"),
        (whole_number(3), 2, "a whole number of at least 3"),
        (number(), math.nan, "is nan; need a finite number"),
        (number(), 10**400, "need a finite number"),
        (number(0, 1), 2, "a finite number from 0 to 1"),
        (number(0), -1, "a finite number from 0 on"),
        (number(), "1", "is '1'; need a finite number"),
        (choice(["a", 2]), "b", "is 'b'; need one of a, 2"),
        (choice([1]), True, "is True; need one of 1"),
        (optional(truth()), 0, "need true or false"),
        (array(truth()), "ab", "is 'ab'; need a list"),
        (array(truth(), 2, 2), [True], "has 1 items; need 2"),
        (array(truth(), 2, 4), [True], "has 1 items; need 2 to 4"),
        (array(array(whole_number(0, 9))), [[1], [2, 10]], r"\[1\]\[1\] is 10"),
        (mapping(truth()), [], r"is \[\]; need an object"),
        (mapping(truth()), {"a": 1}, "a is 1; need true or false"),
        (fields({"a": truth()}), {}, "its content lacks a"),
        (fields({"a": truth()}), None, "is None; need an object with named fields"),
        (fields({"a": fields({"b": truth()})}), {"a": {"b": 3}}, "a.b is 3; need true or false"),
        (fields({}, {"b": truth()}), {"b": 3}, "b is 3"),
        (fields({}, closed=True), {"c": 3}, "has c, unknown here"),
        (text(), "x" * 20_000, "'xxx.*…; need a text"),
    ],
)
def test_refuses_in_one_line(description, value, message):
    with pytest.raises(InputError, match=f"^file: .*{message}.*: remedy$") as caught:
        schema.check(value, description, "file", "remedy")
    assert "\n" not in str(caught.value)


def test_a_value_nested_too_deeply_has_a_name():
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InputError, match="is nested too deeply; need a text"):
        schema.check(value, text(), "file", "remedy")


def test_example_of_the_module():
    assert doctest.testmod(schema).failed == 0
