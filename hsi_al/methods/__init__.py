"""The methods that learn from labelled pixels: one package ("room") each, which declares a `METHOD`.

`registry.py` finds these packages; there is no other list of them.
"""
