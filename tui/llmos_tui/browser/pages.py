"""The two pages: where the key is asked for, and the terminal, which textual-serve's script draws."""

from __future__ import annotations

from html import escape

LOGIN = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>LLMOS</title>
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<style>
body { background: #12161b; color: #d7dde4; font: 16px/1.5 monospace }
body { display: grid; place-items: center; height: 90vh }
input, button { font: inherit; padding: .4em .8em; margin: .4em 0; width: 100%; box-sizing: border-box }
form { width: 26em; max-width: 90vw }
.told { color: #e06c75; min-height: 1.5em }
</style></head><body>
<form method="post" action="/login">
<h1>LLMOS</h1>
<label>The key that <code>llmos tui --serve</code> was started with
<input type="password" name="key" autocomplete="off" autofocus required></label>
<button>Open</button>
<p class="told" role="alert">TOLD</p>
</form></body></html>
"""

TERMINAL = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>LLMOS</title>
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/static/css/xterm.css">
<script src="/static/js/textual.js"></script>
<style>
@font-face {
  font-family: "Roboto Mono"; font-weight: 100 700;
  src: url("/static/fonts/RobotoMono-VariableFont_wght.ttf")
}
@font-face {
  font-family: "Roboto Mono"; font-style: italic; font-weight: 100 700;
  src: url("/static/fonts/RobotoMono-Italic-VariableFont_wght.ttf")
}
body { background: #12161b; color: #d7dde4; font: 16px/1.5 "Roboto Mono", monospace; margin: 0; overflow: hidden }
.xterm-viewport { background-color: #12161b !important }
.told { position: fixed; inset: 0; display: grid; place-items: center; z-index: 10; background: #12161b }
.told button { font: inherit; padding: .4em 2em; margin: 1em 0 }
body.-first-byte #opens, body:not(.-closed) #closed { display: none }
</style></head><body>
<div class="told" id="opens"><p>LLMOS is starting&hellip;</p></div>
<div class="told" id="closed" role="alert">
  <p>This terminal has ended; the server goes on.<br><button onclick="location.reload()">Open it again</button></p>
</div>
<div id="terminal" class="textual-terminal" data-session-websocket-url="SOCKET" data-font-size="16"></div>
<script>
// Cells are measured when the terminal opens: the font has to be there. Keys are its own from its first picture on.
const open_terminal = window.onload;
window.onload = async (event) => {
  await Promise.race([
    Promise.all(["16px", "bold 16px"].map((font) => document.fonts.load(`${font} "Roboto Mono"`))),
    new Promise((resolve) => setTimeout(resolve, 3000)),
  ]).catch(() => {});
  open_terminal(event);
};
const focus = () => {
  const is_closed = document.body.classList.contains("-closed");
  document.querySelector(is_closed ? "#closed button" : ".xterm-helper-textarea")?.focus();
};
new MutationObserver(focus).observe(document.body, { attributeFilter: ["class"] });
</script>
</body></html>
"""


def login_page(told: str = "") -> str:
    """told: why the last try failed."""
    return LOGIN.replace("TOLD", escape(told))


def terminal_page(socket_url: str) -> str:
    return TERMINAL.replace("SOCKET", escape(socket_url))
