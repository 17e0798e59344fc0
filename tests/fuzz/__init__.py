"""Fuzz targets of what Python parses: the archive's header, index and blocks, and every kind of source file.

`drive.py` runs them: coverage-guided by atheris where it is installed, else by structured mutations of the seeds.
cpp/fuzz holds the targets of the compiled decoders. `make fuzz` runs both.
"""
