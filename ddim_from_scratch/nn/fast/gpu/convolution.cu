// Convolution of N H W C arrays, SAME padding, stride 1, as matrix products on tensor cores, without columns.
//
//     y[p] = b + sum over taps s of  f(x)[p + s] @ w[s]              (convolve)
//     dw[s] = sum over pixels p of  f(x)[p + s]^T @ dy[p]            (filter_gradient, with db = sum of dy[p])
//
// The gradient of f(x) is `convolve` again, of dy with the filter mirrored and transposed. f, the prologue, is a
// normalisation or swish, done while x is copied to shared memory: no array ever holds f(x).
//
// A block owns a tile of ROWS x 16 pixels. It copies the tile and the border that the taps reach (its halo), some
// channels at a time, to shared memory; there every tap is the same pixels, shifted. 16 neighbours in a row are
// the 16 rows of a tensor core's matrix A.
//
// Two orders are chosen freely, because a product does not care: which channel is k = 0..7 of a step, and which
// output channel is column 0..7. With neighbours in one thread every access to shared memory is 8 bytes wide and
// every store of a result 16. Rows of shared memory are padded so that 16 threads meet 16 different pairs of banks.
//
// EXACT: a = high + low, both of 11 bits, and a b = high high + high low + low high, to float32's precision
// (Ootomo and Yokota 2022). Each step's products are then added up by the ordinary units, which round; the
// tensor core's own sum cuts off.

const int COLUMNS = 16;                 // pixels in a row of a tile
const int OUTPUTS = 32;                 // output channels of a block
enum { NOTHING, NORMALISE, SWISH };

__device__ float4 read4(const float* row, int c, int size) {  // row[c .. c + 3], zeros beyond its size
    if (size % 4 == 0) return c < size ? *(const float4*)(row + c) : make_float4(0, 0, 0, 0);
    return make_float4(c < size ? row[c] : 0, c + 1 < size ? row[c + 1] : 0, c + 2 < size ? row[c + 2] : 0,
                       c + 3 < size ? row[c + 3] : 0);
}

__device__ void write4(float* row, int c, int size, float4 v) {
    if (size % 4 == 0) {
        if (c < size) *(float4*)(row + c) = v;
        return;
    }
    if (c < size) row[c] = v.x;
    if (c + 1 < size) row[c + 1] = v.y;
    if (c + 2 < size) row[c + 2] = v.z;
    if (c + 3 < size) row[c + 3] = v.w;
}

__device__ float swish(float x) { return x / (1 + __expf(-x)); }

__device__ float swish_slope(float x) {
    float s = 1 / (1 + __expf(-x));
    return s * (1 + x * (1 - s));
}

// What a convolution does to x while it reads it. mean, scale: (sets, C), a set being a sample or the batch.
struct Prologue {
    int kind;
    const float *mean, *scale;
    int of_sample;  // numbers from one sample's mean to the next one's: C, or 0 if all share one
    float4 m, s;    // of the four channels at hand

    __device__ void prepare(int n, int c, int size) {
        if (kind == NORMALISE) m = read4(mean + n * of_sample, c, size), s = read4(scale + n * of_sample, c, size);
    }

    __device__ float4 operator()(float4 v) const {
        if (kind == NORMALISE)
            return make_float4((v.x - m.x) * s.x, (v.y - m.y) * s.y, (v.z - m.z) * s.z, (v.w - m.w) * s.w);
        if (kind == SWISH) return make_float4(swish(v.x), swish(v.y), swish(v.z), swish(v.w));
        return v;
    }
};

template <bool EXACT>
__device__ void put4(float* to, float4 v) {  // into shared memory, rounded where that is the precision
    *(float4*)to = EXACT ? v : make_float4(tf32(v.x), tf32(v.y), tf32(v.z), tf32(v.w));
}

// The tile's pixels and their halo: channels c0 .. c0 + WIDTH of f(x), zero outside the picture. A warp takes every
// so-manieth row; a thread has the same four channels throughout.
template <int K, int ROWS, int WIDTH, int STRIDE, bool EXACT>
__device__ void read_halo(float* to, const float* x, Prologue f, int n, int top, int left, int c0, int H, int W, int C) {
    const int WIDE = COLUMNS + K - 1, TALL = ROWS + K - 1, STEP = 128 / WIDTH;
    const int lane = threadIdx.x % 32, c = lane % (WIDTH / 4) * 4, warps = blockDim.x / 32;
    f.prepare(n, c0 + c, C);
    x += ((size_t)n * H * W) * C;
    for (int i = threadIdx.x / 32; i < TALL; i += warps) {
        const int row = top - K / 2 + i;
        const float* from = x + (ptrdiff_t)(row * W + left - K / 2) * C;
#pragma unroll
        for (int j = lane / (WIDTH / 4); j < WIDE; j += STEP) {
            const int column = left - K / 2 + j;
            float4 v = make_float4(0, 0, 0, 0);
            if (row >= 0 && row < H && column >= 0 && column < W && c0 + c < C) v = f(read4(from + j * C, c0 + c, C));
            put4<EXACT>(to + (i * WIDE + j) * STRIDE + c, v);
        }
    }
}

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

