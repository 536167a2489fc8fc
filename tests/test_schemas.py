"""Every key of every schema with other words in its place: one clean error, or a document that simulates and prints.

Here each key meets a few of the words, and each word many keys; ``python tests/schema_words.py`` tries them all.
"""

from itertools import islice

import pytest
import schema_words

from eie.formats.answer_schemas import CONTENTS

# No multiple of the words, so that each place is tried with another of them; results take most of the time.
STEP = {"Result in JSON": 151}
USUAL = 37


@pytest.fixture(scope="module")
def schemas():
    return schema_words.schemas()


NAMES = (
    *(f"{name} in JSON" for name in ("Result", "Energy", "Comparison", "SweepResult", "Difference", "Sensitivity")),
    *(f"{name} in JSON" for name in ("CompressionReport", "SizeReport", "GranularityStudy", "Search", "Explanation")),
    *("Area in JSON", "Timeline in JSON", "RtlCheck in JSON", "RtlResources in JSON"),
    *("Paper in JSON", "spec in TOML", "recipe in TOML", "model in TOML", "shapes of a .net file in TOML"),
    *("journal of a sweep", "journal of steps", "header of a program", "header of a network", "header of a trace"),
    "SCALE-Sim's cfg",
)


def test_every_schema_is_walked_over(schemas):
    assert tuple(sorted(schemas)) == tuple(sorted(NAMES))
    stated = {schema.tree.get("schema") for schema in schemas.values()}
    assert set(CONTENTS) <= stated


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_other_words_in_every_place(schemas, name, tmp_path):
    schema = schemas[name]
    assert schema_words.attempt(schema, schema.write(schema.tree), tmp_path) == "read"
    step = STEP.get(name, USUAL)
    for what, text in islice(schema.cases(), 0, None, step):
        assert schema_words.attempt(schema, text, tmp_path) in ("read", "refused"), what
