"""The methods that learn from labelled pixels: one room each, which declares a `METHOD`.

`registry.py` finds the rooms; nothing else lists them.
"""
