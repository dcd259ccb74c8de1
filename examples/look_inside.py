"""Follow a small network from Python to loops, printing the program at every stage."""

import graphc as gc
from graphc import nn
from graphc.loops.lower import lower
from graphc.loops.schedule import Machine
from graphc.passes.pipelines import LARGE


class LossOf(nn.Module):
    """The cross entropy of a network's scores."""

    def __init__(self, net):
        self.net = net

    def __call__(self, x, labels):
        return nn.softmax_cross_entropy(self.net(x), labels)


net = nn.Sequential(nn.Conv(4, 3), nn.Tanh(), nn.Flatten(), nn.Dense(10))

print("1. The graph: what the network computes, typed, with the line each node comes from\n")
graph = gc.trace(LossOf(net), "f32[N,1,8,8]", "i32[N]", name="loss")
print(graph)

print("\n2. Its gradient: nodes like any other\n")
gradient = gc.grad(graph, wrt=["net.0.weight"])
print(gradient)

print("\n3. Simplified: layers become primitives, rules fire until none does\n")
simple = gc.passes.Pipeline.parse("decompose,simplify")(gradient)
print(simple)
print(f"\n{len(gradient)} nodes became {len(simple)}")

print("\n4. Fused: what is computed together becomes one kernel\n")
print(gc.passes.Pipeline.parse("fuse")(simple))

print("\n5. The loops of the forward convolution, for AVX-512 and batches of 16 and more\n")
forward = LARGE(gc.trace(net, "f32[N,1,8,8]", name="net"))
kernels = [lower(node, Machine(64, 32)) for node in forward.nodes if node.op.name == "fused"]
print(next(kernel for kernel in kernels if "conv2d" in kernel.ops))
