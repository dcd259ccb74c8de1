// What kernels use whose loads are boxes and whose products are of shared memory (sm_90a).

struct alignas(64) TensorMap { u64 words[16]; };  // the driver fills it

// Barriers in shared memory: a phase is over when so many threads have passed and the bytes that
// are expected have arrived.
__device__ inline void begin_barrier(u64* barrier, unsigned passes) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(passes) : "memory");
}
__device__ inline void show_barriers() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ inline void expect_bytes(u64* barrier, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
}
// One of the threads of each warp passes for all of them.
__device__ inline void pass_barrier(u64* barrier) {
    if (threadIdx.x % 32 == 0)
        asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
__device__ inline void await_barrier(u64* barrier, unsigned phase) {
    unsigned over;
    do
        asm volatile("{.reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
                     : "=r"(over) : "r"(shared_address(barrier)), "r"(phase) : "memory");
    while (!over);
}
template <int threads> __device__ inline void await_each_other() {
    asm volatile("bar.sync 1, %0;" ::"n"(threads) : "memory");
}
template <int count> __device__ inline void leave_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count> __device__ inline void take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

// Whether a thread is the one of its warp: the compiler knows that it is alone, unlike by its number.
__device__ inline bool is_elected() {
    unsigned chosen;
    asm volatile("{.reg .pred p; elect.sync _|p, 0xffffffff; selp.u32 %0, 1, 0, p;}" : "=r"(chosen));
    return chosen;
}

// Boxes of memory: coordinates and taps are given innermost first.
__device__ inline void prefetch_map(const TensorMap* map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
#define COPY(shape, coordinates, taps, ...) \
    asm volatile("cp.async.bulk.tensor." shape ".mbarrier::complete_tx::bytes [%0], [%1, {" coordinates "}], [%2]" taps ";" \
                 ::"r"(shared_address(to)), "l"(map), "r"(shared_address(barrier)), __VA_ARGS__ : "memory")
#define TILE ".shared::cluster.global.tile"
#define WALK ".shared::cluster.global.im2col"
__device__ inline void copy_box(void* to, const TensorMap* map, u64* barrier, int a, int b) {
    COPY("2d" TILE, "%3, %4", "", "r"(a), "r"(b));
}
__device__ inline void copy_box(void* to, const TensorMap* map, u64* barrier, int a, int b, int c) {
    COPY("3d" TILE, "%3, %4, %5", "", "r"(a), "r"(b), "r"(c));
}
__device__ inline void copy_box(void* to, const TensorMap* map, u64* barrier, int a, int b, int c, int d) {
    COPY("4d" TILE, "%3, %4, %5, %6", "", "r"(a), "r"(b), "r"(c), "r"(d));
}
__device__ inline void copy_box(void* to, const TensorMap* map, u64* barrier, int a, int b, int c, int d, int e) {
    COPY("5d" TILE, "%3, %4, %5, %6, %7", "", "r"(a), "r"(b), "r"(c), "r"(d), "r"(e));
}
__device__ inline void copy_image(void* to, const TensorMap* map, u64* barrier, int a, int b, int c, unsigned short x) {
    COPY("3d" WALK, "%3, %4, %5", ", {%6}", "r"(a), "r"(b), "r"(c), "h"(x));
}
__device__ inline void copy_image(void* to, const TensorMap* map, u64* barrier, int a, int b, int c, int d, unsigned short x, unsigned short y) {
    COPY("4d" WALK, "%3, %4, %5, %6", ", {%7, %8}", "r"(a), "r"(b), "r"(c), "r"(d), "h"(x), "h"(y));
}
__device__ inline void copy_image(void* to, const TensorMap* map, u64* barrier, int a, int b, int c, int d, int e, unsigned short x, unsigned short y, unsigned short z) {
    COPY("5d" WALK, "%3, %4, %5, %6, %7", ", {%8, %9, %10}", "r"(a), "r"(b), "r"(c), "r"(d), "r"(e), "h"(x), "h"(y), "h"(z));
}
#undef COPY
#undef TILE
#undef WALK

// Products by groups of four warps: they run on while threads do; sums may not be touched before
// they are awaited, which `hold` has the compiler respect.
__device__ inline u64 described(const void* start, u64 rest) {
    return rest | ((shared_address(start) & 0x3ffff) >> 4);
}
__device__ inline void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int pending> __device__ inline void await_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}
template <int down, int across> __device__ inline void hold(float (&sums)[down][across][4]) {
#pragma unroll
    for (int i = 0; i < down; ++i)
#pragma unroll
        for (int j = 0; j < across; ++j)
#pragma unroll
            for (int e = 0; e < 4; ++e) asm volatile("" : "+f"(sums[i][j][e])::"memory");
}
