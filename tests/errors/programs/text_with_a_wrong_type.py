import graphc as gc

gc.parse("graph net(%x: f32[N,3]) { %y = relu(%x) : f32[N,4] return %y }")