extern __shared__ float4 shared[];

// y = f(x) * w + b, times swish'(activated) or plus `added` where given (both like y).
// Grid: (tiles of 4 M x 16 pixels, ceil(D / 32), N). Each of a block's four warps computes M rows of 16 pixels, 32
// channels of each.
template <int K, int M, bool EXACT>
__global__ void __launch_bounds__(128)
convolve(const float* x, const float* w, const float* b, int kind, const float* mean, const float* scale, int of_sample,
         const float* added, const float* activated, float* y, int H, int W, int C, int D) {
    const int CHUNK = K == 1 ? 32 : 16;  // channels at a time
    const int ROWS = 4 * M, WIDE = COLUMNS + K - 1, X = CHUNK + 8, Y = OUTPUTS + 4;  // strides in shared memory
    float *xs = (float*)shared, *ws = xs + (ROWS + K - 1) * WIDE * X;
    const int across = (W + COLUMNS - 1) / COLUMNS, n = blockIdx.z, d0 = blockIdx.y * OUTPUTS;
    const int top = blockIdx.x / across * ROWS, left = blockIdx.x % across * COLUMNS;
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int first = threadIdx.x / 32 * M;
    const Prologue f = {kind, mean, scale, of_sample};
    float sums[M][4][4] = {};

    for (int c0 = 0; c0 < C; c0 += CHUNK) {
        __syncthreads();
        read_halo<K, ROWS, CHUNK, X, EXACT>(xs, x, f, n, top, left, c0, H, W, C);
#pragma unroll
        for (int i = threadIdx.x / 8; i < K * K * CHUNK; i += 16) {
            const int c = c0 + i % CHUNK, d = threadIdx.x % 8 * 4;
            float4 v = make_float4(0, 0, 0, 0);
            if (c < C) v = read4(w + (i / CHUNK * C + c) * D, d0 + d, D);
            put4<EXACT>(ws + i * Y + d, v);
        }
        __syncthreads();
#pragma unroll K
        for (int tap = 0; tap < K * K; tap++)
#pragma unroll
            for (int k = 0; k < CHUNK; k += 8) {  // channels k + 2t and k + 2t + 1 are this thread's
                float b_[4][2];
                const float* row = ws + (tap * CHUNK + k + 2 * t) * Y + 2 * g;
                for (int j = 0; j < 4; j += 2) {
                    float2 even = *(const float2*)(row + 8 * j), odd = *(const float2*)(row + 8 * j + Y);
                    b_[j][0] = even.x, b_[j + 1][0] = even.y, b_[j][1] = odd.x, b_[j + 1][1] = odd.y;
                }
#pragma unroll
                for (int m = 0; m < M; m++) {
                    const float* pixel = xs + ((first + m + tap / K) * WIDE + g + tap % K) * X + k + 2 * t;
                    float2 one = *(const float2*)pixel, other = *(const float2*)(pixel + 8 * X);
                    float a[4] = {one.x, other.x, one.y, other.y};
                    for (int j = 0; j < 4; j++) multiply<EXACT>(sums[m][j], a, b_[j]);
                }
            }
    }
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {  // pixels g and g + 8
            int row = top + first + m, column = left + g + 8 * half;
            if (row >= H || column >= W) continue;
            size_t pixel = (((size_t)n * H + row) * W + column) * D;
#pragma unroll
            for (int j = 0; j < 4; j += 2) {
                int d = d0 + 8 * j + 4 * t;
                float *even = sums[m][j] + 2 * half, *odd = sums[m][j + 1] + 2 * half;
                float4 v = make_float4(even[0], odd[0], even[1], odd[1]);
                if (b) { float4 a = read4(b, d, D); v.x += a.x, v.y += a.y, v.z += a.z, v.w += a.w; }
                if (added) { float4 a = read4(added + pixel, d, D); v.x += a.x, v.y += a.y, v.z += a.z, v.w += a.w; }
                if (activated) {
                    float4 a = read4(activated + pixel, d, D);
                    v.x *= swish_slope(a.x), v.y *= swish_slope(a.y), v.z *= swish_slope(a.z), v.w *= swish_slope(a.w);
                }
                write4(y + pixel, d, D, v);
            }
        }
}

