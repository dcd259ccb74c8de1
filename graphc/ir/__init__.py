"""Floor 1: tensor types, nodes, graphs, their text form, verifier and rewriting.

Knows no particular op.
"""
