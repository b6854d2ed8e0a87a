// One step of a tensor core: D (16 x 8) += A (16 x 8) B (8 x 8), by the 32 threads of a warp together.
//
// Thread `lane`, with g = lane / 4 and t = lane % 4, holds
//     a = A[g][t], A[g + 8][t], A[g][t + 4], A[g + 8][t + 4]        b = B[t][g], B[t + 4][g]
//     d = D[g][2t], D[g][2t + 1], D[g + 8][2t], D[g + 8][2t + 1]
// (PTX ISA, "Matrix Fragments for mma.m16n8k8", type .tf32). The operands are float32 of which the tensor core
// reads sign, exponent and 10 bits of the fraction; it adds in float32.

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
// end of tensor core
