// What a Transformer does with each position by itself: rows of C channels.
//
// Root mean square: y = scale n with n = x / rms, rms^2 = mean(x^2) + epsilon
//                   dx = (d - n mean(d n)) / rms with d = scale dy; dscale is the sum of dy n over all rows
// A gate:           h = gelu(g) v with gelu(g) = g (1 + t) / 2, t = tanh(u), u = a (g + b g^3)
//                   dv = gelu(g) dh and dg = gelu'(g) v dh, gelu'(g) = (1 + t + g (1 - t^2) u') / 2

const int ROWS = 8, LANES = 32;  // of a block: a row has the lanes of a warp

// The sum of `number` over a row's lanes.
__device__ float over_lanes(float number) {
    __shared__ float numbers[ROWS][LANES];
    float sum = 0;
    numbers[threadIdx.y][threadIdx.x] = number;
    __syncthreads();
    for (int i = 0; i < LANES; i++) sum += numbers[threadIdx.y][i];
    return sum;
}

// rms: (rows,). Grid: rows / ROWS, rounded up; block: (LANES, ROWS).
__global__ void rms_norm(const float* x, const float* scale, float* y, float* rms, int rows, int C, float epsilon) {
    const int row = blockIdx.x * ROWS + threadIdx.y, stop = row < rows ? C : 0;
    const size_t at = (size_t)row * C;
    float squares = 0;
    for (int c = threadIdx.x; c < stop; c += LANES) squares += x[at + c] * x[at + c];
    const float root = sqrtf(over_lanes(squares) / C + epsilon);
    for (int c = threadIdx.x; c < stop; c += LANES) y[at + c] = scale[c] * (x[at + c] / root);
    if (threadIdx.x == 0 && row < rows) rms[row] = root;
}

// products: dy n, (rows, C).
__global__ void rms_norm_backward(const float* dy, const float* x, const float* scale, const float* rms, float* dx,
                                  float* products, int rows, int C) {
    const int row = blockIdx.x * ROWS + threadIdx.y, stop = row < rows ? C : 0;
    const size_t at = (size_t)row * C;
    const float root = row < rows ? rms[row] : 1;
    float sum = 0;
    for (int c = threadIdx.x; c < stop; c += LANES)
        products[at + c] = dy[at + c] * (x[at + c] / root), sum += scale[c] * products[at + c];
    const float mean = over_lanes(sum) / C;
    for (int c = threadIdx.x; c < stop; c += LANES)
        dx[at + c] = (scale[c] * dy[at + c] - x[at + c] / root * mean) / root;
}

__global__ void gated(const float* g, const float* v, float* h, float a, float b, int size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < size) h[i] = g[i] * (1 + tanhf(a * (g[i] + b * g[i] * g[i] * g[i]))) / 2 * v[i];
}

__global__ void gated_backward(const float* dh, const float* g, const float* v, float* dg, float* dv, float a, float b,
                               int size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    const float t = tanhf(a * (g[i] + b * g[i] * g[i] * g[i])), slope = a * (1 + 3 * b * g[i] * g[i]);
    dv[i] = g[i] * (1 + t) / 2 * dh[i];
    dg[i] = (1 + t + g[i] * (1 - t * t) * slope) / 2 * v[i] * dh[i];
}
