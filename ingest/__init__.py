"""Bytes in, canonical Arrow records and rejections out.

This package parses hostile input. It holds no key, no catalogue, no clock, no network and no state between files:
what it needs to know of the moment or the source is handed in.
"""
