"""Where nothing fits: what was left untried is said, and whether more could find something."""

from __future__ import annotations

from dataclasses import replace

import jsonschema
import pytest

from edgepack.cli import searching
from edgepack.report import notebook
from edgepack.searching import asking, history
from edgepack.searching.document import schema
from edgepack.searching.untried import untried
from edgepack.searching.values import Choice
from tests import builders_search
from tests.unit.test_search_stages import FLAT, SPACE, result
from tests.unit.test_search_study import request

NEVER = {"quality_drop": 0.02, "bytes": 100.0}
SOURCE = [("source", 0, Choice(scheme=scheme)) for scheme in ("float", "int8")]
SHOTS = [("shot", 0, Choice(percent=percent)) for percent in (20, 40, 60, 80)]
TRAINED = [("short", 0, Choice(percent=60, epochs=1))]
NEXT = [("shot", 1, Choice(percent=50))]


def said(places, space=SPACE, trials=60, **asked):
    made = [
        result(number, stage, bracket, vars(choice))
        for number, (stage, bracket, choice) in enumerate(places)
    ]
    return list(untried(made, replace(request(), trials=trials, **asked), space))


@pytest.mark.parametrize(
    ("places", "trials", "line"),
    [
        (SOURCE, 2, "no cut was tried: trials ran out; "),
        (SOURCE, 60, "no cut was tried: time was up; "),
        (SOURCE + SHOTS, 6, "4 cuts were not trained: trials ran out; "),
        (SOURCE + SHOTS + TRAINED + NEXT, 60, "1 cut was not trained: time was up; "),
    ],
)
def test_cuts_that_were_not_tried_or_trained_are_said(places, trials, line):
    assert said(places, trials=trials) == [f"{line}more --trials (or --time) may find one"]


def test_what_training_judged_is_not_untried():
    assert said(SOURCE + SHOTS + TRAINED) == []


def test_cuts_without_samples_to_train_on_need_data():
    [line] = said(SOURCE + SHOTS, space=replace(SPACE, epochs=(0,)))
    assert (
        line == "4 cuts were not trained: there are no samples to train on; give --data with some"
    )


def test_a_model_without_anything_to_cut_says_how_many_choices_were_tried():
    one = replace(FLAT, threads=(1,))
    told = "nothing can be cut in this model: "
    assert said(SOURCE, space=one) == [f"{told}all 2 choices were tried"]
    assert said(SOURCE, space=one, cut=False) == ["all 2 choices were tried"]
    [line] = said(SOURCE, space=FLAT, trials=2)
    assert line.startswith(f"{told}2 of 4 choices were tried: trials ran out; more --trials")


def test_it_is_in_the_answer_the_document_the_page_and_the_notebook(capsys):
    study = builders_search.study(NEVER, concluded=False)
    note = "4 cuts were not <trained>"
    conclusion = replace(builders_search.conclusion(NEVER, {}), notes=(note,))
    found = asking.Found(name=study.name, tried=study.tried(), conclusion=conclusion, written={})
    searching.show(found)
    assert note in capsys.readouterr().out.splitlines()
    document = found.document()
    assert document["notes"] == [note]
    jsonschema.validate(document, schema())
    study.conclude(document)
    for shown in (history.page(study), notebook.search(history.of(study))):
        assert "4 cuts were not &lt;trained&gt;" in shown
    del document["notes"]  # of a search that was concluded before there were any
    study.conclude(document)
    assert history.of(study).notes == ()
