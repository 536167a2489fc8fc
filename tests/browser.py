"""Pages as a browser shows them: opened in frames of given widths, driven by a script, and what they say."""

import html
import json
import re
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# What a page's console has to say, on the browser's standard error.
CONSOLE = re.compile(r"CONSOLE[:(]\d+\)?\] (.*)")
# In frames: a window is never narrower than 500 pixels. One after the other, since a script may take the focus.
DRIVER = """
const said = [];
const next = () => {
  if (said.length === pages.length) {
    const pre = document.createElement("pre");
    pre.id = "said";
    pre.textContent = JSON.stringify(said);
    document.body.replaceChildren(pre);
    return;
  }
  const [page, width, script] = pages[said.length];
  const frame = document.createElement("iframe");
  frame.width = width;
  frame.height = 900;
  frame.addEventListener("load", () => {
    said.push(new Function("doc", "win", script)(frame.contentDocument, frame.contentWindow));
    frame.remove();
    next();
  });
  frame.srcdoc = page;
  document.body.append(frame);
};
next();
"""


def browser():
    """The first that is there, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def opened(pages, folder, *, dark=False):
    """Open pages, each with its width and a script; return what the scripts return, and what was logged.

    A script is the body of a function of ``doc`` and ``win``, the page's own.
    """
    # No tag of a page may end the driver's own script.
    data = json.dumps(pages).replace("<", "\\u003c")
    file = folder / "page.html"
    file.write_text(f"<!DOCTYPE html><html><body><script>const pages = {data};{DRIVER}</script></body></html>")
    words = [
        browser(), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--log-level=0",
        "--no-first-run", f"--user-data-dir={folder / 'profile'}", "--window-size=1600,1000",
        *(["--blink-settings=preferredColorScheme=0"] if dark else []), "--virtual-time-budget=60000", "--dump-dom",
        file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    said = re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.DOTALL)
    assert said, done.stderr[-2000:]
    return json.loads(html.unescape(said[1])), CONSOLE.findall(done.stderr)
