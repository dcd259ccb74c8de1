// What every kernel may use. Written for this project; needs no header.
typedef unsigned char byte;
typedef long long i64;
typedef unsigned long long u64;
#pragma nv_diag_suppress 177  // not every kernel asks which block or which step it is in
struct bf16 { unsigned short bits; };

template <class T> __device__ inline T infinity_();
template <> __device__ inline float infinity_<float>() { return __int_as_float(0x7f800000); }
template <> __device__ inline double infinity_<double>() { return __longlong_as_double(0x7ff0000000000000LL); }
template <class T> __device__ inline T nan_();
template <> __device__ inline float nan_<float>() { return __int_as_float(0x7fc00000); }
template <> __device__ inline double nan_<double>() { return __longlong_as_double(0x7ff8000000000000LL); }

// The larger, the smaller; nan if either is.
template <class T> __device__ inline T maximum(T x, T y) { return x > y || x != x ? x : y; }
template <class T> __device__ inline T minimum(T x, T y) { return x < y || x != x ? x : y; }

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ inline double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }

// Floats to integers: towards zero, the nearest there is, 0 for nan.
__device__ inline int to_i32(float x) { return x != x ? 0 : __float2int_rz(x); }
__device__ inline int to_i32(double x) { return x != x ? 0 : __double2int_rz(x); }
__device__ inline byte to_u8(float x) { return byte(x > 0.0f ? min(__float2int_rz(x), 255) : 0); }
__device__ inline byte to_u8(double x) { return byte(x > 0.0 ? min(__double2int_rz(x), 255) : 0); }
__device__ inline i64 to_i64(float x) { return x != x ? 0 : __float2ll_rz(x); }
__device__ inline i64 to_i64(double x) { return x != x ? 0 : __double2ll_rz(x); }

__device__ inline float widened(bf16 x) { return __uint_as_float(unsigned(x.bits) << 16); }
__device__ inline bf16 rounded(float x) {
    bf16 result;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(x));
    return result;
}

// Neighbours that one access moves.
template <class T, int count> struct __align__(sizeof(T) * count) Lanes { T at[count]; };
template <class T, int count> __device__ inline Lanes<T, count> load(const T* from) {
    return *reinterpret_cast<const Lanes<T, count>*>(from);
}
template <class T, int count> __device__ inline void store(T* to, Lanes<T, count> lanes) {
    *reinterpret_cast<Lanes<T, count>*>(to) = lanes;
}

// Copies to shared memory that go on while the thread does; zeros, if it is not `inside`.
template <int bytes> __device__ inline void copy_async(void* to, const void* from, bool inside) {
    const unsigned target = unsigned(__cvta_generic_to_shared(to));
    const int used = inside ? bytes : 0;
    if constexpr (bytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(from), "r"(used) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(target), "l"(from), "n"(bytes), "r"(used) : "memory");
}
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int pending> __device__ inline void await_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// Matrices of 8 lines of 16 bytes from shared memory into the registers of a warp.
__device__ inline unsigned shared_address(const void* at) {
    return unsigned(__cvta_generic_to_shared(at));
}
template <int words> __device__ inline void load_matrices(unsigned (&to)[words], const void* line) {
    if constexpr (words == 4)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(shared_address(line)) : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                     : "=r"(to[0]), "=r"(to[1]) : "r"(shared_address(line)) : "memory");
}
template <int words> __device__ inline void load_matrices_transposed(unsigned (&to)[words], const void* line) {
    if constexpr (words == 4)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(shared_address(line)) : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                     : "=r"(to[0]), "=r"(to[1]) : "r"(shared_address(line)) : "memory");
}

// target += left @ right, by the tensor cores.
__device__ inline unsigned to_tf32(unsigned x) {
    unsigned result;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(__uint_as_float(x)));
    return result;
}
__device__ inline void multiply_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(to_tf32(a[0])), "r"(to_tf32(a[1])), "r"(to_tf32(a[2])), "r"(to_tf32(a[3])), "r"(to_tf32(b[0])), "r"(to_tf32(b[1])));
}
__device__ inline void multiply_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
