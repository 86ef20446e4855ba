# SPDX-License-Identifier: Apache-2.0
"""Somebody who uses the console in Chromium."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

#: Seconds for which something may take to appear.
PATIENCE = 60

#: Presses of the key that goes to the next part of the page, at most.
_PARTS = 100


class User:
    """Somebody before the page.

    :param url: of the console
    :ivar downloads: folder of what the browser downloads
    """

    def __init__(
        self, chrome: webdriver.Chrome, url: str, downloads: pathlib.Path
    ) -> None:
        self.chrome = chrome
        self.url = url
        self.downloads = downloads
        chrome.execute_cdp_cmd(
            'Browser.setDownloadBehavior',
            {'behavior': 'allow', 'downloadPath': str(downloads)},
        )

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page."""
        return self.chrome.execute_script(script, *arguments)

    def until(self, reached: Callable[[], Any], wanted: str) -> Any:
        """Wait until something is so, and return it."""
        wait = WebDriverWait(self.chrome, PATIENCE, poll_frequency=0.05)
        return wait.until(lambda _: reached(), wanted)

    def texts(self, selector: str) -> list[str]:
        """Return the texts of parts of the page."""
        script = (
            'return [...document.querySelectorAll(arguments[0])]'
            '.map((one) => one.textContent)'
        )
        return list(self.run(script, selector))

    def sees(self, text: str, selector: str = 'body') -> None:
        """Wait until a part of the page shows a text."""
        self.until(
            lambda: any(text in one for one in self.texts(selector)),
            f'{text!r} in {selector}',
        )

    def opens(self) -> None:
        """Open the page anew."""
        self.chrome.get('about:blank')
        self.chrome.get(self.url)

    def visits(self, queue: str, view: str) -> None:
        """Go to a view of a queue, and wait until it is there."""
        self.goes(queue, view)
        script = (
            'const part = document.getElementById(arguments[0]);'
            "return part && part.textContent !== 'Reading …'"
            '&& document.title.startsWith(arguments[1])'
        )
        self.until(lambda: self.run(script, view, f'{queue}:'), view)

    def goes(self, queue: str, view: str) -> None:
        """Go to a view that may not come, drawn anew in any case."""
        self.run('window.location.hash = "#/"')
        self.sees('New queue')
        self.run(f'window.location.hash = "#/{queue}/{view}"')

    def lists(self) -> None:
        """Go to the list of queues."""
        self.run('window.location.hash = "#/"')
        self.sees('New queue')

    def presses(self, text: str, *, agrees: str = '') -> None:
        """Press a button by its text, and perhaps agree to what it says."""
        script = (
            'const part = [...document.querySelectorAll("main button")]'
            '.find((one) => one.textContent === arguments[0]);'
            'part?.click(); return Boolean(part)'
        )
        self.until(lambda: self.run(script, text), f'a button {text!r}')
        if agrees:
            self.agrees(agrees)

    def leads_on(self) -> bool:
        """Tell whether there is a page after the one that is shown."""
        return bool(
            self.run(
                'return [...document.querySelectorAll("main button")].find('
                '(one) => one.textContent === "Next" && !one.disabled)'
                ' !== undefined'
            )
        )

    def agrees(self, text: str) -> None:
        """Agree to a dialog that says this."""
        self.sees(text, 'dialog')
        self.chrome.find_element(By.ID, 'yes').click()

    def fills(self, label: str, text: str) -> None:
        """Fill a field by the beginning of its label."""
        script = (
            'document.querySelectorAll("details").forEach('
            '(one) => { one.open = true; });'
            'const label = [...document.querySelectorAll("label")].find('
            '(one) => one.textContent.startsWith(arguments[0])'
            ' && !one.closest("[hidden]"));'
            'const input = label?.querySelector("input, select, textarea");'
            'if (!input) return false;'
            'input.value = arguments[1];'
            'input.dispatchEvent(new Event("change", {bubbles: true}));'
            'return true'
        )
        self.until(lambda: self.run(script, label, text), f'a field {label!r}')

    def signs_in(self, **fields: str) -> None:
        """Fill the dialog, blanks in labels as underscores, and agree."""
        self.sees('Sign in', 'dialog')
        for label, text in fields.items():
            self.fills(label.replace('_', ' '), text)
        self.chrome.find_element(By.ID, 'yes').click()

    def types(self, *keys: str) -> None:
        """Type on whatever has the focus."""
        # Not by the element, which a redrawn list replaces.
        ActionChains(self.chrome).send_keys(*keys).perform()

    def tabs_to(self, text: str) -> None:
        """Press Tab until a part whose text begins so has a visible focus."""
        script = (
            'const one = document.activeElement;'
            'const label = one.closest("label");'
            'const shows = getComputedStyle(one).outlineStyle !== "none";'
            'return [(label ?? one).textContent, shows]'
        )
        for _ in range(_PARTS):
            self.types(Keys.TAB)
            shown, is_visible = self.run(script)
            if shown.startswith(text):
                assert is_visible, text
                return
        raise AssertionError(f'No key leads to {text!r}')

    def downloaded(self, name: str) -> bytes:
        """Return a file that the page lets one download, once it is there."""
        file = self.downloads / name
        self.until(file.exists, name)
        return file.read_bytes()

    def complaints(self) -> list[str]:
        """Return what the browser refused for the sake of its policy."""
        said = [one['message'] for one in self.chrome.get_log('browser')]
        return [one for one in said if 'Security Policy' in one]
