"""Try the built site in a browser: python docs/_browse.py build/docs [PICTURES]

Every page is opened on a desk and on a phone: nothing may fail, complain in the
console, ask another site, or be wider than the phone. Search, pictures, the button that
copies and dark colours are tried where they matter. Chromium or Chrome has to be there;
the site is served on loopback while this runs, and screenshots go to PICTURES.
"""

import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import sync_playwright

BROWSERS = "chromium", "chromium-browser", "google-chrome", "chrome"
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 1000}


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and prints nothing."""

    def log_message(self, *arguments):
        """Leave it out."""


def watched(page, address, wrong):
    """Let a page tell what goes wrong on it."""

    def asked(request):
        if not request.url.startswith((address, "data:", "blob:")):
            wrong.append(f"{page.url}: asks {request.url}")

    def answered(response):
        if response.status >= 400:
            wrong.append(f"{page.url}: {response.status} for {response.url}")

    def said(message):
        if message.type in ("error", "warning"):
            wrong.append(f"{page.url}: {message.text}")

    page.on("request", asked)
    page.on("response", answered)
    page.on("console", said)
    page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))
    return page


def open_all(page, address, names, wrong):
    """Open every page; none may be wider than the window."""
    for name in names:
        page.goto(address + name)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if wide > 1:
            wrong.append(f"{name}: {wide} pixels wider than {page.viewport_size}")


def try_search(page, address, wrong):
    """Search for alpha: the page about it has to be among what is found."""
    page.goto(address + "search.html?q=alpha")
    page.wait_for_selector("ul.search li a")
    page.wait_for_function("!document.title.includes('Searching')")
    found = page.eval_on_selector_all("ul.search li a", "all => all.map(a => a.href)")
    if not any("/alpha.html" in link for link in found):
        wrong.append(f"a search for alpha finds only {found[:5]}")


def try_pictures(page, address, names, wrong):
    """Every picture has to be there."""
    broken = "all => all.filter(i => !i.naturalWidth).map(i => i.src)"
    n_pictures = 0
    for name in names:
        page.goto(address + name)
        page.evaluate(
            "document.querySelectorAll('img').forEach(i => i.loading='eager')"
        )
        page.wait_for_function("[...document.images].every(i => i.complete)")
        n_pictures += page.locator("img").count()
        wrong += page.eval_on_selector_all("img", broken)
    if not n_pictures:
        wrong.append("there is no picture")


def try_to_copy(page, address, wrong):
    """The button that copies has to copy code, without prompts."""
    page.goto(address + "index.html")
    page.locator(".highlight").first.hover()
    page.locator("button.copybtn").first.click()
    copied = page.evaluate("navigator.clipboard.readText()")
    if "import" not in copied or ">>>" in copied:
        wrong.append(f"the button copies {copied!r}")


def try_the_dark(page, address, wrong):
    """Whoever asks for dark colours has to get them."""
    page.goto(address + "index.html")
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    channels = [int(part) for part in color.strip("rgba()").split(",")[:3]]
    if sum(channels) > 3 * 80:
        wrong.append(f"in dark mode the background is {color}")


def browse(folder, pictures):
    """Try the site, and return what is wrong with it."""
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address, wrong = f"http://127.0.0.1:{server.server_port}/", []
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.html"))
    names = [name for name in names if not name.startswith("_")]
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.exit(f"No browser is there; one of {', '.join(BROWSERS)} was expected.")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program)
        desk = browser.new_context(viewport=DESK)
        desk.grant_permissions(["clipboard-read", "clipboard-write"])
        phone = browser.new_context(viewport=PHONE, has_touch=True)
        dark = browser.new_context(viewport=DESK, color_scheme="dark")
        pages = [watched(c.new_page(), address, wrong) for c in (desk, phone, dark)]
        for page in pages[:2]:
            open_all(page, address, names, wrong)
        try_search(pages[0], address, wrong)
        try_pictures(pages[0], address, names, wrong)
        try_to_copy(pages[0], address, wrong)
        try_the_dark(pages[2], address, wrong)
        for page, name in zip(pages, ("desk", "phone", "dark"), strict=True):
            page.goto(address + "index.html")
            if pictures is not None:
                page.screenshot(path=str(pictures / f"{name}.png"))
        browser.close()
    server.shutdown()
    print(f"{len(names)} pages were opened.")
    return wrong


if __name__ == "__main__":
    folder, *pictures = map(Path, sys.argv[1:])
    wrong = browse(folder, *pictures or [None])
    sys.exit("\n".join(wrong) or None)
