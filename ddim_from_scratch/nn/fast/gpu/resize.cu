// Resizing by two, and channels side by side. One thread makes 4 channels of a pixel; C is a multiple of 4.
// H, W: of the smaller picture. size: how many quads of channels there are to make.

__device__ float4 sum4(float4 a, float4 b, float weight) {  // a + weight b
    return make_float4(a.x + weight * b.x, a.y + weight * b.y, a.z + weight * b.z, a.w + weight * b.w);
}

__device__ int within(int i, int length) { return min(max(i, 0), length - 1); }

// The mean of each 2 x 2 square.
__global__ void average_pool(const float4* x, float4* y, int W, int quads, int size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    const int q = i % quads, column = i / quads % W;
    const size_t row = i / quads / W;  // of all samples, one below the other: two of x's for each of y's
    float4 sum = make_float4(0, 0, 0, 0);
    for (int k = 0; k < 4; k++) sum = sum4(sum, x[((2 * row + k / 2) * 2 * W + 2 * column + k % 2) * quads + q], 0.25f);
    y[i] = sum;
}

__global__ void average_pool_backward(const float4* dy, float4* dx, int W, int quads, int size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    const int q = i % quads, column = i / quads % (2 * W);
    const size_t row = i / quads / (2 * W);
    dx[i] = sum4(make_float4(0, 0, 0, 0), dy[(row / 2 * W + column / 2) * quads + q], 0.25f);
}

// Bilinear: y[2i] = 3/4 x[i] + 1/4 x[i - 1], y[2i + 1] = 3/4 x[i] + 1/4 x[i + 1], along both axes, clamped.
__global__ void upsample(const float4* x, float4* y, int H, int W, int quads, int size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    const int q = i % quads, column = i / quads % (2 * W), row = i / quads / (2 * W) % (2 * H);
    const size_t n = i / quads / (2 * W) / (2 * H);
    const int rows[2] = {row / 2, within(row / 2 + row % 2 * 2 - 1, H)};
    const int columns[2] = {column / 2, within(column / 2 + column % 2 * 2 - 1, W)};
    float4 sum = make_float4(0, 0, 0, 0);
    for (int k = 0; k < 4; k++)
        sum = sum4(sum, x[((n * H + rows[k / 2]) * W + columns[k % 2]) * quads + q],
                   (k / 2 ? 0.25f : 0.75f) * (k % 2 ? 0.25f : 0.75f));
    y[i] = sum;
}

// Its transpose: x[i] has gone to y[2i - 1 .. 2i + 2] with weights 1/4, 3/4, 3/4, 1/4.
__global__ void upsample_backward(const float4* dy, float4* dx, int H, int W, int quads, int size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    const int q = i % quads, column = i / quads % W, row = i / quads / W % H;
    const size_t n = i / quads / W / H;
    float4 sum = make_float4(0, 0, 0, 0);
    for (int a = -1; a < 3; a++)
        for (int b = -1; b < 3; b++)
            sum = sum4(sum, dy[((n * 2 * H + within(2 * row + a, 2 * H)) * 2 * W + within(2 * column + b, 2 * W)) * quads + q],
                       (a == 0 || a == 1 ? 0.75f : 0.25f) * (b == 0 || b == 1 ? 0.75f : 0.25f));
    dx[i] = sum;
}

// The quads [start, start + some) of the pixels of `wide` (pixels, quads) from `narrow` (pixels, some), or back.
__global__ void move_channels(float4* wide, float4* narrow, int quads, int some, int start, int back, int size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    float4* place = wide + (size_t)(i / some) * quads + start + i % some;
    if (back) narrow[i] = *place;
    else *place = narrow[i];
}
