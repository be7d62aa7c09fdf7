"""One rule, one file, one page: ``one_head.py`` is rule ``one-head``, explained in docs/reference/rules/one-head.md.

A rule is a function ``check(evidence)`` that yields its findings. It only reads evidence that was collected before.
"""
