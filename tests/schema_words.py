"""Every key of every schema that is read, and the words that each is tried with: what tests/test_schemas.py walks over.

``python tests/schema_words.py [NAME [PART/PARTS]]`` tries them all and prints how many were read and refused.
"""

from __future__ import annotations

import configparser
import json
import sys
import tempfile
import tomllib
import zlib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import answers
import fuzz_files
import fuzz_models
import numpy as np
from fuzz_tally import Tally

import eie
from eie.compiler import program_file as programs
from eie.compression.recipe import load_recipe
from eie.formats import hashed
from eie.formats.safetensors import safetensors_bytes
from eie.importers import stored
from eie.importers.shapes import read_table
from eie.machines import reports, scalesim_config
from eie.sweeps.journal import HEADER, line_of

# What JSON, TOML, YAML and an INI file each take for a number, a word or a list, or refuse.
WORDS = {
    "null": "null",
    "not a number": "NaN",
    "not a number in TOML": "nan",
    "infinity": "Infinity",
    "infinity in TOML": "inf",
    "below infinity": "-inf",
    "a float beyond any": "1e400",
    "a large float": "1e308",
    "a small float": "5e-324",
    "minus one": "-1",
    "zero": "0",
    "minus zero": "-0.0",
    "half": "0.5",
    "31 bits and one": "2147483648",
    "63 bits and one": "9223372036854775808",
    "400 digits": "1" + "0" * 400,
    "5000 digits": "9" * 5000,
    "true": "true",
    "no text": '""',
    "a text": '"x"',
    "an interpolation": '"%(foo)s"',
    "an escape": '"\\u001b[2J"',
    "half a letter": '"\\ud800"',
    "a number as text": '"1e400"',
    "an empty list": "[]",
    "an empty table": "{}",
    "a list of null": "[null]",
    "lists in lists": "[[[[[[]]]]]]",
    "2000 lists": "[" * 2000 + "]" * 2000,
    "a table": '{"a": 1}',
}
HOLE = "@@hole@@"
# Of a list its first elements: the others are read by the same rule.
FIRST = 2


@dataclass(frozen=True, kw_only=True)
class Schema:
    """A good document as plain values, how it is written, and what reads it and does with it what users do."""

    name: str
    suffix: str
    tree: dict
    write: object
    read: object

    def cases(self):
        """Yield what is changed and how, and the text: every word in every place, every key left out or renamed."""
        for place in places(self.tree):
            holed = put(self.tree, place, HOLE)
            text = self.write(holed)
            assert json.dumps(HOLE) in text or HOLE in text, (self.name, place)
            for word, token in WORDS.items():
                yield f"{dotted(place)} = {word}", text.replace(json.dumps(HOLE), token).replace(HOLE, token)
        for place in places(self.tree, tables=True):
            yield f"without {dotted(place)}", self.write(put(self.tree, place, None, drop=True))
            yield f"{dotted(place)} renamed", self.write(put(self.tree, place, None, rename="\x1b[2Jnew"))


def dotted(place):
    return ".".join(map(str, place))


