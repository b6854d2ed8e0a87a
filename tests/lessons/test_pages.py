"""The pages in a browser: nothing goes wrong, nothing leaves, everything can be seen, heard and followed."""

import pytest
from browser import Browser

from lessons.tool import page
from lessons.tool.percent import find, load

PAGES = ["index", "readme", "sources", *(folder.name[:2] for folder in find())]
LOADED = """Promise.all([...document.querySelectorAll('audio')].map(a => a.readyState ? a.duration :
    new Promise(done => { a.onloadedmetadata = () => done(a.duration); a.onerror = () => done(-1); a.load(); })))"""


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.close()


def complaints(browser):
    """Console errors and exceptions, and every request for anything that is not in the page."""
    wrong = []
    for event in browser.events:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            wrong.append(parameters["entry"]["text"])
        if method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            wrong.append(parameters)
        if method == "Network.requestWillBeSent" and not parameters["request"]["url"].startswith("data:"):
            wrong.append(parameters["request"]["url"])
    return wrong


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_page(site, browser, name, width, scheme):
    path = site.page(name)
    browser.open(path, width, scheme)
    durations = browser.evaluate(LOADED)
    assert complaints(browser) == [path.as_uri()]
    assert all(seconds > 0 for seconds in durations)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0 && i.alt)")
    shown = browser.evaluate("[...document.querySelectorAll('math')].map(m => m.getBoundingClientRect().height)")
    assert all(height > 5 for height in shown)
    assert browser.evaluate("[...document.querySelectorAll('audio')].every(a => a.parentNode.querySelector('img'))")
    if name.isdecimal():
        text = load(find(name)[0])
        assert len(shown) >= sum(cell.text.count("$$") // 2 for cell in text.cells if cell.kind == "markdown")
        assert browser.evaluate("document.querySelectorAll('.contents a').length") >= 3
    dark = browser.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    links = browser.evaluate("[...document.links].map(a => a.getAttribute('href'))")
    places = browser.evaluate("[...document.querySelectorAll('[id]')].map(e => '#' + e.id)")
    lost = [link for link in links if link not in places and not (site.folder / link).exists()]
    assert [link for link in lost if not link.startswith("https://")] == []
    if name == "index":
        assert browser.evaluate("document.querySelectorAll('main li a').length") == len(find())


def test_the_browser_is_told_to_load_nothing(site, browser):
    """Were a page to ask for something from outside, the page's own policy would refuse it."""
    browser.open(site.page("01"))
    browser.evaluate("""new Promise(done => { const i = new Image(); i.onerror = done; i.onload = done;
        i.src = 'https://example.org/x.png'; }).then(() => 0)""")
    browser.evaluate("0")
    assert any("Content Security Policy" in str(complaint) for complaint in complaints(browser))


def test_no_line_ends_between_an_equation_and_the_marks_beside_it(browser, tmp_path):
    text = page.prose_html(page.markdown_renderer(), "a (".join(["b $x = 1$). "] * 40), [], "here")
    page.write(tmp_path / "page.html", "page", text)
    for width in range(300, 340, 8):
        browser.open(tmp_path / "page.html", width)
        apart = """[...document.querySelectorAll('math')].filter(m => { const range = document.createRange();
            range.selectNode(m.closest('.whole').lastChild);
            return range.getBoundingClientRect().left < m.getBoundingClientRect().left })"""
        assert browser.evaluate(f"{apart}.length") == 0
