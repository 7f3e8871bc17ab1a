"""The skill "summarization" over scripted models: one that does all right, and others that do what models do wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from llmos_plugins.summarization.rouge import rouge_l, rouge_n
from llmos_plugins.summarization.skill import Summarization
from llmos_plugins.summarization.types import SummarizationInput, SummarizationOutput
from llmos_plugins.text.words import count_words

from llmos_server import Outcome

Messages = list[tuple[str, str]]

TEXT = (
    "The mill on the river was built in 1820. It ground corn for the whole valley until 1954. “The wheel never "
    "stopped,” said the last miller, Jo Brandt, at the opening of the museum. Visitors see the wheel turn on Sundays."
)
GOOD = "The mill of 1820 ground corn until 1954 and is a museum now. “The wheel never stopped,” its last miller said."


def asked(messages: Messages) -> str:
    """The text that a question is about."""
    return messages[-1][1].partition(":\n\n")[2]


def always(answer: str) -> Callable[[Messages], str]:
    return lambda messages: answer


def kinds(body: dict[str, Any]) -> list[str]:
    return [problem["kind"] for problem in body["details"]["problems"]]


@pytest.fixture
def ask(make_ask):
    return make_ask("summarization", always(GOOD))


class TestPerfectModel:
    async def test_a_short_text_is_read_as_a_whole(self, ask):
        body = await ask(TEXT)
        assert body["result"] == GOOD
        assert body["details"] == {
            "num_words": count_words(GOOD),
            "language": "en",
            "num_parts": 1,
            "num_levels": 0,
            "quotes": [{"text": "The wheel never stopped,", "is_verbatim": True}],
            "problems": [],
        }
        assert (body["skill"], body["version"]) == ("summarization", Summarization.version)
        assert body["model_digest"] == "sha256:" + "ab" * 32
        [messages] = ask.requests
        assert asked(messages) == TEXT

    async def test_a_stream_has_the_same_result(self, ask):
        whole = await ask(TEXT)
        *events, last = await ask.stream(TEXT)
        assert (last["result"]["result"], last["result"]["details"]) == (whole["result"], whole["details"])
        assert {event["type"] for event in events} == {"progress"}

    async def test_a_chat_takes_its_last_message(self, ask):
        answer = await ask.api.chat(TEXT, model="skill:summarization", metadata={"length": "short"})
        assert answer.json()["choices"][0]["message"]["content"] == GOOD
        assert "at most 50 words" in ask.requests[-1][0][1]

    @pytest.mark.parametrize(
        ("fields", "told"),
        [
            ({}, "at most 120 words"),
            ({"length": "long"}, "at most 300 words"),
            ({"max_words": 33}, "at most 33 words"),
            ({"style": "headline"}, "one headline of at most 15 words"),
            ({"focus": "the wheel"}, "about this: the wheel"),
            ({"language": "de"}, "Write in German."),
            ({}, "Write in English."),
        ],
    )
    async def test_wishes_are_told(self, ask, fields, told):
        await ask(TEXT, **fields)
        assert told in ask.requests[0][0][1]

    async def test_bullets_are_asked_for_as_json(self, make_ask):
        ask = make_ask("summarization", always(json.dumps({"points": ["built  in 1820", "1. a museum\nnow"]})))
        assert (await ask(TEXT, style="bullets", max_words=20))["result"] == "- built in 1820\n- a museum now"
        [request] = ask.api.generator.requests
        assert '"points"' in request.sampling.grammar
        assert '"maxItems": 2' in request.sampling.grammar or '"maxItems":2' in request.sampling.grammar

    async def test_paragraphs_stay_and_line_ends_dont(self, make_ask):
        ask = make_ask("summarization", always("One\nline.\n\n\nAnother  one."))
        assert (await ask(TEXT))["result"] == "One line.\n\nAnother one."

    async def test_a_headline_is_one_line_without_marks(self, make_ask):
        ask = make_ask("summarization", always('"Old mill opens as museum."\n\nIt was built in 1820.'))
        assert (await ask(TEXT, style="headline"))["result"] == "Old mill opens as museum."
        ask = make_ask("summarization", always("## Old mill opens as museum."))
        assert (await ask(TEXT, style="headline"))["result"] == "Old mill opens as museum"


def number_of(messages: Messages) -> str:
    """Notes of a part: the numbers that stand in it."""
    numbers = [int(n) for n in re.findall(r"number (\d+)", asked(messages))]
    return f"It tells of number {min(numbers)} and number {max(numbers)}."


class TestLongTexts:
    SENTENCES = [f"This sentence has the number {n} and a few words more." for n in range(400)]
    TEXT = "\n\n".join(" ".join(pieces) for pieces in zip(*[iter(SENTENCES)] * 8, strict=True))

    async def test_parts_are_noted_and_the_notes_summarized(self, make_ask):
        ask = make_ask("summarization", number_of, max_model_len=6000)
        body = await ask(self.TEXT, length="short")
        assert body["result"] == "It tells of number 0 and number 399."
        details = body["details"]
        assert (details["num_levels"], details["problems"]) == (1, [])
        *parts, last = ask.requests
        assert len(parts) == details["num_parts"] > 5
        assert "\n\n".join(sorted((asked(p).strip() for p in parts), key=self.TEXT.index)) == self.TEXT
        assert "part by part" in parts[0][0][1].split(".")[0]
        assert last[-1][1].startswith("Summarize the text of which these are notes")
        assert asked(last).count("It tells of number") == len(parts)

    async def test_notes_of_notes_where_those_are_too_long_still(self, make_ask):
        ask = make_ask("summarization", number_of, max_model_len=1500)
        body = await ask(self.TEXT * 2, max_words=20)
        assert body["details"]["num_levels"] >= 2
        assert body["result"] == "It tells of number 0 and number 399."

    async def test_a_model_that_writes_as_much_as_it_may_ends_too(self, make_ask):
        ask = make_ask("summarization", lambda messages: asked(messages) * 20, max_model_len=2500)
        body = await ask(self.TEXT, max_words=20)
        assert body["details"]["num_words"] <= 20
        assert body["details"]["num_levels"] >= 2

    async def test_progress_grows_to_the_end(self, make_ask):
        ask = make_ask("summarization", number_of, max_model_len=6000)
        *events, last = await ask.stream(self.TEXT, length="short")
        done = [event["done"] for event in events]
        assert done == sorted(done)
        assert done[-1] == events[-1]["total"] == last["result"]["details"]["num_parts"] + 1

    async def test_a_part_of_which_nothing_was_noted_is_told(self, make_ask):
        def lazy(messages: Messages) -> str:
            return "" if "number 0 " in asked(messages) else number_of(messages)

        body = await make_ask("summarization", lazy, max_model_len=6000)(self.TEXT, length="short")
        [problem] = body["details"]["problems"]
        assert problem["kind"] == "part_lost"
        assert "part 1" in problem["message"]
        assert problem["items"][0].startswith("This sentence has the number 0")
        assert body["result"].endswith("number 399.")

    async def test_quotations_are_checked_against_the_text_and_not_the_notes(self, make_ask):
        def inventive(messages: Messages) -> str:
            first = asked(messages).split("\n")[0]
            return "They said “we are rich” there." if "part by part" in messages[0][1] else first

        ask = make_ask("summarization", inventive, max_model_len=6000)
        body = await ask(self.TEXT, length="short")
        assert "“" not in body["result"]

    async def test_a_context_too_short_is_told(self, make_ask):
        error = await make_ask("summarization", number_of, max_model_len=980).error(self.TEXT, max_words=5)
        assert (error["param"], "too short" in error["message"]) == ("model", True)
        error = await make_ask("summarization", number_of, max_model_len=2500).error(self.TEXT, max_words=1000)
        assert error["param"] == "max_words"


class TestAdversaries:
    @pytest.mark.parametrize(
        ("answer", "result", "told"),
        [
            ("Sure! Here is a summary of the text: The mill is old.", "The mill is old.", ["chatter"]),
            ("**Summary:** The mill is old.", "The mill is old.", ["chatter"]),
            ("The mill is old. The mill is old. The mill is old.", "The mill is old.", ["repeated"]),
            ("The mill is old. " + "A word " * 6 + ".", "The mill is old.", ["shortened"]),
            ("word " * 20, " ".join(["word"] * 12) + " …", ["shortened"]),
            ("", "The mill on the river was built in 1820.", ["empty", "empty"]),
            (" … . ", "The mill on the river was built in 1820.", ["empty", "empty"]),
            ("It is old. “It will run forever,” said Jo.", "It is old.", ["invented_quote"]),
            ("“It will run forever,” said Jo.", "It will run forever, said Jo.", ["invented_quote"]),
            ("The mill is old and the whee" + "e" * 2000, None, ["cut"]),
        ],
    )
    async def test_what_went_wrong_is_set_right_and_told(self, make_ask, answer, result, told):
        ask = make_ask("summarization", always(answer))
        body = await ask(TEXT, max_words=12)
        assert kinds(body) == told
        assert body["details"]["num_words"] == count_words(body["result"]) <= 12
        assert result in (None, body["result"])
        assert len(ask.requests) == 2
        assert "an earlier answer was wrong" in ask.requests[1][-1][1]

    async def test_a_better_second_answer_is_taken(self, make_ask):
        def second(messages: Messages) -> str:
            return GOOD if "earlier answer" in messages[-1][1] else "“They are rich,” he said."

        body = await make_ask("summarization", second)(TEXT)
        assert (body["result"], body["details"]["problems"]) == (GOOD, [])

    async def test_an_invented_quotation_is_named(self, make_ask):
        answer = "“The wheel never stopped,” said Jo Brandt. “We are rich now,” he added."
        body = await make_ask("summarization", always(answer))(TEXT)
        assert body["result"] == "“The wheel never stopped,” said Jo Brandt."
        assert body["details"]["quotes"] == [
            {"text": "The wheel never stopped,", "is_verbatim": True},
            {"text": "We are rich now,", "is_verbatim": False},
        ]
        assert body["details"]["problems"][0]["items"] == ["We are rich now,"]

    @pytest.mark.parametrize(
        ("quote", "is_verbatim"),
        [
            ("“the wheel never stopped.”", True),
            ('"The wheel  never stopped"', True),
            ("«ground corn for the whole valley»", True),
            ("„It ground corn … until 1954“", True),
            ("“It ground corn [...] said the last miller”", True),
            ("“until 1954 … It ground corn”", False),
            ("“The wheel always stopped”", False),
            ("“museum of corn”", False),
        ],
    )
    async def test_what_counts_as_verbatim(self, make_ask, quote, is_verbatim):
        body = await make_ask("summarization", always(f"They tell that {quote} there."))(TEXT)
        assert [each["is_verbatim"] for each in body["details"]["quotes"]] == [is_verbatim]
        assert kinds(body) == ([] if is_verbatim else ["invented_quote"])
        assert (" ".join(quote.split()) in body["result"]) == is_verbatim

    @pytest.mark.parametrize(
        ("answer", "result", "told"),
        [
            ('{"points": ["old mill", "old mill", "now a museum"]}', "- old mill\n- now a museum", ["repeated"]),
            ('{"points": ["“we are rich”, he said", "now a museum"]}', "- now a museum", ["invented_quote"]),
            ('{"points": ["“we are rich”, he said"]}', "- we are rich, he said", ["invented_quote"]),
            ('{"points": ["one two three four", "five six seven eight nine"]}', "- one two three four", ["shortened"]),
            ("Sure: - a mill", "- The mill on the river was …", ["form", "empty", "empty"]),
            ('{"points": ["", " - "]}', "- The mill on the river was …", ["empty", "empty"]),
            ('{"points": ["' + "mill " * 500, "- The mill on the river was …", ["cut", "empty", "empty"]),
        ],
    )
    async def test_bullets(self, make_ask, answer, result, told):
        body = await make_ask("summarization", always(answer))(TEXT, style="bullets", max_words=6)
        assert (body["result"], kinds(body)) == (result, told)

    async def test_another_language_is_told(self, make_ask):
        german = "Die alte Mühle am Fluss wurde im Jahr 1820 gebaut und mahlte Korn für das ganze Tal."
        body = await make_ask("summarization", always(german))(TEXT)
        assert kinds(body) == ["language"]
        assert (await make_ask("summarization", always(german))(TEXT, language="de"))["details"]["problems"] == []


@pytest.mark.parametrize(
    ("text", "fields", "param"),
    [
        (" … \n", {}, "text"),
        (TEXT, {"length": "short", "max_words": 9}, "length"),
        (TEXT, {"length": "short", "style": "headline"}, "length"),
        (TEXT, {"max_words": 1}, "max_words"),
        (TEXT, {"style": "poem"}, "style"),
        (TEXT, {"language": "Klingon"}, "language"),
    ],
)
async def test_what_is_wrong_is_named(ask, text, fields, param):
    assert (await ask.error(text, **fields))["param"] == param


def test_words_are_counted_in_scripts_without_spaces_too():
    assert count_words("It's a well-known case: 3.5 kg") == 7
    assert count_words("今天天气好, OK") == 6
    assert count_words("… – !") == 0


class TestRouge:
    """Expected figures are rouge-score's 0.1.2, without stemming."""

    @pytest.mark.parametrize(
        ("text", "reference", "figures"),
        [
            ("The cat sat on the mat.", "The cat lay on the mat.", (0.833333, 0.6, 0.833333)),
            ("a b c d", "d c b a", (1.0, 0.0, 0.25)),
            ("the the the cat", "the cat the dog and the bird", (0.727273, 0.222222, 0.545455)),
            ("Police killed the gunman", "the gunman police killed", (1.0, 0.666667, 0.5)),
            ("one", "two three", (0.0, 0.0, 0.0)),
            (
                "It was 3.5 degrees, well-known and cold!",
                "It was well known that 3.5 is cold",
                (0.777778, 0.375, 0.555556),
            ),
        ],
    )
    def test_figures(self, text, reference, figures):
        found = (rouge_n(text, reference, 1), rouge_n(text, reference, 2), rouge_l(text, reference))
        assert found == pytest.approx(figures, abs=1e-6)


