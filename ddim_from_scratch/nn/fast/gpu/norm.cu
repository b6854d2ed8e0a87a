// Normalisation of N H W C arrays over sets of pixels: a sample's (groups of channels) or the batch's (one channel).
//
//     y = (x - mean) scale          dx = (dy - mean(dy) - y mean(dy y)) scale          scale = 1 / sqrt(variance + epsilon)
//
// Both need two sums over a set's pixels for each channel: many blocks add up a part of the pixels each, and one
// block a set puts the parts together in float64. The squares are summed about the set's first pixel, so that large
// means do not swallow small variances (Chan, Golub and LeVeque 1983, "shifted data").
// x: (sets, pixels, C), C = 4 quads, at most 1024. partial: (sets, parts, 2, C).

#include "vector.cu"

const int THREADS = 256;

// Of x: the sums of x - x[0] and of its square; with dy: of dy and of dy (x - mean). Grid: (parts, sets).
__global__ void channel_sums(const float4* x, const float4* dy, const float4* mean, float4* partial, int pixels, int C) {
    __shared__ float4 sums[THREADS][2];
    const int quads = C / 4, q = threadIdx.x % quads, lanes = THREADS / quads, lane = threadIdx.x / quads;
    const int each = (pixels + gridDim.x - 1) / gridDim.x, stop = min(pixels, (int)(blockIdx.x + 1) * each);
    float4 a = four(0), b = four(0);
    x += (size_t)blockIdx.y * pixels * quads, dy += dy ? (size_t)blockIdx.y * pixels * quads : 0;
    if (lane < lanes) {
        const float4 about = dy ? mean[blockIdx.y * quads + q] : x[q];
        for (int pixel = blockIdx.x * each + lane; pixel < stop; pixel += lanes) {
            const float4 u = x[(size_t)pixel * quads + q] - about, s = dy ? dy[(size_t)pixel * quads + q] : u;
            a = a + s, b = b + s * u;
        }
    }
    sums[threadIdx.x][0] = a, sums[threadIdx.x][1] = b;
    __syncthreads();
    for (int i = threadIdx.x; i < 2 * quads; i += THREADS) {
        float4 total = four(0);
        for (int j = 0; j < lanes; j++) total = total + sums[j * quads + i % quads][i / quads];
        partial[((size_t)blockIdx.y * gridDim.x + blockIdx.x) * 2 * quads + i] = total;
    }
}

// The two sums of a set over all parts, for this thread's channel.
__device__ void add_parts(const float* partial, int parts, int C, double& first, double& second) {
    first = second = 0;
    for (int i = 0; i < parts; i++) {
        first += partial[(((size_t)blockIdx.x * parts + i) * 2) * C + threadIdx.x];
        second += partial[(((size_t)blockIdx.x * parts + i) * 2 + 1) * C + threadIdx.x];
    }
}

// mean, variance, scale: (sets, C), the same for each channel of a group. Grid: sets; block: C threads.
__global__ void moments(const float* x, const float* partial, float* mean, float* variance, float* scale,
                        int parts, int pixels, int C, int group, float epsilon) {
    __shared__ double means[1024], variances[1024];
    const int c = threadIdx.x, first = c / group * group, at = blockIdx.x * C + c;
    double sum, squares, m = 0, v = 0;
    add_parts(partial, parts, C, sum, squares);
    means[c] = x[(size_t)blockIdx.x * pixels * C + c] + sum / pixels;
    variances[c] = squares / pixels - sum / pixels * (sum / pixels);
    __syncthreads();
    for (int i = first; i < first + group; i++) m += means[i] / group;
    for (int i = first; i < first + group; i++) v += (variances[i] + (means[i] - m) * (means[i] - m)) / group;
    mean[at] = m, variance[at] = v, scale[at] = 1 / sqrt(v + epsilon);
}

// Of dy: its mean, and its slope along x - mean, mean(dy y) scale. Grid and shapes as in `moments`.
__global__ void gradient_means(const float* partial, const float* scale, float* mean_dy, float* slope,
                               int parts, int pixels, int C, int group) {
    __shared__ double sums[1024], products[1024];
    const int c = threadIdx.x, first = c / group * group, at = blockIdx.x * C + c;
    double m = 0, k = 0;
    add_parts(partial, parts, C, sums[c], products[c]);
    __syncthreads();
    for (int i = first; i < first + group; i++) m += sums[i] / group, k += products[i] / group;
    mean_dy[at] = m / pixels, slope[at] = k / pixels * scale[at] * scale[at];
}

// y = (x - mean) scale. A thread makes four channels of a pixel; size: how many fours there are.
__global__ void normalise(const float4* x, const float4* mean, const float4* scale, float4* y,
                          int pixels, int quads, int size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, c = i / (pixels * quads) * quads + i % quads;
    if (i < size) y[i] = (x[i] - mean[c]) * scale[c];
}

// dx = (dy - mean_dy - (x - mean) slope) scale, and + added, where given.
__global__ void normalise_backward(const float4* dy, const float4* x, const float4* mean, const float4* scale,
                                   const float4* mean_dy, const float4* slope, const float4* added, float4* dx,
                                   int pixels, int quads, int size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, c = i / (pixels * quads) * quads + i % quads;
    if (i >= size) return;
    const float4 d = (dy[i] - mean_dy[c] - (x[i] - mean[c]) * slope[c]) * scale[c];
    dx[i] = added ? d + added[i] : d;
}
