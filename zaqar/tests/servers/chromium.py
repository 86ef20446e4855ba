# SPDX-License-Identifier: Apache-2.0
"""Chromium without a window, and its driver."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

from selenium import webdriver

from zaqar.tests.servers import process


@contextlib.contextmanager
def chromium(*arguments: str) -> Iterator[webdriver.Chrome]:
    """Run a browser.

    :param arguments: further ones of its command line
    """
    program = shutil.which('chromium')
    driver = shutil.which('chromedriver')
    if program is None or driver is None:
        process.missing('chromium with chromium-driver')
    options = webdriver.ChromeOptions()
    options.binary_location = program
    basic = ('--headless=new', '--no-sandbox', '--disable-gpu')
    for word in (*basic, *arguments):
        options.add_argument(word)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    os.environ.setdefault('no_proxy', '127.0.0.1')
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield chrome
    finally:
        chrome.quit()
