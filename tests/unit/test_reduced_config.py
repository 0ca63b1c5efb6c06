"""Configurations of reduced runtimes: nothing is lost in a merge, what is written is read again, what is ambiguous is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ortolan.errors import OrtolanError
from ortolan.reduced.config import Config, Operator, lacking, merge, read
from reduced_configs import configs

CONV = 'ai.onnx;11;Conv{"inputs": {"0": ["float"]}}\n'
MANY = st.lists(configs(), max_size=4)


@given(MANY)
def test_every_input_fits_the_merge(several: list[Config]) -> None:
    whole = merge(several)
    assert [lacking(one, whole) for one in several] == [[]] * len(several)


@given(MANY)
def test_every_operator_and_type_of_every_input_is_in_the_merge(several: list[Config]) -> None:
    """The same without ``lacking``: its mistakes would hide those of ``merge``."""
    whole = merge(several)
    for one in several:
        assert whole.everything or one.operators <= whole.operators
        assert whole.everything or not one.everything
        assert whole.allowed is None or (one == Config() or (one.allowed is not None and one.allowed <= whole.allowed))
        for key, limit in whole.types.items():
            named = key in {(operator.domain, operator.name) for operator in one.operators}
            assert not named or all(limit[place] >= one.types[key][place] for place in limit)


@given(MANY)
def test_a_merge_adds_no_operator(several: list[Config]) -> None:
    whole = merge(several)
    assert whole.operators <= frozenset[Operator]().union(*(one.operators for one in several))


@given(MANY)
def test_without_types_everywhere_no_limit_is_lost_or_made(several: list[Config]) -> None:
    typed = [one for one in several if one.types]
    whole = merge(typed)
    for key, limit in whole.types.items():
        for place, names in limit.items():
            assert names == frozenset[str]().union(*(one.types[key][place] for one in typed if key in one.types))


@given(configs(), configs(), configs())
def test_the_order_of_merging_does_not_matter(one: Config, two: Config, three: Config) -> None:
    assert merge([one, two, three]) == merge([merge([one, two]), three]) == merge([one, merge([two, three])])
    assert merge([one, two]) == merge([two, one])


@given(configs())
def test_merging_with_itself_or_with_nothing_changes_nothing(one: Config) -> None:
    assert merge([one, one]) == merge([one]) == merge([one, Config()]) == one
    assert not lacking(one, one)


@given(configs())
def test_what_is_written_is_read_again(one: Config) -> None:
    assert read(one.text()) == one
    assert read(one.text()).text() == one.text()


@given(configs(), configs())
def test_what_fits_adds_nothing(one: Config, two: Config) -> None:
    """``lacking`` finds nothing only where the second holds all of the first: then the merge is the second."""
    if not lacking(one, two) and one.allowed is None and not one.everything and two.allowed is None:
        assert merge([one, two]) == two


@given(configs(whole=False), configs(whole=False))
def test_what_lacks_is_named(one: Config, two: Config) -> None:
    lacks = lacking(one, two)
    assert {lack.operator for lack in lacks if lack.kind != "types"} == one.operators - two.operators
    assert all(lack.operator in one.operators for lack in lacks)


def test_the_form_of_the_tools() -> None:
    text = (
        'ai.onnx;9;Cast{"inputs": {"0": ["float"]}, "outputs": {"0": ["int64_t"]}}\n'
        'ai.onnx;11;OneHot{"custom": [["float", "int64_t", "int64_t"], ["int64_t", "std::string", "int64_t"]]},Reshape\n'
        'com.microsoft;1;QLinearConv{"inputs": {"0": ["int8_t", "uint8_t"]}}\n'
    )
    found = read(text)
    assert found.text() == text
    assert found.types["ai.onnx", "Cast"] == {"inputs 0": {"float"}, "outputs 0": {"int64_t"}}
    assert found.types["ai.onnx", "OneHot"] == {"custom": {"float int64_t int64_t", "int64_t std::string int64_t"}}
    assert found.of(Operator("ai.onnx", 11, "Reshape")) is None


def test_comments_blanks_and_several_opsets_in_a_line() -> None:
    text = '# made by hand\n\n  ai.onnx; 11, 13 ; Conv {"inputs":{"0":["float"]}} , Relu\n'
    relu = "".join(f'ai.onnx;{opset};Conv{{"inputs": {{"0": ["float"]}}}},Relu\n' for opset in (11, 13))
    assert read(text).text() == relu


def test_types_are_one_set_for_all_opsets() -> None:
    """ONNX Runtime's reader keeps the types that it reads last: written apart, float would be lost."""
    other = 'ai.onnx;22;Conv{"inputs": {"0": ["MLFloat16"]}}\n'
    assert merge([read(CONV), read(other)]).text() == (
        'ai.onnx;11;Conv{"inputs": {"0": ["MLFloat16", "float"]}}\nai.onnx;22;Conv{"inputs": {"0": ["MLFloat16", "float"]}}\n'
    )


