# conftest.py - what the tests of one program alone may ask for.
# SPDX-License-Identifier: MIT

from fake_target import client, ending_target, target  # noqa: F401
