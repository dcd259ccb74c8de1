import graphc as gc

gc.parse("""
graph net(%x: f32[N,3]) {
  %y = rellu(%x) : f32[N,3]
  return %y
}
""")