def test_an_operator_without_types_needs_all() -> None:
    assert merge([read(CONV), read("ai.onnx;11;Conv\n")]).text() == "ai.onnx;11;Conv\n"


def test_a_place_that_one_does_not_limit_takes_all_types() -> None:
    one, two = (
        read(f'ai.onnx;13;Slice{{"inputs": {types}}}\n') for types in ('{"0": ["float"], "1": ["int64_t"]}', '{"0": ["bool"]}')
    )
    assert merge([one, two]).types["ai.onnx", "Slice"] == {"inputs 0": {"float", "bool"}}


def test_types_for_all_operators_alike_give_way_to_types_of_each() -> None:
    alike = read("!globally_allowed_types;float,int8_t\nai.onnx;13;Relu\n")
    assert merge([alike, alike]).text() == "!globally_allowed_types;float,int8_t\nai.onnx;13;Relu\n"
    assert merge([alike, read(CONV)]).text() == f"{CONV}ai.onnx;13;Relu\n"


def test_a_configuration_of_everything() -> None:
    whole = read("!no_ops_specified_means_all_ops_are_required\n")
    assert whole.everything
    assert merge([whole, read(CONV)]) == whole
    assert not lacking(read(CONV), whole)
    assert [str(lack.operator) for lack in lacking(whole, read(CONV))] == ["*;0;*"]
    assert read(f"!no_ops_specified_means_all_ops_are_required\n{CONV}") == read(CONV), "it says what no operators mean"


@pytest.mark.parametrize(
    ("within", "kind", "told", "there"),
    [
        ("ai.onnx;13;Relu\n", "operator", "ai.onnx;11;Conv (inputs 0: float)", ""),
        ('ai.onnx;22;Conv{"inputs": {"0": ["float"]}}\n', "opset", "ai.onnx;11;Conv (inputs 0: float)", "opset 22"),
        (
            'ai.onnx;11;Conv{"inputs": {"0": ["MLFloat16"]}}\n',
            "types",
            "ai.onnx;11;Conv (inputs 0: float)",
            "inputs 0: MLFloat16",
        ),
        ('ai.onnx;11;Conv{"inputs": {"1": ["float"]}}\n', "types", "ai.onnx;11;Conv (all types)", "inputs 1: float"),
        (
            "!globally_allowed_types;double\nai.onnx;11;Conv\n",
            "types",
            "ai.onnx;11;Conv (inputs 0: float)",
            "for all operators: double",
        ),
    ],
)
def test_what_is_missing(within: str, kind: str, told: str, there: str) -> None:
    (lack,) = lacking(read(CONV), read(within))
    assert (lack.kind, str(lack), lack.there) == (kind, told, there)


def test_of_types_only_those_that_are_missing_are_named() -> None:
    needed = read('ai.onnx;11;Conv{"inputs": {"0": ["float", "double"]}}\n')
    assert [str(lack) for lack in lacking(needed, read(CONV))] == ["ai.onnx;11;Conv (inputs 0: double)"]