def places(value, at=(), *, tables=False):
    """Yield the way to every value below ``value``; with ``tables`` only to those that have a key."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:FIRST]) if isinstance(value, list) else ()
    for key, inner in items:
        if isinstance(value, dict) or not tables:
            yield (*at, key)
        yield from places(inner, (*at, key), tables=tables)


def put(value, place, new, *, drop=False, rename=None):
    """Return a copy with another value at a place."""
    if not place:
        return new
    first, *rest = place
    if isinstance(value, list):
        return [
            put(inner, rest, new, drop=drop, rename=rename) if i == first else inner for i, inner in enumerate(value)
        ]
    out = {}
    for key, inner in value.items():
        if key != first:
            out[key] = inner
        elif rest:
            out[key] = put(inner, rest, new, drop=drop, rename=rename)
        elif rename is not None:
            out[rename] = inner
        elif not drop:
            out[key] = new
    return out


def as_json(tree):
    return json.dumps(tree)


def inline(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {inline(inner)}" for key, inner in value.items()) + "}"
    return "[" + ", ".join(map(inline, value)) + "]" if isinstance(value, list) else json.dumps(value)


def as_toml(tree):
    # TOML has no null.
    return "\n".join(f"{json.dumps(key)} = {inline(value)}" for key, value in tree.items())


def as_ini(tree):
    lines = []
    for section, values in tree.items():
        lines.append(f"[{section}]")
        lines += [f"{key}: {value}" for key, value in values.items()] if isinstance(values, dict) else [str(values)]
    return "\n".join(lines)


def journal_bytes(text):
    """One entry in its line, with the sum of whatever text it is."""
    line = f'{{"crc32": "{zlib.crc32(text.encode(errors="surrogatepass")):08x}", "entry": {text}}}\n'
    return line_of(HEADER) + line.encode(errors="surrogatepass")


def result_read(path):
    document = eie.read_answer(path)
    shown(document)
    reports.read(path)
    network = answers.network()
    eie.compare(answers.result(), [str(path)], network=network)
    shown(eie.diff(path, answers.result()))


def shown(answer):
    str(answer), repr(answer), answer.records(), answer.to_json(), answer.to_csv(), answer.to_html()


def sweep_read(path):
    shown(eie.read_answer(path))


def spec_read(path):
    spec = eie.load_spec(path)
    str(spec)
    # Small enough to run whatever it says; others would only take long.
    if spec.n_pe <= 64 and spec.act_queue_depth <= 64:
        result = eie.simulate(layer(), np.ones(6), spec=spec)
        shown(result)


def layer():
    return eie.Layer.from_weights("a", np.ones((8, 6)) * np.arange(6))


def recipe_read(path):
    recipe = load_recipe(path)
    str(recipe)
    if all(getattr(step, "epochs", 0) in (0, None) for step in recipe.step):
        eie.compress(answers.network(), recipe)


def journal_read(path):
    # Entries as text, since the sum is of the text.
    path.write_bytes(journal_bytes(path.read_bytes().decode(errors="surrogatepass")))
    fuzz_files.journal(path)


def table_read(path):
    read_table(path).graph()


def header_read(kind):
    """Read a container whose header is the text in ``path``, signed anew where it is JSON at all."""

    def read(path):
        text = path.read_bytes().decode(errors="surrogatepass")
        try:
            header = json.loads(text)
        except (ValueError, RecursionError):
            header = None
        target = path.with_suffix(kind[0])
        kind[1](target, text, header)
        kind[2](target)

    return read


def signed_program(target, text, header):
    arrays, _ = programs_pack()
    if isinstance(header, dict):
        header.pop("content_hash", None)
        text = json.dumps({**header, "content_hash": programs.digest(arrays, header)})
    target.write_bytes(safetensors_bytes(arrays, {"eie": text.encode(errors="replace").decode()}))


def programs_pack():
    return programs.pack(eie.compile(small_graph(), fuzz_files.SMALL))


def small_graph():
    from test_hostile_files import small_network

    return small_network()


def signed_network(target, text, header):
    arrays = stored_arrays()
    if isinstance(header, dict):
        header.pop("content_hash", None)
        header["content_hash"] = hashed._digest(arrays, stored.KEY, header)
        text = json.dumps(header)
    arrays = {**arrays, stored.KEY: np.frombuffer(text.encode(errors="replace"), np.uint8)}
    with target.open("wb") as file:
        np.savez(file, **arrays)


def stored_arrays():
    file = Path(tempfile.mkdtemp()) / "n.npz"
    stored.save(small_graph(), file)
    with np.load(file) as archive:
        return dict(archive)


def signed_trace(target, text, header):
    arrays = fuzz_files.network().trace.to_arrays()
    if isinstance(header, dict):
        header.pop("content_hash", None)
        header["content_hash"] = hashed._digest(arrays, "header", header)
        text = json.dumps(header)
    arrays = {**arrays, "header": np.frombuffer(text.encode(errors="replace"), np.uint8)}
    with target.open("wb") as file:
        np.savez(file, **arrays)


def trace_read(path):
    trace = eie.Trace.load(path)
    str(trace)
    eie.simulate(eie.compile(fuzz_files.network(), fuzz_files.SMALL), trace)


TRAINING = {"batch": 8, "learning_rate": 0.1, "centroid_rate": 0.1, "dropout": 0.5, "weight_decay": 0.1, "threads": 1}
STEP = {"key": "ab", "engine": "x", "step": "prune 1", "value": {"accuracy": 0.5}}


def answers_in_json():
    for name, answer in answers.answers().items():
        yield Schema(
            name=f"{name} in JSON",
            suffix=".json",
            tree=json.loads(answer.to_json()),
            write=as_json,
            read=result_read if name == "Result" else sweep_read,
        )


def files_in_toml():
    fields = type(eie.EIE_64PE).model_fields
    spec = {name: getattr(eie.EIE_64PE.replace(n_pe=4), name) for name in fields}
    recipe = {**answers.RECIPE, "index_bits": {"*": 4}, "training": TRAINING}
    read = {
        "spec": ({name: value for name, value in spec.items() if value is not None}, spec_read),
        "recipe": (recipe, recipe_read),
        "model": (tomllib.loads(fuzz_files.MODEL), fuzz_files.runs),
        "shapes of a .net file": (tomllib.loads(fuzz_models.SHAPES), table_read),
    }
    for name, (tree, reader) in read.items():
        yield Schema(name=f"{name} in TOML", suffix=".toml", tree=tree, write=as_toml, read=reader)


def journals():
    good = fuzz_files.build(Path(tempfile.mkdtemp()))
    lines = (good / "journal.jsonl").read_text().splitlines()
    for name, tree in (("a sweep", json.loads(lines[1])["entry"]), ("steps", STEP)):
        yield Schema(name=f"journal of {name}", suffix=".jsonl", tree=tree, write=as_json, read=journal_read)


def headers():
    trace = fuzz_files.network().trace.to_arrays()["header"]
    read = {
        "a program": (programs_pack()[1], ".safetensors", signed_program, fuzz_files.program_runs),
        "a network": (json.loads(stored_arrays()[stored.KEY].tobytes()), ".npz", signed_network, fuzz_files.runs),
        "a trace": (json.loads(trace.tobytes()), ".npz", signed_trace, trace_read),
    }
    for name, (tree, *how) in read.items():
        plain = json.loads(json.dumps(tree))
        yield Schema(name=f"header of {name}", suffix=".txt", tree=plain, write=as_json, read=header_read(how))


def configuration():
    parser = configparser.ConfigParser()
    parser.optionxform = str
    parser.read_string(fuzz_files.CFG)
    tree = {name: dict(parser[name]) for name in parser.sections()}
    yield Schema(name="SCALE-Sim's cfg", suffix=".cfg", tree=tree, write=as_ini, read=cfg_read)


def cfg_read(path):
    str(scalesim_config.read(path, 1000))


def schemas():
    """Return every schema by its name."""
    made = (*answers_in_json(), *files_in_toml(), *journals(), *headers(), *configuration())
    return {schema.name: schema for schema in made}


def attempt(schema, text, folder):
    """Read a document; an `eie.EieError` of printable text is the only exception allowed."""
    path = folder / f"it{schema.suffix}"
    path.write_bytes(text.encode(errors="surrogatepass"))
    try:
        schema.read(path)
    except eie.EieError as error:
        lines = str(error).split("\n")
        assert all(line.strip() and line.isprintable() for line in lines), lines
        return "refused"
    return "read"


def main(words):
    """Try what is asked for; return 1 where anything failed."""
    first, every = map(int, words[1].split("/")) if words[1:] else (0, 1)
    code = 0
    for name, schema in schemas().items():
        if words and name != words[0]:
            continue
        tally, folder = Tally(name), Path(tempfile.mkdtemp())
        for what, text in islice(schema.cases(), first, None, every):
            tally.case(what, lambda schema=schema, text=text, folder=folder: attempt(schema, text, folder))
        code |= tally.close()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
