// Convolution of N H W C arrays, SAME padding, stride 1, as matrix products on tensor cores, without columns.
//
//     y[p] = b + sum over taps s of  f(x)[p + s] @ w[s]              (convolve)
//     dw[s] = sum over pixels p of  f(x)[p + s]^T @ dy[p]            (filter_gradient; and db = sum of dy[p])
//
// The gradient of f(x) is `convolve` again, of dy with the filter mirrored and transposed. f, the prologue, is a
// normalisation or swish, done while x is copied to shared memory: no array ever holds f(x).
//
// A block owns a tile of ROWS x 16 pixels. It copies the tile and the border that the taps reach (its halo), some
// channels at a time, to shared memory; there every tap is the same pixels, shifted. 16 neighbours in a row are
// the 16 rows of a tensor core's matrix A.
//
// A product does not care which channel is called k = 0 .. 7 of a step, and which output channel column 0 .. 7. Here
// a thread's are neighbours, so that it reads shared memory by 8 bytes and writes its results by 16. Rows of shared
// memory are padded so that 16 threads meet 16 different pairs of banks.

#include "halo.cu"

const int OUTPUTS = 32;  // output channels of a block
extern __shared__ float4 shared[];

// y = f(x) * w + b; then + added, or times swish'(activated), where given (both like y).
// Grid: (tiles of 4 M x 16 pixels, ceil(D / 32), N). Each of a block's four warps computes M rows of 16 pixels.
template <int K, int M, bool EXACT>
__global__ void __launch_bounds__(128)
convolve(const float* x, const float* w, const float* b, int f, const float* mean, const float* scale, int of_sample,
         const float* added, const float* activated, float* y, int H, int W, int C, int D) {
    const int CHUNK = K == 1 ? 32 : 16;                            // channels at a time
    const int WIDE = COLUMNS + K - 1, X = CHUNK + 8, Y = OUTPUTS + 4;  // strides in shared memory
    float *xs = (float*)shared, *ws = xs + (4 * M + K - 1) * WIDE * X;
    const int across = (W + COLUMNS - 1) / COLUMNS, n = blockIdx.z, d0 = blockIdx.y * OUTPUTS;
    const int top = blockIdx.x / across * 4 * M, left = blockIdx.x % across * COLUMNS;
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, first = threadIdx.x / 32 * M;
    float sums[M][4][4] = {};

    for (int c0 = 0; c0 < C; c0 += CHUNK) {
        __syncthreads();
        read_halo<K, 4 * M, CHUNK, X, EXACT>(xs, x, f, mean, scale, of_sample, n, top, left, c0, H, W, C);
#pragma unroll
        for (int i = threadIdx.x / 8; i < K * K * CHUNK; i += 16) {  // i: a tap's channel
            const int c = c0 + i % CHUNK, d = threadIdx.x % 8 * 4;
            put4<EXACT>(ws + i * Y + d, c < C ? read4(w + (i / CHUNK * C + c) * D, d0 + d, D) : four(0));
        }
        __syncthreads();
#pragma unroll K
        for (int tap = 0; tap < K * K; tap++)
#pragma unroll
            for (int k = 0; k < CHUNK; k += 8) {  // channels k + 2t and k + 2t + 1 are this thread's
                float b[4][2];
                const float* row = ws + (tap * CHUNK + k + 2 * t) * Y + 2 * g;
                for (int j = 0; j < 4; j += 2) {
                    const float2 even = *(const float2*)(row + 8 * j), odd = *(const float2*)(row + 8 * j + Y);
                    b[j][0] = even.x, b[j + 1][0] = even.y, b[j][1] = odd.x, b[j + 1][1] = odd.y;
                }
#pragma unroll
                for (int m = 0; m < M; m++) {
                    const float* pixel = xs + ((first + m + tap / K) * WIDE + g + tap % K) * X + k + 2 * t;
                    const float2 one = *(const float2*)pixel, other = *(const float2*)(pixel + 8 * X);
                    const float a[4] = {one.x, other.x, one.y, other.y};
                    for (int j = 0; j < 4; j++) multiply<EXACT>(sums[m][j], a, b[j]);
                }
            }
    }
#pragma unroll
    for (int i = 0; i < 4 * M; i++) {  // row i / 4, pixels g and g + 8, two pairs of columns
        const int m = i / 4, half = i / 2 % 2, j = i % 2 * 2, d = d0 + 8 * j + 4 * t;
        const int row = top + first + m, column = left + g + 8 * half;
        if (row >= H || column >= W) continue;
        const size_t pixel = (((size_t)n * H + row) * W + column) * D;
        const float *even = sums[m][j] + 2 * half, *odd = sums[m][j + 1] + 2 * half;
        float4 v = make_float4(even[0], odd[0], even[1], odd[1]);
        if (b) v = v + read4(b, d, D);
        if (added) v = v + read4(added + pixel, d, D);
        if (activated) {
            const float4 h = read4(activated + pixel, d, D), s = sigmoid(h);
            v = v * s * (four(1) + h * (four(1) - s));
        }
        write4(y + pixel, d, D, v);
    }
}

