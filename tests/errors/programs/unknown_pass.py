import graphc as gc

gc.passes.Pipeline.parse("simplify,optimise")
