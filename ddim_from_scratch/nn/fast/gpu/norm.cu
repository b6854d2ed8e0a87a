// Normalisation of N H W C arrays over sets of pixels: a sample's (groups of channels) or the batch's (one channel).
//
//     y = (x - mean) scale          dx = (dy - mean(dy) - y mean(dy y)) scale          scale = 1 / sqrt(variance + epsilon)
//
// Both need two sums over a set's pixels for each channel: many blocks add up a part of the pixels each, and one
// block a set puts the parts together in float64. The squares are summed about the set's first pixel, so that large
// means do not swallow small variances (Chan, Golub and LeVeque 1983, "shifted data").
// x: (sets, pixels, C), C a multiple of 4, at most 1024. partial: (sets, parts, 2, C).

const int THREADS = 256;

// of x: sum of x - x[0] and of its square; with dy: sum of dy and of dy (x - mean). Grid: (parts, sets).
__global__ void channel_sums(const float* x, const float* dy, const float* mean, float* partial, int pixels, int C) {
    __shared__ float4 sums[THREADS][2];
    const int quads = C / 4, q = threadIdx.x % quads, lanes = THREADS / quads, lane = threadIdx.x / quads;
    const size_t start = (size_t)blockIdx.y * pixels * quads;
    const int each = (pixels + gridDim.x - 1) / gridDim.x, stop = min(pixels, (int)(blockIdx.x + 1) * each);
    float4 a = make_float4(0, 0, 0, 0), b = a;
    if (lane < lanes) {
        const float4 about = dy ? ((const float4*)mean)[blockIdx.y * quads + q] : ((const float4*)x)[start + q];
        for (int pixel = blockIdx.x * each + lane; pixel < stop; pixel += lanes) {
            float4 v = ((const float4*)x)[start + (size_t)pixel * quads + q];
            float4 u = make_float4(v.x - about.x, v.y - about.y, v.z - about.z, v.w - about.w), s = u;
            if (dy) s = ((const float4*)dy)[start + (size_t)pixel * quads + q];
            a.x += s.x, a.y += s.y, a.z += s.z, a.w += s.w;
            b.x += s.x * u.x, b.y += s.y * u.y, b.z += s.z * u.z, b.w += s.w * u.w;
        }
    }
    sums[threadIdx.x][0] = a, sums[threadIdx.x][1] = b;
    __syncthreads();
    for (int i = threadIdx.x; i < 2 * quads; i += THREADS) {
        float4 total = make_float4(0, 0, 0, 0);
        for (int j = 0; j < lanes; j++) {
            float4 v = sums[j * quads + i % quads][i / quads];
            total.x += v.x, total.y += v.y, total.z += v.z, total.w += v.w;
        }
        ((float4*)partial)[((size_t)blockIdx.y * gridDim.x + blockIdx.x) * 2 * quads + i] = total;
    }
}

// mean, variance, scale: (sets, C), the same for each channel of a group. Grid: sets; block: C threads.
__global__ void moments(const float* x, const float* partial, float* mean, float* variance, float* scale,
                        int parts, int pixels, int C, int group, float epsilon) {
    __shared__ double means[1024], spreads[1024];
    const int c = threadIdx.x, first = c / group * group;
    double sum = 0, squares = 0;
    for (int i = 0; i < parts; i++) {
        sum += partial[(((size_t)blockIdx.x * parts + i) * 2) * C + c];
        squares += partial[(((size_t)blockIdx.x * parts + i) * 2 + 1) * C + c];
    }
    means[c] = x[(size_t)blockIdx.x * pixels * C + c] + sum / pixels;
    spreads[c] = squares / pixels - sum / pixels * (sum / pixels);
    __syncthreads();
    double m = 0, v = 0;
    for (int i = first; i < first + group; i++) m += means[i] / group;
    for (int i = first; i < first + group; i++) v += (spreads[i] + (means[i] - m) * (means[i] - m)) / group;
    mean[blockIdx.x * C + c] = m;
    variance[blockIdx.x * C + c] = v;
    scale[blockIdx.x * C + c] = 1 / sqrt(v + epsilon);
}

// Of dy: its mean, and the slope along x: mean(dy y) scale. Grid and shapes as in `moments`.
__global__ void gradient_means(const float* partial, const float* scale, float* mean_dy, float* slope,
                               int parts, int pixels, int C, int group) {
    __shared__ double sums[1024], products[1024];
    const int c = threadIdx.x, first = c / group * group;
    double sum = 0, product = 0;
    for (int i = 0; i < parts; i++) {
        sum += partial[(((size_t)blockIdx.x * parts + i) * 2) * C + c];
        product += partial[(((size_t)blockIdx.x * parts + i) * 2 + 1) * C + c];
    }
    sums[c] = sum / pixels, products[c] = product / pixels;
    __syncthreads();
    double m = 0, k = 0;
    for (int i = first; i < first + group; i++) m += sums[i] / group, k += products[i] / group;
    const double s = scale[blockIdx.x * C + c];
    mean_dy[blockIdx.x * C + c] = m;
    slope[blockIdx.x * C + c] = k * s * s;
}

// dx = (dy - mean_dy - (x - mean) slope) scale + added, where given. One thread for 4 channels of a pixel.
__global__ void norm_gradient(const float* x, const float* dy, const float* mean, const float* scale,
                              const float* mean_dy, const float* slope, const float* added, float* dx,
                              int pixels, int C, int size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, quads = C / 4;
    if (i >= size) return;
    const int c = i / (pixels * quads) * quads + i % quads;
    const float4 v = ((const float4*)x)[i], d = ((const float4*)dy)[i], m = ((const float4*)mean)[c],
                 s = ((const float4*)scale)[c], a = ((const float4*)mean_dy)[c], k = ((const float4*)slope)[c];
    float4 y = added ? ((const float4*)added)[i] : make_float4(0, 0, 0, 0);
    y.x += (d.x - a.x - (v.x - m.x) * k.x) * s.x, y.y += (d.y - a.y - (v.y - m.y) * k.y) * s.y;
    y.z += (d.z - a.z - (v.z - m.z) * k.z) * s.z, y.w += (d.w - a.w - (v.w - m.w) * k.w) * s.w;
    ((float4*)dx)[i] = y;
}

// y = (x - mean) scale.
__global__ void normalise(const float* x, const float* mean, const float* scale, float* y, int pixels, int C, int size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, quads = C / 4;
    if (i >= size) return;
    const int c = i / (pixels * quads) * quads + i % quads;
    const float4 v = ((const float4*)x)[i], m = ((const float4*)mean)[c], s = ((const float4*)scale)[c];
    ((float4*)y)[i] = make_float4((v.x - m.x) * s.x, (v.y - m.y) * s.y, (v.z - m.z) * s.z, (v.w - m.w) * s.w);
}
