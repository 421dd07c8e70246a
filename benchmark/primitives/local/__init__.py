"""Local evaluation: a classifier on stamped images, where only what the stamp changes is computed.

`boxes` is the arithmetic of regions, `program` a network as a list of layers, `layout` what each
layer has to compute for a stamp at one place, `trunk` the evaluation forward and backward.
"""
