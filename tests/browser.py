"""A page as a browser shows it: opened in a frame of a given width, driven by a script, and what it says of itself."""

import html
import json
import re
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# What the page's own console has to say, on the browser's standard error.
CONSOLE = re.compile(r"CONSOLE[:(]\d+\)?\] (.*)")


def browser():
    """The first that is there, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def opened(page, script, folder, *, width, dark=False):
    """Open a page that wide, run a script with `doc` and `win` being its own; return its result and what was logged."""
    # In a frame: a window is never narrower than 500 pixels.
    driver = f"""
    const frame = document.querySelector("iframe");
    const run = () => {{
      const doc = frame.contentDocument, win = frame.contentWindow;
      const said = (() => {{ {script} }})();
      const pre = document.createElement("pre");
      pre.id = "said";
      pre.textContent = JSON.stringify(said);
      document.body.append(pre);
    }};
    frame.addEventListener("load", run);
    frame.srcdoc = {json.dumps(page).replace("<", chr(92) + "u003c")};
    """
    file = folder / "page.html"
    file.write_text(
        f'<!DOCTYPE html><html><body><iframe width="{width}" height="900"></iframe>'
        f"<script>{driver}</script></body></html>"
    )
    words = [
        browser(), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--log-level=0",
        "--no-first-run", f"--user-data-dir={folder / 'profile'}", "--window-size=1600,1000",
        *(["--blink-settings=preferredColorScheme=0"] if dark else []), "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    said = re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.DOTALL)
    assert said, done.stderr[-2000:]
    return json.loads(html.unescape(said[1])), CONSOLE.findall(done.stderr)
