"""Texts of policies for tests: the head that every one has, and one entry of the privacy statement."""

from __future__ import annotations

HEAD = 'zone = "Europe/Amsterdam"\nregion = "NL"\n'


def entry(name: str, term: str, classes: str, more: str = "") -> str:
    """One entry of that term, which covers `classes`; `more` is further lines of it."""
    return (
        f'[[entry]]\nid = "{name}"\nservice = {{ nl = "Dienst", en = "Service" }}\ndata = "Data"\nterm = {term}\n'
        f'controller = "Us"\nlegal_basis = "Basis"\nclasses = {classes}\n{more}'
    )