class TestMeasure:
    def outcomes(self, change: Callable[[str], str | None]) -> list[Outcome[SummarizationInput, SummarizationOutput]]:
        outcomes = []
        for case in Summarization().cases():
            text = change(case.expected)
            output = None
            if text is not None:
                output = SummarizationOutput(
                    result=text, num_words=1, language="en", num_parts=1, num_levels=0, quotes=[], problems=[]
                )
            given = SummarizationInput(**case.input)
            outcomes.append(Outcome(case=case, input=given, output=output))
        return outcomes

    def test_the_references_themselves_have_all_points(self):
        assert set(Summarization().measure(self.outcomes(lambda text: text)).values()) == {100.0, 1.0}

    def test_nothing_has_none(self):
        assert set(Summarization().measure(self.outcomes(lambda text: None)).values()) == {0}

    def test_half_of_each_text_is_between(self):
        half = Summarization().measure(self.outcomes(lambda text: text[: len(text) // 2]))
        assert 50 < half["rouge_l"] < 80

    def test_cases_are_of_all_kinds_and_within_their_bounds(self):
        cases = Summarization().cases()
        assert len(cases) >= 20
        assert {"focus", "language", "style", "length"} <= {name for case in cases for name in case.input}
        assert all(count_words(case.expected) <= 50 for case in cases)
