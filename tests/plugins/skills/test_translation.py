"""The skill "translation" over scripted models: one that does all right, and others that do what models do wrong."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from llmos_plugins.text.languages import find_language
from llmos_plugins.translation.skill import Translation
from llmos_plugins.translation.types import TranslationInput, TranslationOutput

from llmos_server import Outcome

Messages = list[tuple[str, str]]

GERMAN = {
    "Welcome to the guide": "Willkommen im Handbuch",
    "Hello <x1/>, you have <x2/> new messages.": "Hallo <x1/>, Sie haben <x2/> neue Nachrichten.",
    "Read <x3/>the manual<x4/> first.": "Lesen Sie zuerst <x3/>das Handbuch<x4/>.",
    "Save": "Speichern",
    "The server restarts the worker.": "Der Server startet den Arbeitsprozess neu.",
    "Turn the machine off.": "Schalten Sie die Maschine aus.",
    "It is raining.": "Es regnet.",
}
DOCUMENT = (
    "# Welcome to the guide\n\nHello {name}, you have %d new messages.\n\n"
    "- Read [the manual](http://a.org/m) first.\n- Save\n\n```sh\nSave\n```\n"
)
TRANSLATED = (
    "# Willkommen im Handbuch\n\nHallo {name}, Sie haben %d neue Nachrichten.\n\n"
    "- Lesen Sie zuerst [das Handbuch](http://a.org/m).\n- Speichern\n\n```sh\nSave\n```\n"
)


def asked(messages: Messages) -> list[str]:
    """The texts that a question is about."""
    head, _, body = messages[-1][1].partition("\n\n")
    texts: list[str] = json.loads(body) if "each of these texts" in head else [body]
    return texts


def reply(texts: list[str]) -> str:
    return json.dumps({"translation": texts[0]} if len(texts) == 1 else {"translations": texts})


def model(translate: Callable[[str], str]) -> Callable[[Messages], str]:
    return lambda messages: reply([translate(text) for text in asked(messages)])


perfect = model(lambda text: GERMAN.get(text, f"Übersetzt: {text}"))


@pytest.fixture
def ask(make_ask):
    return make_ask("translation", perfect)


def kinds(body: dict[str, Any]) -> list[str]:
    return [problem["kind"] for problem in body["details"]["problems"]]


class TestPerfectModel:
    async def test_a_document_keeps_its_form(self, ask):
        body = await ask(DOCUMENT, target="de")
        assert body["result"] == TRANSLATED
        details = body["details"]
        assert details["source"] == "en"
        assert 0.5 < details["source_probability"] <= 1
        assert details == details | {"target": "de", "num_parts": 1, "num_kept": 5, "problems": []}
        assert (body["skill"], body["version"]) == ("translation", Translation.version)
        assert body["model_digest"] == "sha256:" + "ab" * 32
        assert len(ask.requests) == 1

    async def test_the_model_never_sees_what_is_kept(self, ask):
        await ask(DOCUMENT, target="de")
        [messages] = ask.requests
        told = "\n".join(content for _, content in messages)
        assert "from English into German" in told
        assert not [kept for kept in ("{name}", "%d", "a.org", "```", "# ") if kept in told]

    async def test_a_stream_tells_progress_and_the_same_text(self, ask):
        whole = await ask(DOCUMENT, target="de")
        *events, last = await ask.stream(DOCUMENT, target="de")
        assert last["result"]["result"] == whole["result"]
        assert last["result"]["details"] == whole["details"]
        assert "".join(event["text"] for event in events if event["type"] == "text") == TRANSLATED
        assert any(event["type"] == "progress" for event in events)

    async def test_its_answers_are_held_to_their_form(self, ask):
        await ask(DOCUMENT, target="de")
        [request] = ask.api.generator.requests
        assert '"translations"' in request.sampling.grammar
        assert request.sampling.temperature == 0

    async def test_a_chat_takes_its_last_message(self, ask):
        answer = await ask.api.chat("It is raining.", model="skill:translation", metadata={"target": "German"})
        assert answer.json()["choices"][0]["message"]["content"] == "Es regnet."
        answer = await ask.api.chat("Es regnet heute den ganzen Tag.", model="skill:translation")
        assert answer.status_code == 200
        assert "into English" in ask.requests[-1][0][1]

    async def test_white_space_alone_needs_no_model(self, ask):
        assert (await ask(" \n\t{x}\n", target="de"))["result"] == " \n\t{x}\n"
        assert ask.requests == []


SENTENCE = re.compile(r"Sentence number (\d+) is about the weather in the town\.")


def weather(text: str) -> str:
    return SENTENCE.sub(r"Satz Nummer \1 handelt vom Wetter in der Stadt.", text)


class TestLongDocuments:
    SENTENCES = [f"Sentence number {number} is about the weather in the town." for number in range(200)]
    TEXT = "\n\n".join(" ".join(pieces) for pieces in zip(*[iter(SENTENCES)] * 5, strict=True))

    async def test_parts_fit_the_context_and_see_the_one_before(self, make_ask):
        ask = make_ask("translation", model(weather), max_model_len=4000)
        text = "\n".join(self.SENTENCES)
        body = await ask(text, target="de", source="en")
        assert body["result"] == weather(text)
        assert body["details"]["problems"] == []
        assert body["details"]["num_parts"] == len(ask.requests) > 5
        for before, messages in itertools.pairwise(ask.requests):
            assert [role for role, _ in messages] == ["system", "user", "assistant", "user"]
            assert asked(messages[:2])[-1] == asked(before)[-1], "not the end of the part before"
            assert weather(asked(before)[-1]) in messages[2][1]

    async def test_a_text_of_one_line_is_cut_at_sentences(self, make_ask):
        ask = make_ask("translation", model(weather))
        text = " ".join(self.SENTENCES)
        assert (await ask(text, target="de", source="en"))["result"] == weather(text)
        assert len(ask.requests) > 5

    async def test_progress_grows_to_the_end(self, make_ask):
        ask = make_ask("translation", model(weather))
        *events, last = await ask.stream(self.TEXT, target="de", source="en")
        done = [event["done"] for event in events if event["type"] == "progress"]
        assert done == sorted(done)
        assert len(done) > 5
        assert done[-1] == events[-1]["total"]
        texts = [event["text"] for event in events if event["type"] == "text"]
        assert len(texts) > 5
        assert "".join(texts) == last["result"]["result"] == weather(self.TEXT)

    async def test_a_context_too_short_is_told(self, make_ask):
        error = await make_ask("translation", perfect, max_model_len=400).error("It is raining.", target="de")
        assert (error["param"], "no room" in error["message"]) == ("model", True)
        glossary = {f"term {number}": "Wort" for number in range(200)}
        text = " ".join(glossary)
        error = await make_ask("translation", perfect, max_model_len=2000).error(text, target="de", glossary=glossary)
        assert error["param"] == "glossary"


ADVERSARIES: dict[str, Callable[[Messages], str]] = {
    "drops": model(lambda text: re.sub(r"<x\d+/>", "", text).upper()),
    "repeats marks": model(lambda text: text.upper() + re.sub(r"[^<x\d/>]", "", text)),
    "invents marks": model(lambda text: f"{text.upper()} <x99/>"),
    "invents placeholders": model(lambda text: f"{text.upper()} {{total}} <b>now</b>"),
    "swaps": model(lambda text: " ".join(reversed(text.split()))),
    "empty": model(lambda text: ""),
    "no letters": model(lambda text: ", ."),
    "another form": lambda messages: "Sure, I can help you with that!",
    "another number": lambda messages: '{"translations": ["eins"]}',
    "cut": lambda messages: '{"translation": "' + "und " * 3000,
    "chatter": model(lambda text: f'Sure! Here is the translation: "{text.upper()}"'),
    "lines": model(lambda text: f"{text.upper()}\n\nNote: I kept the marks."),
    "echo": model(lambda text: text),
    "nothing": lambda messages: "",
}
KEPT = ["{name}", "%d", "%s", "[", "](http://a.org/m)", "<b>", "</b>", "`make`", "&nbsp;"]
HARD_TEXT = (
    "Hello {name}, you have %d new messages of %s.\n\nRead [the manual](http://a.org/m) and <b>then</b> run "
    "`make`&nbsp;twice, please do it now."
)


class TestAdversaries:
    @pytest.mark.parametrize("name", ADVERSARIES)
    async def test_nothing_is_lost_and_nothing_silent(self, make_ask, name):
        ask = make_ask("translation", ADVERSARIES[name])
        body = await ask(HARD_TEXT, target="de", source="en")
        assert [kept for kept in KEPT if body["result"].count(kept) != HARD_TEXT.count(kept)] == []
        assert body["result"].count("\n\n") == 1
        assert "<x" not in body["result"]
        assert body["details"]["problems"], "the result tells nothing"
        assert len(ask.requests) <= 12
        positional = re.findall("%[ds]", body["result"])
        assert positional == ["%d", "%s"]

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("drops", {"lost", "in_pieces"}),
            ("invents marks", {"invented"}),
            ("swaps", {"order"}),
            ("empty", {"empty", "untranslated"}),
            ("another form", {"form", "untranslated"}),
            ("cut", {"form", "untranslated"}),
            ("chatter", {"chatter"}),
            ("lines", {"lines"}),
            ("echo", {"untranslated"}),
        ],
    )
    async def test_what_went_wrong_is_told(self, make_ask, name, told):
        body = await make_ask("translation", ADVERSARIES[name])(HARD_TEXT, target="de", source="en")
        assert told <= set(kinds(body))

    async def test_what_was_lost_is_named_as_in_the_source(self, make_ask):
        body = await make_ask("translation", ADVERSARIES["drops"])("Hello {name}!", target="de", source="en")
        lost, pieces = body["details"]["problems"]
        assert (lost["kind"], lost["items"], lost["source"]) == ("lost", ["{name}"], "Hello {name}!")
        assert "{name}" in lost["message"]
        assert pieces["kind"] == "in_pieces"
        assert body["result"] == "HELLO {name}!"

    async def test_words_about_the_translation_are_taken_off(self, make_ask):
        body = await make_ask("translation", ADVERSARIES["chatter"])("Turn it off, {name}.", target="de", source="en")
        assert body["result"] == "TURN IT OFF, {name}."

    async def test_streamed_equals_unstreamed(self, make_ask):
        for name in ("drops", "cut", "lines"):
            ask = make_ask("translation", ADVERSARIES[name])
            whole = await ask(HARD_TEXT, target="de", source="en")
            *events, last = await ask.stream(HARD_TEXT, target="de", source="en")
            assert last["result"]["result"] == whole["result"]
            assert "".join(event["text"] for event in events if event["type"] == "text") == whole["result"]


class TestRetries:
    async def test_a_wrong_text_alone_is_asked_again_with_what_was_wrong(self, make_ask):
        def forgetful(messages: Messages) -> str:
            told = "an earlier answer was wrong" in messages[-1][1]
            return reply([text.upper() if told else text.upper().replace("<X1/>", "") for text in asked(messages)])

        ask = make_ask("translation", forgetful)
        body = await ask("Hello {name}.\nSee you soon.", target="de", source="en")
        assert body["result"] == "HELLO {name}.\nSEE YOU SOON."
        assert body["details"]["problems"] == []
        first, second = ask.requests
        assert asked(first) == ["Hello <x1/>.", "See you soon."]
        assert asked(second) == ["Hello <x1/>."]
        assert "these marks are missing: <x1/>" in second[-1][1]

    async def test_an_answer_to_many_that_is_cut_is_asked_for_in_halves(self, make_ask):
        def short(messages: Messages) -> str:
            texts = asked(messages)
            return reply([text.upper() for text in texts]) if len(texts) <= 2 else '{"translations": ["ONE'

        ask = make_ask("translation", short)
        body = await ask("one\ntwo\nthree\nfour\nfive", target="de", source="en")
        assert body["result"] == "ONE\nTWO\nTHREE\nFOUR\nFIVE"
        assert [len(asked(messages)) for messages in ask.requests] == [5, 2, 3, 1, 2]

    @pytest.mark.parametrize("written", ["<x1>", "< x1 />", "<X1/>", "<x1 />"])
    async def test_marks_are_read_loosely(self, make_ask, written):
        ask = make_ask("translation", model(lambda text: text.upper().replace("<X1/>", written)))
        body = await ask("Hello {name}.", target="de", source="en")
        assert (body["result"], body["details"]["problems"]) == ("HELLO {name}.", [])

    async def test_spaces_within_a_pair_are_taken_off(self, make_ask):
        spaced = model(lambda text: text.replace("<x1/>", "<x1/> ").replace("<x2/>", " <x2/>"))
        body = await make_ask("translation", spaced)("See <b>here</b> now.", target="de", source="en")
        assert body["result"] == "See <b>here</b> now."


class TestWishes:
    async def test_a_glossary_is_told_and_checked(self, ask):
        glossary = {"worker": "Arbeitsprozess", "disk": "Platte"}
        body = await ask("The server restarts the worker.", target="de", glossary=glossary)
        assert body["details"]["problems"] == []
        system = ask.requests[0][0][1]
        assert "worker = Arbeitsprozess" in system
        assert "disk" not in system, "a term that isn't in the text"
        body = await ask("The server restarts the worker.", target="de", glossary={"Worker": "Helfer"})
        [problem] = body["details"]["problems"]
        assert (problem["kind"], problem["items"]) == ("glossary", ["Worker"])

    async def test_a_term_that_is_its_own_translation_is_kept(self, make_ask):
        ask = make_ask("translation", model(str.upper))
        body = await ask("Start Acme Suite now.", target="de", source="en", glossary={"Acme Suite": "Acme Suite"})
        assert body["result"] == "START Acme Suite NOW."

    @pytest.mark.parametrize(
        ("target", "formality", "told"),
        [
            ("de", "formal", "formally (Sie)"),
            ("de-AT", "informal", "informally (du)"),
            ("en", "formal", "formally."),
            ("fr", None, None),
        ],
    )
    async def test_formality(self, ask, target, formality, told):
        await ask("Es regnet heute.", target=target, source="pl", formality=formality)
        system = ask.requests[0][0][1]
        assert told in system if told else "ormally" not in system

    async def test_plural_forms_are_kept_and_told(self, make_ask):
        text = "You have {n, plural, one {# day} other {# days}} left."
        body = await make_ask("translation", model(str.upper))(text, target="de", source="en")
        assert body["result"] == "YOU HAVE {n, plural, one {# day} other {# days}} LEFT."
        assert kinds(body) == ["untranslated"]


class TestLanguages:
    async def test_the_source_is_detected_or_told_to_be_unclear(self, ask):
        body = await ask("Das Wetter ist heute sehr schön, und morgen soll es regnen.", target="en")
        assert (body["details"]["source"], kinds(body)) == ("de", [])
        body = await ask("Ok Hm", target="en")
        assert (body["details"]["source"], "source_unclear" in kinds(body)) == (None, True)
        assert "from" not in ask.requests[-1][0][1].split(",")[0]
        body = await ask("Das Wetter ist heute sehr schön, und morgen soll es regnen.", target="de")
        assert kinds(body) == ["same_language"]

    async def test_one_that_was_given_is_not_detected(self, ask):
        body = await ask("Das Wetter ist schön.", target="German", source="nl")
        assert (body["details"]["source"], body["details"]["source_probability"]) == ("nl", None)
        assert "from Dutch into German" in ask.requests[0][0][1]

    @pytest.mark.parametrize(
        ("fields", "param", "told"),
        [
            ({"target": "Germn"}, "target", "german"),
            ({"target": "xx"}, "target", "no language"),
            ({"target": "de", "source": "Klingon"}, "source", "no language"),
            ({"target": "de", "source": "german"}, "source", "both German"),
            ({"target": "de", "formality": "rude"}, "formality", "rude"),
            ({"target": "de", "glossary": {"a": ""}}, "glossary", "length"),
            ({}, "target", "target"),
        ],
    )
    async def test_what_is_wrong_is_named(self, ask, fields, param, told):
        error = await ask.error("It is raining.", **fields)
        assert error["param"].partition(".")[0].partition("[")[0] == param
        assert told in error["message"]

    @pytest.mark.parametrize(
        ("text", "tag", "name"),
        [
            ("de", "de", "German"),
            ("pt_br", "pt-BR", "Portuguese (Brazil)"),
            ("zh-hant-tw", "zh-Hant-TW", "Chinese (traditional, Taiwan)"),
            ("français", "fr", "French"),
            ("Mandarin", "zh", "Chinese"),
            ("es-XX", "es-XX", "Spanish (XX)"),
        ],
    )
    def test_names_and_tags(self, text, tag, name):
        assert find_language(text) == (tag, name)


class TestMeasure:
    def outcomes(self, change: Callable[[str], str | None]) -> list[Outcome[TranslationInput, TranslationOutput]]:
        outcomes = []
        for case in Translation().cases():
            text = change(case.expected)
            output = None
            if text is not None:
                output = TranslationOutput(
                    result=text, source="en", source_probability=1.0, target="de", num_parts=1, num_kept=0, problems=[]
                )
            given = TranslationInput(**case.input)
            outcomes.append(Outcome(case=case, input=given, output=output))
        return outcomes

    def test_the_references_themselves_have_all_points(self):
        assert Translation().measure(self.outcomes(lambda text: text)) == pytest.approx(
            {"chrf": 100, "bleu": 100, "clean": 1}
        )

    def test_nothing_has_none(self):
        assert Translation().measure(self.outcomes(lambda text: None)) == {"chrf": 0, "bleu": 0, "clean": 0}

    def test_half_of_each_text_is_between(self):
        half = Translation().measure(self.outcomes(lambda text: text[: len(text) // 2]))
        assert 20 < half["chrf"] < 80
        assert half["bleu"] < half["chrf"]

    def test_there_are_cases_of_all_kinds(self):
        cases = Translation().cases()
        assert len(cases) >= 20
        assert {"glossary", "formality", "source"} <= {name for case in cases for name in case.input}
        assert len({case.input["target"] for case in cases}) >= 8
