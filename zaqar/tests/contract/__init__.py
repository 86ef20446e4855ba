# SPDX-License-Identifier: Apache-2.0
"""The contract of ``zaqar.storage``, as tests any driver can run.

A driver that lives elsewhere joins with a module of its own, say
``my_driver/harness.py``::

    from zaqar.tests.contract import harnesses

    class MyHarness(harnesses.Harness):
        name = 'mine'
        driver = MY_DRIVER
        features = frozenset({harnesses.Feature.ENDPOINT})
        ...

    harnesses.register(MyHarness)

and runs the suite of the installed package over it::

    pytest -p my_driver.harness --pyargs zaqar.tests.contract -k mine

A harness is a name, a way to open clean stores on a *real* server, and the
features it declares. A test that needs a feature which is not declared is
skipped, and says which; no test is ever overridden. All else a driver must
pass as it stands.

Time is an argument of every call, so tests move it by hand: one millisecond
short of an edge, then at it. It starts at the true time and only goes forward
by itself, since servers may tidy up by their own clocks.
"""
