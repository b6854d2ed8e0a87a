// A tile of a picture and its border, brought to shared memory, with the prologue f done on the way.

#include "vector.cu"
#include "tensor_core.cu"

const int COLUMNS = 16;  // pixels in a row of a tile
enum { NOTHING, NORMALISE, SWISH };  // f

__device__ float sigmoid(float x) { return 1 / (1 + expf(-x)); }
__device__ float4 sigmoid(float4 x) { return make_float4(sigmoid(x.x), sigmoid(x.y), sigmoid(x.z), sigmoid(x.w)); }

// The tile's pixels and their halo: channels c0 .. c0 + WIDTH - 1 of f(x), zero outside the picture. The warps take the
// rows in turn; a thread has the same four channels throughout. mean, scale: (sets, C), a set being a sample, whose
// numbers lie `of_sample` behind those of the one before, or the batch (of_sample is 0).
template <int K, int ROWS, int WIDTH, int STRIDE, bool EXACT>
__device__ void read_halo(float* to, const float* x, int f, const float* mean, const float* scale, int of_sample,
                          int n, int top, int left, int c0, int H, int W, int C) {
    const int WIDE = COLUMNS + K - 1, QUADS = WIDTH / 4;
    const int lane = threadIdx.x % 32, c = lane % QUADS * 4;
    const float4 m = f == NORMALISE ? read4(mean + n * of_sample, c0 + c, C) : four(0);
    const float4 s = f == NORMALISE ? read4(scale + n * of_sample, c0 + c, C) : four(1);
    for (int i = threadIdx.x / 32; i < ROWS + K - 1; i += blockDim.x / 32) {
        const int row = top - K / 2 + i;
        const float* from = x + ((size_t)n * H + row) * W * C;
#pragma unroll
        for (int j = lane / QUADS; j < WIDE; j += 32 / QUADS) {
            const int column = left - K / 2 + j;
            float4 v = four(0);
            if (row >= 0 && row < H && column >= 0 && column < W && c0 + c < C) {
                v = read4(from + column * C, c0 + c, C);
                v = f == SWISH ? v * sigmoid(v) : (v - m) * s;
            }
            put4<EXACT>(to + (i * WIDE + j) * STRIDE + c, v);
        }
    }
}