// Partial sums of dw and db: (2 gridDim.z, K K C D + D), to be added up over the first axis.
// Grid: (ceil(C / 32), ceil(D / 32), splits); a block takes every gridDim.z-th tile of 8 x 16 pixels and all taps.
// A warp computes 16 channels of x by 8 J of dy, of half of the tile's rows.
template <int K, int J, bool EXACT>
__global__ void __launch_bounds__(512 / J, 2)
filter_gradient(const float* x, const float* dy, int kind, const float* mean, const float* scale, int of_sample,
                float* partial, int N, int H, int W, int C, int D) {
    const int ROWS = 8, WIDE = COLUMNS + K - 1, S = OUTPUTS + 8;
    float *xs = (float*)shared, *ds = xs + (ROWS + K - 1) * WIDE * S;
    const int across = (W + COLUMNS - 1) / COLUMNS, down = (H + ROWS - 1) / ROWS;
    const int c0 = blockIdx.x * OUTPUTS, d0 = blockIdx.y * OUTPUTS;
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int warp = threadIdx.x / 32, c_warp = warp % 2 * 16, d_warp = warp / 2 % (4 / J) * 16, half = warp / (8 / J);
    const Prologue f = {kind, mean, scale, of_sample};
    float sums[K * K][J][4] = {};
    float4 db = make_float4(0, 0, 0, 0);

    for (int tile = blockIdx.z; tile < N * down * across; tile += gridDim.z) {
        int n = tile / (down * across), top = tile / across % down * ROWS, left = tile % across * COLUMNS;
        __syncthreads();
        read_halo<K, ROWS, OUTPUTS, S, EXACT>(xs, x, f, n, top, left, c0, H, W, C);
        for (int i = threadIdx.x; i < ROWS * COLUMNS * (OUTPUTS / 4); i += blockDim.x) {
            int pixel = i / (OUTPUTS / 4), d = i % (OUTPUTS / 4) * 4;  // d is the same at each turn
            int row = top + pixel / COLUMNS, column = left + pixel % COLUMNS;
            float4 v = make_float4(0, 0, 0, 0);
            if (row < H && column < W) v = read4(dy + (((size_t)n * H + row) * W + column) * D, d0 + d, D);
            db.x += v.x, db.y += v.y, db.z += v.z, db.w += v.w;
            put4<EXACT>(ds + pixel * S + d, v);
        }
        __syncthreads();
        for (int row = half * ROWS / 2; row < (half + 1) * ROWS / 2; row++)
#pragma unroll
            for (int k = 0; k < COLUMNS; k += 8) {  // pixels k + t and k + t + 4 are this thread's
                float b[J][2];
                for (int i = 0; i < 2; i++)
                    for (int j = 0; j < J; j += 2) {
                        float2 v = *(const float2*)(ds + (row * COLUMNS + k + t + 4 * i) * S + d_warp + 8 * j + 2 * g);
                        b[j][i] = v.x, b[j + 1][i] = v.y;
                    }
#pragma unroll
                for (int tap = 0; tap < K * K; tap++) {
                    const float* pixel = xs + ((row + tap / K) * WIDE + k + t + tap % K) * S + c_warp + 2 * g;
                    float2 one = *(const float2*)pixel, other = *(const float2*)(pixel + 4 * S);
                    float a[4] = {one.x, one.y, other.x, other.y};
                    for (int j = 0; j < J; j++) multiply<EXACT>(sums[tap][j], a, b[j]);
                }
            }
    }
    partial += (size_t)(2 * blockIdx.z + half) * ((size_t)K * K * C * D + D);
#pragma unroll
    for (int tap = 0; tap < K * K; tap++)
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < J; j += 2) {
                int c = c0 + c_warp + 2 * g + i, d = d0 + d_warp + 8 * j + 4 * t;
                float *even = sums[tap][j] + 2 * i, *odd = sums[tap][j + 1] + 2 * i;
                if (c < C) write4(partial + ((size_t)tap * C + c) * D, d, D, make_float4(even[0], odd[0], even[1], odd[1]));
            }
    if (blockIdx.x) return;
    __syncthreads();  // db: this thread has summed some pixels; 8 threads make up 32 channels
    ((float4*)ds)[threadIdx.x] = db;
    __syncthreads();
    const int d = threadIdx.x % (256 / J);
    if (d >= OUTPUTS || d0 + d >= D) return;
    float total = 0;  // all of it into the first half's row, zeros into the second's
    for (int i = 0; i < blockDim.x / 8 && half == 0; i++) total += ds[i * OUTPUTS + d];
    partial[(size_t)K * K * C * D + d0 + d] = total;
}

// The sum over the first axis of a: (rows, n). Grid: ceil(n / 32); block: (32, 8).
__global__ void sum_rows(const float* a, float* out, int rows, int n) {
    __shared__ float sums[8][32];
    int column = blockIdx.x * 32 + threadIdx.x;
    float total = 0;
    if (column < n)
        for (int row = threadIdx.y; row < rows; row += 8) total += a[(size_t)row * n + column];
    sums[threadIdx.y][threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.y || column >= n) return;
    for (int i = 1; i < 8; i++) total += sums[i][threadIdx.x];
    out[column] = total;
}
