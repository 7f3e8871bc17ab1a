"""The terminal interface of LLMOS: a Textual program that talks HTTP to a server, and nothing else.

    client.py       HTTP and SSE; errors in words. Nothing else in this package knows HTTP.
    clean.py        control characters are taken out of what the server sends, before it is decoded
    wire/           what the server sends, as msgspec structs that tolerate fields they don't know
    calls/          one function a request, a file a family: `await abort_request(client, id)`
    feeds.py        a stream that a screen follows while it is shown
    messages.py     what feeds tell screens
    connection.py   is the server there: asked, told, tried again with back-off
    app.py          the program: keys, palette, themes, which screen is shown
    screens/        a file or a folder a screen; base.py is what all share, catalogue.py lists them; view.py: a part of
                    a screen with keys of its own; record.py: all about one row
    widgets/        named by what the user sees; each has its own DEFAULT_CSS. rows.py: a list of any length
    words.py        numbers for people
    history.py, log_lines.py, skill_form.py   what screens know beside what they draw, without widgets

How a screen is added:

1. Structs of what it shows into wire/, requests for it into calls/.
2. A class in screens/ that derives from `screens.base.LLMOSScreen`: `compose_body()` yields its widgets, `feeds()` what
   it follows while it is shown, `await self.ask(call)` does one request and tells what went wrong, `came_online()` is
   called when it is shown with a server there (first fetches belong there; it comes again after a lost connection).
3. BINDINGS with id, description and tooltip each, and no key that app.py has. They are in the footer, in `?` and in the
   palette by that alone. `refresh_actions()` after news that change what check_action() answers.
4. What others may have written (names, failures, lines of the log) is never markup: `markup=False`, `Text`, `Content`.
5. An entry in screens/catalogue.py, data for the fake server in tests/tui (tui_data.py and its neighbours), a test and
   its snapshots.
"""
