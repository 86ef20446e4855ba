# SPDX-License-Identifier: Apache-2.0
"""Somebody who uses Horizon in a browser."""

from __future__ import annotations

from typing import Any

from selenium import webdriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from zaqar.tests.servers.keystone import User

#: Seconds for which something may take to appear.
PATIENCE = 60

# The last visible part of the page with this text, of those that match. In a
# page that still loads, a press may be missed, and fields may yet be emptied.
_FIND = """
const [selector, text] = arguments;
if (document.readyState !== 'complete') return null;
return [...document.querySelectorAll(selector)].filter((one) => (
  one.getClientRects().length > 0 && one.textContent.includes(text))).at(-1);
"""

_FIELD = """
const [name] = arguments;
if (document.readyState !== 'complete') return null;
return [...document.querySelectorAll(`[name="${name}"]`)].filter((one) => (
  one.getClientRects().length > 0)).at(-1);
"""


class Visitor:
    """Uses a Horizon.

    :ivar chrome: the browser
    """

    def __init__(self, chrome: webdriver.Chrome, url: str) -> None:
        self.chrome = chrome
        self._url = url

    def log_in(self, user: User) -> None:
        """Log in, after logging out."""
        self.chrome.delete_all_cookies()
        self.visit('/auth/login/')
        self.fills('username', user.name)
        self.fills('password', user.password)
        self.presses('Sign In', '#loginBtn')
        # Its first page is of another service, which is not there.
        self._wait("return !document.querySelector('#loginBtn')")

    def visit(self, path: str) -> None:
        """Go to a page."""
        self.chrome.get(self._url + path)

    def sees(self, text: str, selector: str = 'body') -> WebElement:
        """Wait until a part of the page shows a text; return it."""
        part = self._wait(_FIND, selector, text)
        assert isinstance(part, WebElement)
        return part

    def presses(self, text: str, selector: str = 'a, button') -> None:
        """Press what shows a text."""
        self.sees(text, selector)
        # The page may be redrawn between the two.
        self._wait(
            f'const part = (() => {{{_FIND}}})(); part?.click();'
            'return Boolean(part);',
            selector,
            text,
        )

    def fills(self, name: str, value: Any) -> None:
        """Fill a field of a form by its name."""
        field = self._wait(_FIELD, name)
        self.chrome.execute_script(
            'arguments[0].value = arguments[1]', field, str(value)
        )

    def acts(self, row: str, action: str) -> None:
        """Choose an action of the row that shows a text."""
        place = self.sees(row, 'tbody tr')
        script = (
            'const [row, text] = arguments;'
            'const all = [...row.querySelectorAll("a, button")];'
            'const part = all.find((one) => one.textContent.includes(text));'
            'part?.click(); return Boolean(part);'
        )
        assert self.chrome.execute_script(script, place, action), action

    def agrees(self, text: str = '') -> None:
        """Confirm what a dialog warns of."""
        self.sees(text, '.modal-dialog')
        self.presses(
            '', '.modal-dialog .btn-danger, .modal-dialog .btn-primary'
        )

    def submits(self) -> None:
        """Send the form of the dialog."""
        self.presses('', '.modal-dialog [type=submit]')

    def cells(self, row: str) -> list[str]:
        """Return the texts of the row that shows a text."""
        place = self.sees(row, 'tbody tr')
        script = (
            'return [...arguments[0].cells].map('
            '(one) => one.textContent.trim())'
        )
        return list(self.chrome.execute_script(script, place))

    def _wait(self, script: str, *arguments: Any) -> Any:
        wait = WebDriverWait(self.chrome, PATIENCE, poll_frequency=0.05)
        return wait.until(
            lambda chrome: chrome.execute_script(script, *arguments),
            f'{arguments} at {self.chrome.current_url}',
        )