def test_all_types_do_not_fit_into_some() -> None:
    assert [str(lack) for lack in lacking(read("ai.onnx;11;Conv\n"), read(CONV))] == ["ai.onnx;11;Conv (all types)"]
    alike = read("!globally_allowed_types;float\nai.onnx;11;Conv\n")
    assert [str(lack) for lack in lacking(read("ai.onnx;11;Conv\n"), alike)] == ["ai.onnx;11;Conv (all types)"]
    assert not lacking(alike, read("!globally_allowed_types;float,bool\nai.onnx;11;Conv\n"))


@pytest.mark.parametrize(
    ("text", "what", "why"),
    [
        ("ai.onnx;Conv\n", "c:1: not a line of a configuration", "domain;opset;operators"),
        ("ai.onnx;eleven;Conv\n", "c:1: not a line of a configuration", ""),
        ("ai.onnx;-1;Conv\n", "c:1: not a line of a configuration", ""),
        (f"ai.onnx;{'9' * 5000};Conv\n", "c:1: not a line of a configuration", ""),
        (";11;Conv\n", "c:1: not a line of a configuration", ""),
        ("ai.onnx;11;\n", "c:1: not a line of a configuration", ""),
        ("# a comment\nai.onnx;11;Conv,,Relu\n", "c:2: an operator has no name", ""),
        ("ai.onnx;11;Conv,\n", "c:1: an operator has no name", ""),
        ("ai.onnx;11;Conv;Relu\n", "c:1: 'Conv;Relu' is not the name of an operator", ""),
        ('ai.onnx;11;Conv{"inputs": {"0": ["float"]}\n', "c:1: the types of Conv cannot be read", "Expecting"),
        ('ai.onnx;11;Conv{"inputs": {"0": ["float"]}}Relu\n', "c:1: the types of Conv cannot be read", "a comma should follow"),
        ("ai.onnx;11;Conv{}\n", "c:1: the types of Conv cannot be read", "names no types"),
        ('ai.onnx;11;Conv{"inputs": {}}\n', "c:1: the types of Conv cannot be read", "by number"),
        ('ai.onnx;11;Conv{"inputs": {"0": []}}\n', "c:1: the types of Conv cannot be read", "names no types"),
        ('ai.onnx;11;Conv{"inputs": {"0": ["a b"]}}\n', "c:1: the types of Conv cannot be read", "is not the name of a type"),
        ('ai.onnx;11;Conv{"inputs": {"0": [1]}}\n', "c:1: the types of Conv cannot be read", "1 is not the name of a type"),
        ('ai.onnx;11;Conv{"inputs": {"x": ["float"]}}\n', "c:1: the types of Conv cannot be read", "by number"),
        ('ai.onnx;11;Conv{"input": {"0": ["float"]}}\n', "c:1: the types of Conv cannot be read", "Did you mean inputs?"),
        (f"{CONV}ai.onnx;22;Conv\n", "c:2: ai.onnx Conv has all types here and inputs 0: float in line 1", "reads last"),
        (f'{CONV}ai.onnx;22;Conv{{"inputs": {{"0": ["bool"]}}}}\n', "c:2: ai.onnx Conv has inputs 0: bool here", "reads last"),
        (f"!globally_allowed_types;float\n{CONV}", "c: a configuration has both kinds of types", "each operator"),
        ("!globally_allowed_types;\n", "c:1: !globally_allowed_types; names no types", ""),
        ("!globally_allowed_types;bool\n!globally_allowed_types;float\n", "c:2: a second line !globally_allowed_types;", ""),
    ],
)
def test_what_is_no_configuration_is_refused(text: str, what: str, why: str) -> None:
    with pytest.raises(OrtolanError) as caught:
        read(text, "c")
    assert str(caught.value).startswith(what)
    assert why in caught.value.why


@given(st.text(alphabet='a1;,{}[]":!# \n', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = read(text)
    except OrtolanError:
        return
    assert read(found.text()) == found
