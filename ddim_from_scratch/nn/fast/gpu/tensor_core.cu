// One step of a tensor core: D (16 x 8) += A (16 x 8) B (8 x 8), by the 32 threads of a warp together.
//
// Thread `lane`, with g = lane / 4 and t = lane % 4, holds
//     a = A[g][t], A[g + 8][t], A[g][t + 4], A[g + 8][t + 4]        b = B[t][g], B[t + 4][g]
//     d = D[g][2t], D[g][2t + 1], D[g + 8][2t], D[g + 8][2t + 1]
// (PTX ISA, "Matrix Fragments for mma.m16n8k8", type .tf32). The tensor core reads sign, exponent and 10 bits of
// the fraction of a float32, and adds in float32.

#ifndef EMULATED  // where a processor stands in for the device, tests/emulated_cuda.h has these two
__device__ __forceinline__ void tensor_core(float (&d)[4], const float (&a)[4], const float (&b)[2]) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
          "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}

// The nearest float32 with 10 bits of fraction: without it the tensor core cuts the rest off.
__device__ __forceinline__ float tf32(float x) {
    unsigned int rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
    return __uint_as_float(rounded);
}
#endif

// EXACT: a = high + low, of 11 bits each, and a b = high high + high low + low high, to float32's precision (Ootomo
// and Yokota 2022). These are added up by the ordinary units, which round; the tensor core's own sum cuts off.
template <bool EXACT>
__device__ void multiply(float (&d)[4], const float (&a)[4], const float (&b)[2]) {
    if (!EXACT) return tensor_core(d, a, b);
    float high_a[4], low_a[4], high_b[2], low_b[2], sum[4] = {0, 0, 0, 0};
    for (int i = 0; i < 4; i++) high_a[i] = tf32(a[i]), low_a[i] = tf32(a[i] - high_a[i]);
    for (int i = 0; i < 2; i++) high_b[i] = tf32(b[i]), low_b[i] = tf32(b[i] - high_b[i]);
    tensor_core(sum, low_a, high_b);
    tensor_core(sum, high_a, low_b);
    tensor_core(sum, high_a, high_b);
    for (int i = 0; i < 4; i++) d[i] += sum[i];
}

// Operands on their way into shared memory: rounded there once, unless they are to be exact.
template <bool EXACT>
__device__ void put4(float* to, float4 v) {
    *(float4*)to = EXACT ? v : make_float4(tf32(v.x), tf32(v.y), tf32(v.z), tf32(v.w));
}