// Partial sums of dw and db: (2 gridDim.z, K K C D + D), to be added up over the first axis.
// Grid: (ceil(C / 32), ceil(D / 32), splits); a block takes every gridDim.z-th tile of 8 x 16 pixels, and all taps.
// Each of its eight warps computes 16 channels of x by 16 of dy, of half of the tile's rows.
template <int K, bool EXACT>
__global__ void __launch_bounds__(256, 2)
filter_gradient(const float* x, const float* dy, int f, const float* mean, const float* scale, int of_sample,
                float* partial, int N, int H, int W, int C, int D) {
    const int ROWS = 8, WIDE = COLUMNS + K - 1, S = OUTPUTS + 8;
    float *xs = (float*)shared, *ds = xs + (ROWS + K - 1) * WIDE * S;
    const int across = (W + COLUMNS - 1) / COLUMNS, down = (H + ROWS - 1) / ROWS;
    const int c0 = blockIdx.x * OUTPUTS, d0 = blockIdx.y * OUTPUTS;
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, warp = threadIdx.x / 32;
    const int c_warp = warp % 2 * 16, d_warp = warp / 2 % 2 * 16, half = warp / 4;
    float sums[K * K][2][4] = {};
    float4 db = four(0);

    for (int tile = blockIdx.z; tile < N * down * across; tile += gridDim.z) {
        const int n = tile / (down * across), top = tile / across % down * ROWS, left = tile % across * COLUMNS;
        __syncthreads();
        read_halo<K, ROWS, OUTPUTS, S, EXACT>(xs, x, f, mean, scale, of_sample, n, top, left, c0, H, W, C);
        for (int i = threadIdx.x / 8; i < ROWS * COLUMNS; i += 32) {
            const int row = top + i / COLUMNS, column = left + i % COLUMNS, d = threadIdx.x % 8 * 4;
            const float4 v = row < H && column < W ? read4(dy + (((size_t)n * H + row) * W + column) * D, d0 + d, D)
                                                   : four(0);
            db = db + v;
            put4<EXACT>(ds + i * S + d, v);
        }
        __syncthreads();
        for (int row = half * ROWS / 2; row < (half + 1) * ROWS / 2; row++)
#pragma unroll
            for (int k = 0; k < COLUMNS; k += 8) {  // pixels k + t and k + t + 4 are this thread's
                const float* d_pixel = ds + (row * COLUMNS + k + t) * S + d_warp + 2 * g;
                const float2 first = *(const float2*)d_pixel, second = *(const float2*)(d_pixel + 4 * S);
                const float b[2][2] = {{first.x, second.x}, {first.y, second.y}};
#pragma unroll
                for (int tap = 0; tap < K * K; tap++) {
                    const float* pixel = xs + ((row + tap / K) * WIDE + k + t + tap % K) * S + c_warp + 2 * g;
                    const float2 one = *(const float2*)pixel, other = *(const float2*)(pixel + 4 * S);
                    const float a[4] = {one.x, one.y, other.x, other.y};
                    multiply<EXACT>(sums[tap][0], a, b[0]), multiply<EXACT>(sums[tap][1], a, b[1]);
                }
            }
    }
    partial += (size_t)(2 * blockIdx.z + half) * ((size_t)K * K * C * D + D);
    const int c = c0 + c_warp + 2 * g, d = d0 + d_warp + 4 * t;
#pragma unroll
    for (int tap = 0; tap < K * K; tap++)
        for (int i = 0; i < 2 && c + i < C; i++) {
            const float *even = sums[tap][0] + 2 * i, *odd = sums[tap][1] + 2 * i;
            write4(partial + ((size_t)tap * C + c + i) * D, d, D, make_float4(even[0], odd[0], even[1], odd[1]));
        }
    if (blockIdx.x) return;
    __syncthreads();  // db: 8 neighbours have 32 channels, 32 groups of them different pixels
    ((float4*)ds)[threadIdx.x] = db;
    __syncthreads();
    if (threadIdx.x % 128 >= OUTPUTS || d0 + threadIdx.x % 128 >= D) return;
    float total = 0;  // all of it into the first half's row, zeros into the second's
    for (int i = 0; i < 32 && half == 0; i++) total += ds[i * OUTPUTS + threadIdx.x];
    partial[(size_t)K * K * C * D + d0 + threadIdx.x % 128] = total;
}

// The sum over the first axis of a: (rows, n). Grid: ceil(n / 32); block: (32, 8).
__global__ void sum_rows(const float* a, float* out, int rows, int n) {
    __shared__ float sums[8][32];
    const int column = blockIdx.x * 32 + threadIdx.x;
    float total = 0;
    for (int row = threadIdx.y; row < rows && column < n; row += 8) total += a[(size_t)row * n + column];
    sums[threadIdx.y][threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.y || column >= n) return;
    for (int i = 1; i < 8; i++) total += sums[i][threadIdx.x];
    out[column] = total;
}
