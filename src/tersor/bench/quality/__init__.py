"""Quality per byte: every quantizer of tersor and the real peers on one model, at equal bytes (`measure.py`).

Light to import: workers run in interpreters that lack tersor's dependencies.
"""
