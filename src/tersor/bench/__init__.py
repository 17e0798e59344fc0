"""Measurements that anyone can repeat: `tersor bench lossless`.

`lossless.py` decides who is measured and when, `sample.py` on what; each coder runs in a process of its own
(`child.py` speaks with it, `worker.py` runs in it); `plot.py` draws. To add a coder to compare with: one module in
`peers/`, one line in `peers/__init__.py`.
"""
