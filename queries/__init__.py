"""The closed list of reviewed questions, and the sealed-off engine that runs them on rows already in scope.

Arrow in, Arrow out: this package opens no file but its own `sql/`, holds no key and reaches no network.
"""
