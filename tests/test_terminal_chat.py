"""`llmos chat` against a scripted server."""

from __future__ import annotations

import io

import pytest

from llmos_server.cli import main
from llmos_server.errors import LLMOSError
from llmos_server.terminal_chat import Chat, run_chat

ANSWER = "One two three four."


class Terminal(io.StringIO):
    """A stdin that is a person."""

    def isatty(self) -> bool:
        return True


def contents(body: dict) -> list[str]:
    return [message["content"] for message in body["messages"]]


def test_one_question_from_the_command_line(sse_server, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["chat", "Hello?", "--url", sse_server.url, "--system", "Be brief.", "--max-tokens", "9"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == ANSWER + "\n"
    (body,) = sse_server.bodies
    assert contents(body) == ["Be brief.", "Hello?"]
    assert (body["model"], body["stream"], body["max_tokens"]) == ("fake:1", True, 9)
    assert "temperature" not in body
    assert sse_server.paths == ["/v1/chat/completions"]


def test_one_question_from_a_pipe(sse_server, capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("First line\nsecond line\n"))
    run_chat(Chat(sse_server.url), None)
    assert capsys.readouterr().out == ANSWER + "\n"
    assert contents(sse_server.bodies[0]) == ["First line\nsecond line"]


def test_an_empty_pipe_is_told(monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(LLMOSError, match="no question"):
        run_chat(Chat("http://127.0.0.1:1/v1"), None)


def test_a_conversation_remembers_until_told_to_forget(sse_server, capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("one\n\ntwo\n/new\nthree\n/bye\nnever\n"))
    run_chat(Chat(sse_server.url, system="S"), None)
    assert [contents(body) for body in sse_server.bodies] == [
        ["S", "one"],
        ["S", "one", ANSWER, "two"],
        ["S", "three"],
    ]
    assert capsys.readouterr().out.count(ANSWER) == 3


def test_an_error_ends_no_conversation(sse_server, capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("one\ntwo\n"))
    sse_server.failures = 1
    run_chat(Chat(sse_server.url), None)
    captured = capsys.readouterr()
    assert "The queue is full." in captured.err
    assert contents(sse_server.bodies[1]) == ["two"]
    assert ANSWER in captured.out


def test_a_broken_answer_is_told(sse_server, capsys) -> None:
    sse_server.error = "The engine died."
    with pytest.raises(SystemExit) as ended:
        main(["chat", "Hello?", "--url", sse_server.url])
    assert ended.value.code == 1
    assert "The engine died." in capsys.readouterr().err


def test_no_server_is_told_with_the_remedy(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["chat", "Hello?", "--url", "http://127.0.0.1:1/v1"])
    assert ended.value.code == 1
    assert "llmos serve" in capsys.readouterr().err


def test_a_server_without_models_is_told(sse_server) -> None:
    sse_server.models = []
    with pytest.raises(LLMOSError, match="lists no model"):
        run_chat(Chat(sse_server.url), "Hello?")
